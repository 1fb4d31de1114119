"""Mem-Nav episodes: how they are planned, and how they went.

An episode is planned in a building never trained on: a robot's way through it, and photos to go to afterwards. Several
episodes share a building and its exploration: they start where it ended, with the memory as it was then. A plan
depends on (seed, index of the building) only, and no method changes it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from kinaema_ros.comparison import Verdict
from kinaema_ros.evaluation.episodes import (
    CAMERA_HEIGHT,
    FIRST_SEED,
    SCENES_PER_TEXTURE_POOL,
    SEEN_ANGLE,
    SEEN_DISTANCE,
)
from kinaema_ros.geometry import Array
from kinaema_ros.metrics import SUCCESS_DISTANCE, pose_errors
from kinaema_ros.sim import (
    Camera,
    Lighting,
    OdometryNoise,
    Scene,
    SceneConfig,
    explore,
    generate_scene,
    integrate_odometry,
    plan_path,
    random_lighting,
    sample_unseen_viewpoints,
    sample_viewpoints,
)
from kinaema_ros.sim.astar import shortest_path
from kinaema_ros.sim.driving import CLEARANCE
from kinaema_ros.sim.scene import GRID
from kinaema_ros.sim.tour import path_length, room_of

MIN_WAY = 4.0  # metres of shortest path from start to goal
OTHER_ROOMS = 1 / 3  # of a building's goals, at least, lie in other rooms than the start
CANDIDATES = 100  # viewpoints among which a building's goals are looked for
START_SEED = 0  # of exploration, as simulator_node has it by default: both start the robot at the same place


@dataclass(frozen=True)
class MemnavConfig:
    """What is explored and asked for."""

    seed: int = 0
    frames: int = 300  # of exploration, one each 0.25 m or 25 degrees
    goals: int = 8  # in a building, and as many photos of places never seen
    sees_obstacles: bool = False  # the robot drives round what is there, as by costmaps


@dataclass
class Building:
    """One building's episodes. T frames, G goals, U never-seen places; poses are of the robot on the map."""

    scene: Scene
    elsewhere: Scene  # another building, of the same textures
    camera: Camera
    lighting: Lighting
    walk: Array  # (T, 3) exploration
    goals: Array  # (G, 3) viewpoints of the photos to go to
    shortest: Array  # (G,) metres from the walk's end
    other_room: NDArray[np.bool_]  # (G,) whether the goal lies in another room than the walk's end
    unseen: Array  # (U, 3) viewpoints of never-seen places
    outside: NDArray[np.bool_]  # (U,) whether that is a place of the other building

    def odometry(self, noise: OdometryNoise, seed: int, index: int) -> Array:
        """Of the walk, (T, 3), from identity; the same drift in every run."""
        return integrate_odometry(self.walk, noise, np.random.default_rng([FIRST_SEED + 2, seed, index]))


@dataclass
class Episode:
    """How one episode went. Poses are true ones on the map, unless they say otherwise."""

    goal: Array  # (3,)
    shortest: float  # metres
    other_room: bool
    # (3,) each: the goals that were sent, where they truly lay on the map when they were
    believed_goals: list[Array] = field(default_factory=list)
    path: list[Array] = field(default_factory=list)  # (3,) each: the robot's poses, five a second
    length: float = 0.0  # metres driven
    collisions: int = 0
    seen: float = math.nan  # the first answer's
    queries: int = 0
    arrived: bool = False  # by the robot's own word
    refused: bool = False
    message: str = ""  # why the robot neither arrived nor refused
    # What the camera said on each arrival, and how many metres from the goal that was
    verdicts: list[tuple[Verdict, float]] = field(default_factory=list)

    @property
    def stop_distance(self) -> float:
        """Metres between goal and robot at the end."""
        return math.hypot(*(self.path[-1][:2] - self.goal[:2]))

    @property
    def elsewhere(self) -> bool:
        """True if the robot says that it is there, and is not."""
        return self.arrived and not self.success

    @property
    def misjudged(self) -> bool:
        """True if the robot was at its goal, and took it for another place."""
        return any(
            verdict == Verdict.OTHER_PLACE and metres <= SUCCESS_DISTANCE for verdict, metres in self.verdicts
        )

    @property
    def success(self) -> bool:
        """True if the robot says that it is there, and is."""
        return self.arrived and self.stop_distance <= SUCCESS_DISTANCE

    @property
    def first_error(self) -> tuple[float, float]:
        """Metres and radians of the answer from afar; NaN where there was none."""
        if not self.believed_goals:
            return math.nan, math.nan
        position, yaw = pose_errors(self.believed_goals[0], self.goal)
        return float(position), float(yaw)


@dataclass(frozen=True)
class Restart:
    """What it took until a memory that was loaded had found the robot: of its driving. NaN: it never did."""

    seconds: float = math.nan
    metres: float = math.nan


