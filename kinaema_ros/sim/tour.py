"""The way of a person who shows a robot round a building, with a joystick and the floor plan in hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from kinaema_ros.geometry import Array, wrap_angle
from kinaema_ros.sim import OccupancyGrid, PathFollower, Scene, plan_path
from kinaema_ros.sim.driving import CLEARANCE
from kinaema_ros.sim.scene import GRID

SPACING = 2.0  # metres between stops
_LOOK_SPEED = 1.5  # rad/s of a look around
_NEAREST = 3  # stops, as the crow flies, of which the one with the shortest way comes next


class Tour:
    """Drives through all of a building, always to a near stop not yet visited, and looks round once a room.

    ``command`` is asked for speeds like a PathFollower; when all stops were visited, another round begins.
    """

    def __init__(self, scene: Scene, rng: np.random.Generator):
        self._scene, self._rng = scene, rng
        self._grid: OccupancyGrid = scene.occupancy()
        self._stops: Array = np.empty((0, 2))
        self._follower: PathFollower | None = None
        self._seen_rooms: set[int] = set()
        self._left_to_turn = 0.0  # radians of a look around
        self._yaw: float | None = None

    def command(self, pose: Sequence[float], dt: float) -> tuple[float, float]:
        """Speeds (m/s, rad/s) for the next dt seconds at the pose x, y, yaw of the scene's frame."""
        if self._left_to_turn > 0.0:
            return 0.0, self._look(pose[2])
        if self._follower is None:
            self._follower = self._next(pose)
        v, omega = self._follower.command(pose, dt)
        if self._follower.done or self._follower.stuck:
            self._follower = None
            room = room_of(self._scene, pose)
            if room not in self._seen_rooms:
                self._seen_rooms.add(room)
                self._left_to_turn, self._yaw = 2 * math.pi, None
            return 0.0, 0.0
        return v, omega

    def _look(self, yaw: float) -> float:
        if self._yaw is not None:
            self._left_to_turn -= max(0.0, float(wrap_angle(yaw - self._yaw)))
        self._yaw = yaw
        return _LOOK_SPEED

    def _next(self, pose: Sequence[float]) -> PathFollower:
        """To the stop, of the few nearest as the crow flies, to which the way is shortest."""
        fresh = len(self._stops) == 0
        if fresh:
            self._stops = _spread(self._scene, self._rng)
        while len(self._stops) > 0:
            nearest = np.argsort(np.hypot(*(self._stops - np.array(pose[:2])).T))[:_NEAREST]
            paths = [
                plan_path(self._grid, pose[:2], self._stops[k].tolist(), CLEARANCE) for k in nearest.tolist()
            ]
            lengths = [math.inf if path is None else path_length(path) for path in paths]
            best = int(np.argmin(lengths))
            path = paths[best]
            if path is not None:
                self._stops = np.delete(self._stops, nearest[best], axis=0)
                return PathFollower(path)
            self._stops = np.delete(self._stops, nearest, axis=0)
        if fresh:
            raise RuntimeError(f"no way leads anywhere from {np.round(pose, 2).tolist()}")
        return self._next(pose)


def room_of(scene: Scene, pose: Sequence[float] | Array) -> int:
    """Index of the room in which a pose lies."""
    inside = (np.array(scene.rooms[:, :2]) <= pose[:2]) & (pose[:2] <= np.array(scene.rooms[:, 2:]))
    return int(np.argmax(inside.all(axis=1)))


def path_length(path: Array) -> float:
    """Metres along way points (K, 2)."""
    return float(np.hypot(*np.diff(path, axis=0).T).sum())


def _spread(scene: Scene, rng: np.random.Generator) -> Array:
    """Stops (K, 2), random, such that every place the robot can reach has one within SPACING."""
    rows, columns = np.nonzero(scene.reachable)
    points = (np.stack([columns, rows], axis=1) + 0.5) * GRID + np.array(scene.grid_origin)
    stops = []
    while len(points) > 0:
        stops.append(points[rng.integers(len(points))])
        points = points[np.hypot(*(points - stops[-1]).T) >= SPACING]
    return np.array(stops)
