"""A robot in a procedural scene: it moves, collides, mismeasures its motion and follows paths."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

import numpy as np

from kinaema_ros import geometry
from kinaema_ros.geometry import Array
from kinaema_ros.sim import (
    OccupancyGrid,
    OdometryNoise,
    PathFollower,
    Scene,
    explore,
    plan_path,
    step_robot,
)
from kinaema_ros.sim.driving import CLEARANCE, ROBOT_RADIUS
from kinaema_ros.sim.space import nearest_distance

STEP_HZ, IMAGE_HZ = 20, 5  # steps of motion and images a second, unless a simulator is told otherwise
REPLAN = 1.0  # seconds between two plans of a robot that sees obstacles; Nav2's behaviour trees' default
# What the odometry makes of it when the robot is lifted: nothing, the motion, or a new origin where it is set down.
LIFT_ODOMETRY = ("unaware", "jump", "reset")
# The noise is given per step of a walk, as in training: this far, or this much of a turn.
_STEP, _STEP_YAW = 0.25, math.radians(25.0)


@dataclass(frozen=True)
class Snapshot:
    """The robot at one moment; poses (3,), metres and radians."""

    seconds: float  # since the start of the simulation
    map_T_base: Array  # the truth
    odom_T_base: Array  # what the wheels say
    speed: tuple[float, float]  # forward m/s, yaw rad/s


class SimulatedRobot:
    """Thread-safe; time passes by ``step`` only. The map frame is the scene's."""

    def __init__(
        self,
        scene: Scene,
        seed: int,
        noise: OdometryNoise,
        localization: str,
        start: Array | None = None,
        sees_obstacles: bool = False,
    ):
        """``localization``: "ground_truth", or "odometry" for a robot that believes its drifting odometry.

        ``start``: pose (3,) on the map; None: one that ``explore`` would start from with the same seed. ``sees_obstacles``: it
        drives round what is there, as by a costmap that its sensors fill, and is mistaken about where the goal lies only.
        """
        self._sees_obstacles = sees_obstacles
        self.scene, self._noise, self._localization = scene, noise, localization
        self.grid: OccupancyGrid = scene.occupancy()
        self._rng = np.random.default_rng(seed)
        self._lock = threading.Lock()
        if start is None:
            start = explore(scene, self._rng, 1)[0]
        self._true: Array = np.array(start, dtype=np.float64)
        self._map_T_odom = self._true.copy()  # as a robot believes that is localised by odometry
        self._odometry: Array = np.zeros(3)
        self._seconds = 0.0
        self._command, self._command_until = (0.0, 0.0), 0.0
        self._follower: PathFollower | None = None
        self._goal: Array = np.zeros(3)  # of the path that is followed
        self._planned_at = 0.0
        self._speed = (0.0, 0.0)
        self.collisions = 0
        self._colliding = False

    def snapshot(self) -> Snapshot:
        """Where it is now."""
        with self._lock:
            return Snapshot(self._seconds, self._true.copy(), self._odometry.copy(), self._speed)

    def believed(self) -> Array:
        """``map_T_base`` (3,) as its localisation has it."""
        with self._lock:
            return self._believed()

    def _believed(self) -> Array:
        if self._localization == "ground_truth":
            return self._true.copy()
        return geometry.compose(self._map_T_odom, self._odometry)

    def localise(self, map_T_base: Array) -> None:
        """Tells a robot that is localised by odometry where it is; from here on it drifts again."""
        with self._lock:
            self._map_T_odom = geometry.compose(map_T_base, geometry.inverse(self._odometry))

    def localise_odometry(self, map_T_odom: Array) -> None:
        """As ``localise``, by where the odometry lies on the map."""
        with self._lock:
            self._map_T_odom = np.array(map_T_odom, dtype=np.float64)

    def map_T_odom(self) -> Array:
        """(3,) what its localisation publishes for goals given in the odom frame."""
        with self._lock:
            return geometry.compose(self._believed(), geometry.inverse(self._odometry))

    def lift(self, map_T_base: Array, odometry: str) -> bool:
        """Sets the robot down at a pose (3,); ``odometry`` is one of LIFT_ODOMETRY. False, and nothing happens, without room."""
        x, y = map_T_base[:2]
        if nearest_distance(self.scene.boxes, self.scene.obstacles, x, y, 2.0 * ROBOT_RADIUS) < ROBOT_RADIUS:
            return False
        with self._lock:
            if odometry == "jump":
                motion = geometry.between(self._true, map_T_base)
                self._odometry = geometry.compose(self._odometry, motion)
            elif odometry == "reset":
                self._odometry = np.zeros(3)
            self._true = np.array(map_T_base, dtype=np.float64)
            self._follower, self._command_until = None, 0.0
        return True

    def command(self, v: float, omega: float, seconds: float) -> None:
        """Drives at v m/s and omega rad/s for so long, unless a path is being followed."""
        with self._lock:
            self._command, self._command_until = (v, omega), self._seconds + seconds

    def go_to(self, map_T_goal: Array) -> PathFollower | None:
        """Plans a path and follows it from the next step on; None if there is none."""
        with self._lock:
            start, goal = self._way_to(map_T_goal)
        path = plan_path(self.grid, start[:2].tolist(), goal[:2].tolist(), CLEARANCE)
        if path is None:
            return None
        follower = PathFollower(path, float(goal[2]))
        with self._lock:
            self._follower, self._goal, self._planned_at = follower, map_T_goal, self._seconds
        return follower

    def _way_to(self, map_T_goal: Array) -> tuple[Array, Array]:
        """The robot's pose and the goal (3,) each, among the obstacles as it takes them to be."""
        believed = self._believed()
        if self._sees_obstacles:
            return self._true.copy(), geometry.compose(self._true, geometry.between(believed, map_T_goal))
        return believed, map_T_goal

    def _follow(self, follower: PathFollower, dt: float) -> tuple[float, float]:
        start, goal = self._way_to(self._goal)
        if self._sees_obstacles and self._seconds - self._planned_at >= REPLAN:
            self._planned_at = self._seconds
            path = plan_path(self.grid, start[:2].tolist(), goal[:2].tolist(), CLEARANCE)
            if path is not None:
                follower.go_on_along(path, float(goal[2]))
        return follower.command(start.tolist(), dt)

    def stop(self, follower: PathFollower) -> None:
        """Gives a path up, unless another one has replaced it."""
        with self._lock:
            if self._follower is follower:
                self._follower = None

    def step(self, dt: float) -> Snapshot:
        """Lets ``dt`` seconds pass."""
        with self._lock:
            v, omega = self._command if self._seconds < self._command_until else (0.0, 0.0)
            if self._follower is not None:
                v, omega = self._follow(self._follower, dt)
            before = self._true
            pose, collided = step_robot(self.scene, before.tolist(), v, omega, dt)
            self._true = np.array(pose)
            self.collisions += collided and not self._colliding
            self._colliding = collided
            self._odometry = geometry.compose(
                self._odometry, self._measured(geometry.between(before, self._true))
            )
            self._speed = (v, omega)
            self._seconds += dt
        return self.snapshot()

    def _measured(self, step: Array) -> Array:
        """A motion as the wheels measure it; independent errors add up to the noise's of a whole step."""
        distance, turn = math.hypot(step[0], step[1]), abs(step[2])
        position = self._noise.fraction * math.sqrt(_STEP * distance)
        yaw = math.radians(self._noise.degrees) * math.sqrt(distance / _STEP + turn / _STEP_YAW)
        return step + self._rng.standard_normal(3) * np.array([position, position, yaw])