@dataclass
class Result:
    """Of one method in one building: an episode for each goal, and the probability given to each never-seen place."""

    building: Building
    episodes: list[Episode]
    unseen: list[float]  # empty where a method cannot say
    restart: Restart | None = None  # between exploration and episodes


def plan_building(config: MemnavConfig, index: int) -> Building:
    """Building ``index``. One that has too few places far enough from the walk's end is replaced by another."""
    rng = np.random.default_rng([FIRST_SEED + 3, config.seed, index])
    textures = FIRST_SEED + (config.seed * 65537 + 8191 + index // SCENES_PER_TEXTURE_POOL) % 2**30
    scenes = SceneConfig(texture_seed=textures)  # each side of a building is 8 to 20 m long
    while True:
        scene, elsewhere = (generate_scene(FIRST_SEED + int(rng.integers(2**31)), scenes) for _ in range(2))
        walk = explore(scene, np.random.default_rng(START_SEED), config.frames)
        goals = choose_goals(scene, walk, walk[-1], config.goals, rng)
        if len(goals) == config.goals:
            break
    inside = sample_unseen_viewpoints(scene, rng, walk, config.goals // 2)
    other, _ = sample_viewpoints(elsewhere, rng, explore(elsewhere, rng, 64), config.goals - len(inside))
    return Building(
        scene,
        elsewhere,
        Camera(z=float(rng.uniform(*CAMERA_HEIGHT))),
        random_lighting(rng),
        walk,
        goals,
        np.array([shortest_way(scene, walk[-1], goal) for goal in goals]),
        np.array([room_of(scene, goal) != room_of(scene, walk[-1]) for goal in goals]),
        np.concatenate([inside, other]),
        np.arange(config.goals) >= len(inside),
    )


def cut_short(building: Building, episodes: int) -> Building:
    """The first ``episodes`` goals, and as many of the never-seen places."""
    some = slice(episodes)
    return replace(
        building,
        goals=building.goals[some],
        shortest=building.shortest[some],
        other_room=building.other_room[some],
        unseen=building.unseen[some],
        outside=building.outside[some],
    )


def choose_goals(scene: Scene, walk: Array, start: Array, count: int, rng: np.random.Generator) -> Array:
    """Viewpoints (K, 3), K <= count, of places seen on the walk (T, 3), at least MIN_WAY from ``start``.

    The first third of them, rounded up, is in other rooms than ``start``.
    """
    views, _ = sample_viewpoints(scene, rng, walk, CANDIDATES, SEEN_DISTANCE, SEEN_ANGLE)
    here = room_of(scene, start)
    wanted = math.ceil(OTHER_ROOMS * count)
    chosen: list[Array] = []
    for view in views:
        if len(chosen) == count:
            break
        if len(chosen) < wanted and room_of(scene, view) == here:
            continue
        if shortest_way(scene, start, view) >= MIN_WAY:
            chosen.append(view)
    return np.array(chosen).reshape(-1, 3)


def shortest_way(scene: Scene, start: Array, goal: Array) -> float:
    """Metres of the shortest path between two poses for a robot that keeps the planner's clearance; NaN: none.

    Planned paths prefer the middle of free space; this one is pulled tight round the corners.
    """
    planned = plan_path(scene.occupancy(), start[:2].tolist(), goal[:2].tolist(), CLEARANCE)
    if planned is None:
        return math.nan
    end = planned[-1]
    passable = scene.clearance >= CLEARANCE
    indifferent = np.where(passable, np.float32(10.0), np.float32(0.0))
    cells = shortest_path(indifferent, CLEARANCE, GRID, _cell(scene, start), _cell(scene, end))
    if len(cells) == 0:  # the planner's finer grid leads through where this one does not
        return path_length(planned)
    points = (cells[:, ::-1] + 0.5) * GRID + np.array(scene.grid_origin)
    points = np.concatenate([start[None, :2], points[1:-1], end[None]])
    tight, at = [points[0]], 0
    while at < len(points) - 1:
        ahead = len(points) - 1
        while ahead > at + 1 and not _is_clear(scene, passable, points[at], points[ahead]):
            ahead -= 1
        tight.append(points[ahead])
        at = ahead
    return min(path_length(np.array(tight)), path_length(planned))


def _cell(scene: Scene, pose: Array) -> tuple[int, int]:
    column, row = np.floor((pose[:2] - np.array(scene.grid_origin)) / GRID).astype(int)
    return int(row), int(column)


def _is_clear(scene: Scene, passable: NDArray[np.bool_], a: Array, b: Array) -> bool:
    steps = int(np.hypot(*(b - a)) / (0.5 * GRID)) + 2
    line = a + np.linspace(0.0, 1.0, steps)[:, None] * (b - a)
    columns, rows = np.floor((line - np.array(scene.grid_origin)) / GRID).astype(int).T
    return bool(passable[rows, columns].all())
