"""Mem-Nav through the real nodes: simulator_node, memory_node and navigator_node do what is measured.

The walk is that of the evaluation without ROS, driven by cmd_vel. The photos come one after the other: each drive
begins where the one before ended, and is told the robot's true pose as RViz would tell AMCL. With ``restart`` the
memory's node ends after the walk, saves, and starts anew with a robot that was set down elsewhere, whose odometry is zero
there. It drives a part of the walk once more until the memory has found it, and is localised by the memory on its way to
the photos (publish_tf).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kinaema_interfaces.action import NavigateToImage
from kinaema_ros import geometry
from kinaema_ros.errors import KinaemaError
from kinaema_ros.evaluation.episodes import FIRST_SEED
from kinaema_ros.evaluation.memnav.episodes import (
    MIN_WAY,
    START_SEED,
    Building,
    Episode,
    MemnavConfig,
    Restart,
    Result,
    choose_goals,
    cut_short,
    plan_building,
    shortest_way,
)
from kinaema_ros.geometry import Array
from kinaema_ros.nodes.client.client import Feedback, KinaemaClient
from kinaema_ros.nodes.client.joystick import DemoRobot
from kinaema_ros.nodes.client.processes import SPEED, NodeProcesses, own_domain
from kinaema_ros.reporting import progress
from kinaema_ros.sim import Lighting, OdometryNoise, render
from kinaema_ros.sim.tour import path_length, room_of

GOALS = 5  # in a building
SAVING = ["load_at_start:=building", "autosave_period:=3600.0"]  # it saves at its end
_REACHED, _REACHED_YAW = 0.06, 0.1  # metres, radians from a pose of the walk


def drive_through_nodes(
    config: MemnavConfig,
    episodes: int,
    noise: OdometryNoise,
    checkpoint: Path,
    device: str,
    logs: Path,
    restart: bool = False,
) -> list[Result]:
    """Results, one a building; the nodes log into ``logs``. Raises KinaemaError if a node fails.

    Collisions are those of the whole time in a building, exploration included, counted with its last episode.
    """
    buildings = math.ceil(episodes / config.goals)
    results = []
    for index in progress(range(buildings), desc="episodes", unit="building"):
        planned = cut_short(plan_building(config, index), min(config.goals, episodes - index * config.goals))
        building = replace(planned, lighting=Lighting())  # the simulator's light stays
        folder = logs / f"{index:02}"
        rng = np.random.default_rng([FIRST_SEED + 5, config.seed, index])
        memory_dir = folder if restart else None
        nodes = _nodes(building, noise, checkpoint, device, memory_dir, config.sees_obstacles)
        results.append(_drive_in(building, nodes, folder, rng, restart))
    return results


def _nodes(
    building: Building,
    noise: OdometryNoise,
    checkpoint: Path,
    device: str,
    memory_dir: Path | None,
    sees_obstacles: bool,
) -> dict[str, list[str]]:
    """Their parameters; with a ``memory_dir`` the memory outlives its node, and is the robot's localisation."""
    scene, camera = building.scene, building.camera
    simulator = [
        f"world:={scene.seed}",
        f"texture_seed:={scene.config.texture_seed}",
        f"start_seed:={START_SEED}",
        f"camera.z:={camera.z}",
        f"camera.width:={camera.width}",
        f"camera.height:={camera.height}",
        f"odometry_noise.fraction:={noise.fraction}",
        f"odometry_noise.degrees:={noise.degrees}",
        f"localization:={'odometry' if memory_dir is None else 'tf'}",
        "lift_odometry:=reset",
        f"sees_obstacles:={str(sees_obstacles).lower()}",
        "publish_clock:=true",
        f"real_time_factor:={SPEED}",
        "lockstep:=true",
    ]
    memory = [f"device:={device}", f"checkpoint:={checkpoint.resolve()}"]
    if memory_dir is not None:
        memory += [f"memory_dir:={memory_dir.resolve()}", *SAVING, "publish_tf:=true"]
    nodes = {"simulator_node": simulator, "memory_node": memory, "navigator_node": []}
    return {name: [*parameters, "use_sim_time:=true"] for name, parameters in nodes.items()}


