"""Mem-Nav episodes driven by each method: by a memory, by looking for the photo's view, by an oracle.

All drive by the navigator's own logic (kinaema_ros.navigation.photo_drive) on the building's map, localised by odometry
that is right at the start and drifts from there on, one of them by the memory. They differ in whom they ask where the
photo was taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from kinaema_ros import geometry
from kinaema_ros.baselines.methods import LastViews, Method
from kinaema_ros.comparison import Comparison
from kinaema_ros.estimate import Estimate, as_pose
from kinaema_ros.evaluation.memnav.agents import STEPS_PER_IMAGE, Agent, RobotMemory
from kinaema_ros.evaluation.memnav.episodes import Building, Episode, Result
from kinaema_ros.geometry import Array
from kinaema_ros.keyframes import KeyframeSelector
from kinaema_ros.navigation.photo_drive import DriveLimits
from kinaema_ros.sim import OdometryNoise, render
from kinaema_ros.sim.simulated_robot import STEP_HZ, SimulatedRobot
from kinaema_ros.sim.tour import Tour
from kinaema_ros.training.drives import intrinsics, mounted

TOUR_METRES = 60.0  # that no_memory looks for a photo before it gives up: about as long as the exploration
MAX_KEYFRAMES = 1200  # room for what a method keeps on the way; a drive of goal_timeout brings no more
NO_NOISE = OdometryNoise(0.0, 0.0)


@dataclass
class Exploration:
    """A building after phase 1: T frames, G goals, U never-seen places, as a method's encoder observed them."""

    building: Building
    odometry: Array  # (T, 3)
    frames: list[Any]
    photos: list[Any]
    unseen: list[Any]
    seeds: list[int]  # (G,) of the odometry's errors on the way to each goal
    sees_obstacles: bool  # see MemnavConfig

    def episode(self, n: int) -> Episode:
        """To goal ``n``, not begun yet."""
        b = self.building
        return Episode(b.goals[n], float(b.shortest[n]), bool(b.other_room[n]))

    def robot(self, n: int, noise: OdometryNoise, start: Array | None = None) -> SimulatedRobot:
        """The robot that goes to goal ``n``, from ``start`` (3,) or from where the exploration ended."""
        start = self.building.walk[-1] if start is None else start
        return SimulatedRobot(
            self.building.scene, self.seeds[n], noise, "odometry", start, self.sees_obstacles
        )


def observe(method: Method, building: Building, pose: Array, elsewhere: bool = False) -> Any:
    """What the robot's camera sees from a pose (3,) of the building, or of the other one."""
    scene = building.elsewhere if elsewhere else building.scene
    rgb = render(scene, pose[None], building.camera, building.lighting)[0]
    return method.encoder(rgb, intrinsics(building.camera), mounted(building.camera))


def explore(
    method: Method, building: Building, odometry: Array, seeds: list[int], sees_obstacles: bool = False
) -> Exploration:
    """Phase 1 as the camera saw it, and the photos to be asked for."""
    return Exploration(
        building,
        odometry,
        [observe(method, building, pose) for pose in building.walk],
        [observe(method, building, pose) for pose in building.goals],
        [
            observe(method, building, pose, bool(outside))
            for pose, outside in zip(building.unseen, building.outside, strict=True)
        ],
        seeds,
        sees_obstacles,
    )


def by_memory(
    method: Method,
    e: Exploration,
    noise: OdometryNoise,
    limits: DriveLimits,
    remember: type[RobotMemory] = RobotMemory,
    localizes: bool = False,
) -> Result:
    """Phase 1 and 2 in a building. Each drive begins with the memory as it was after phase 1.

    localizes: the memory tells the robot where it is on the map, too, once it was told so at the start.
    """
    state = method.start(len(e.frames) + MAX_KEYFRAMES)
    for frame, where in zip(e.frames, e.odometry, strict=True):
        state = method.update(state, frame, torch.from_numpy(where))
    unseen = [method.query(state, photo, same_camera=True) for photo in e.unseen]
    result = Result(
        e.building, [e.episode(n) for n in range(len(e.photos))], [answer.seen for answer in unseen]
    )
    for n, episode in enumerate(result.episodes):
        memory = remember(method, state, e.photos[n], e.odometry[-1])
        look = partial(observe, method, e.building)
        compare = partial(arrival, memory, look)
        where = memory.memory_T_odom if localizes else None
        agent = Agent(episode, e.robot(n, noise), e.odometry[-1], memory.ask, limits, compare, where)
        drive(agent, memory, look)
    return result