def _drive_in(
    building: Building, nodes: dict[str, list[str]], logs: Path, rng: np.random.Generator, restart: bool
) -> Result:
    track: list[Array] = []
    result = Result(building, [], [])
    with ExitStack() as stack:
        stack.enter_context(own_domain())
        processes = stack.enter_context(NodeProcesses(logs, nodes))
        # The map of a robot that is localised by its memory begins where the robot did.
        scene_T_map = building.walk[0] if restart else np.zeros(3)
        robot = stack.enter_context(
            DemoRobot(lambda _, pose: track.append(pose), processes.check, scene_T_map)
        )
        robot.wait_until_ready()
        kinaema = stack.enter_context(KinaemaClient())
        walk = Walk(building.walk)
        while not walk.done:
            robot.drive(walk.command, 1.0, lambda: None)
        if restart:
            result.restart = _restart(building, processes, robot, track, rng)
            if math.isnan(result.restart.seconds):
                result.episodes = [_not_found(building, goal, robot.pose) for goal in building.goals]
                return result
        for view, outside in zip(building.unseen, building.outside, strict=True):
            result.unseen.append(kinaema.query(_photo(building, view, bool(outside))).seen)
        for _ in building.goals:
            goals = choose_goals(building.scene, building.walk, robot.pose, 1, rng)
            if len(goals) == 0:
                raise KinaemaError(f"no place of building {building.scene.seed} is far enough from the robot")
            robot.localise()
            result.episodes.append(_visit(building, goals[0], robot, kinaema, track))
        result.episodes[-1].collisions = robot.collisions
    return result


def _restart(
    building: Building,
    processes: NodeProcesses,
    robot: DemoRobot,
    track: Sequence[Array],
    rng: np.random.Generator,
) -> Restart:
    """Ends the memory's node, lifts the robot to a pose of the walk's first half, and drives on from there until it is found."""
    walk = building.walk
    far = np.hypot(*(walk[: len(walk) // 2] - robot.pose)[:, :2].T) >= MIN_WAY
    place = int(rng.choice(np.nonzero(far)[0]))
    processes.restart("memory_node", lambda: robot.lift(walk[place]))
    robot.wait_for_restart()
    began, seconds, way = len(track), robot.seconds, Walk(walk[place:])
    while robot.lost:
        if way.done:
            return Restart()
        robot.drive(way.command, 0.5, lambda: None)
    return Restart(robot.seconds - seconds, path_length(np.array(track[began:])))


def _not_found(building: Building, goal: Array, pose: Array) -> Episode:
    message = "the memory did not find the robot after the restart"
    return Episode(goal, shortest_way(building.scene, pose, goal), False, path=[pose], message=message)


def _photo(building: Building, view: Array, outside: bool = False) -> NDArray[np.uint8]:
    scene = building.elsewhere if outside else building.scene
    return render(scene, view[None], building.camera, building.lighting)[0]


def _visit(
    building: Building, goal: Array, robot: DemoRobot, kinaema: KinaemaClient, track: Sequence[Array]
) -> Episode:
    start, scene = robot.pose, building.scene
    episode = Episode(goal, shortest_way(scene, start, goal), room_of(scene, goal) != room_of(scene, start))
    photo = _photo(building, goal)
    episode.seen = kinaema.query(photo).seen

    def on_feedback(feedback: Feedback) -> None:
        if feedback.num_queries != episode.queries:
            episode.believed_goals.append(robot.on_map(feedback.goal, feedback.covariance)[0])
            episode.queries = feedback.num_queries

    began = len(track)
    arrival = kinaema.go_to(photo, on_feedback=on_feedback)
    episode.path = [start, *track[began:]]
    episode.length = path_length(np.array(episode.path))
    episode.arrived = arrival.reached
    episode.refused = arrival.error_code == NavigateToImage.Result.NOT_SEEN
    episode.message = "" if episode.arrived or episode.refused else arrival.message
    return episode


class Walk:
    """Drives along the poses (T, 3) of a walk, as ``explore`` makes it: turns, then straight steps.

    ``command`` is asked for speeds like a PathFollower.
    """

    def __init__(self, poses: Array):
        self._poses, self._next = poses, 0

    @property
    def done(self) -> bool:
        """True once the last pose was reached."""
        return self._next == len(self._poses)

    def command(self, pose: Sequence[float], dt: float) -> tuple[float, float]:
        """Speeds (m/s, rad/s) for the next dt seconds at the true pose x, y, yaw."""
        while not self.done:
            target = geometry.between(pose, self._poses[self._next])
            distance = math.hypot(target[0], target[1])
            if distance > _REACHED and not (abs(target[1]) < 0.2 and -0.2 < target[0] < 0.0):
                bearing = math.atan2(target[1], target[0])
                return (0.5 if abs(bearing) < 0.4 else 0.0), _turn(bearing)
            if abs(target[2]) > _REACHED_YAW and self._stays():
                return 0.0, _turn(float(target[2]))
            self._next += 1
        return 0.0, 0.0

    def _stays(self) -> bool:
        """Whether the walk turns on the spot next, or ends: then this pose's heading matters."""
        after = self._poses[self._next : self._next + 2, :2]
        return bool(np.hypot(*(after[-1] - after[0])) < 1e-6)


def _turn(angle: float) -> float:
    return min(max(2.5 * angle, -1.5), 1.5)