def no_memory(method: LastViews, e: Exploration, noise: OdometryNoise, limits: DriveLimits) -> Result:
    """Looks for the photo's view on a tour of the building, with true localisation, and goes there on sight.

    The tour is the same whatever the photo, so that it is driven once a building. A goal's ``seen`` is the best
    answer on the way; a photo that was nowhere recognised was not found.
    """
    tour = take_tour(e, noise)
    photos = [*e.photos, *e.unseen]
    best = np.zeros(len(photos))
    found: dict[int, tuple[int, Any]] = {}  # photo: where on the tour, what was remembered then
    state = method.start(0)
    for at in tour.keyframes:
        view = observe(method, e.building, tour.map_T_base[at])
        state = method.update(state, view, torch.from_numpy(tour.odom_T_base[at]))
        for n, photo in enumerate(photos):
            if n in found:
                continue
            answer = method.query(state, photo, same_camera=True)
            best[n] = max(best[n], answer.seen)
            if answer.seen >= limits.min_seen and answer.confidence >= limits.min_confidence:
                found[n] = at, state
    goals = len(e.photos)
    result = Result(e.building, [e.episode(n) for n in range(goals)], best[goals:].tolist())
    for n, episode in enumerate(result.episodes):
        at, seen_there = found.get(n, (len(tour.map_T_base) - 1, None))
        episode.path, episode.length = list(tour.map_T_base[: at + 1]), float(tour.travelled[at])
        episode.collisions, episode.seen = int(tour.collisions[at]), float(best[n])
        if n not in found:
            episode.message = f"not found within {TOUR_METRES:g} m"
            continue
        odometry = tour.odom_T_base[at]
        memory = RobotMemory(method, seen_there, e.photos[n], odometry)
        agent = Agent(episode, e.robot(n, noise, tour.map_T_base[at]), odometry, memory.ask, limits)
        drive(agent, memory, partial(observe, method, e.building))
    return result


def oracle(e: Exploration, limits: DriveLimits) -> Result:
    """Knows where the photo was taken, and where it is."""
    result = Result(e.building, [e.episode(n) for n in range(len(e.building.goals))], [])
    for n, episode in enumerate(result.episodes):
        goal = geometry.compose(e.odometry[-1], geometry.between(e.building.walk[-1], episode.goal))
        ask = partial(Estimate, as_pose(goal), np.zeros((3, 3)), 1.0, 1.0)
        agent = Agent(episode, e.robot(n, NO_NOISE), e.odometry[-1], ask, limits)
        while agent.advance():
            pass
    return result


def drive(agent: Agent, memory: RobotMemory, look: Callable[[Array], Any]) -> None:
    """Drive to the end; each keyframe on the way goes into the memory. ``look``: the observation from a pose (3,)."""
    while agent.advance():
        memory.update(look(agent.map_T_base), agent.odom_T_base)


def arrival(
    memory: RobotMemory, look: Callable[[Array], Any], map_T_base: Array, odom_T_base: Array
) -> Comparison:
    """The photo against what the camera sees from a pose (3,) on the map, which odometry takes for ``odom_T_base`` (3,)."""
    return memory.compare(look(map_T_base), odom_T_base)


@dataclass
class TourTrack:
    """A robot's tour, T images long."""

    map_T_base: Array  # (T, 3)
    odom_T_base: Array  # (T, 3)
    travelled: Array  # (T,) metres
    collisions: Array  # (T,) so far
    keyframes: list[int]


def take_tour(e: Exploration, noise: OdometryNoise) -> TourTrack:
    """Drives TOUR_METRES from where the exploration ended, to near places not yet visited on this tour."""
    robot = e.robot(0, noise)
    tour = Tour(e.building.scene, np.random.default_rng(e.seeds[0]))
    selector = KeyframeSelector()
    dt = 1.0 / STEP_HZ
    true, odom, travelled, collisions, keyframes = [], [], [0.0], [], []
    while travelled[-1] < TOUR_METRES:
        now = robot.snapshot()
        true.append(now.map_T_base)
        odom.append(geometry.compose(e.odometry[-1], now.odom_T_base))
        collisions.append(robot.collisions)
        if selector.select(round(now.seconds * 1e9), odom[-1]):
            keyframes.append(len(true) - 1)
        for _ in range(STEPS_PER_IMAGE):
            robot.command(*tour.command(robot.snapshot().map_T_base.tolist(), dt), dt)
            robot.step(dt)
        travelled.append(travelled[-1] + math.hypot(*(robot.snapshot().map_T_base[:2] - now.map_T_base[:2])))
    return TourTrack(
        np.array(true), np.array(odom), np.array(travelled[: len(true)]), np.array(collisions), keyframes
    )
