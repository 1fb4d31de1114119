"""The places that the demo asks for: views such as a person would photograph, near where the robot has been."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kinaema_ros.geometry import Array
from kinaema_ros.sim import Camera, Scene, plan_path, render, sample_viewpoints
from kinaema_ros.sim.driving import CLEARANCE
from kinaema_ros.sim.space import ray_distance
from kinaema_ros.sim.tour import path_length, room_of

CANDIDATES = 300
# As evaluation has it: a place counts as seen when the robot was this near, looking about that way.
MAX_DISTANCE, MAX_ANGLE = 1.0, math.radians(40.0)
MIN_WAY = 3.0  # metres to drive to a photo
MIN_SIGHT, MIN_SIGHT_AHEAD = 2.0, 1.2  # metres of free sight: the median over the width, and amid the photo
APART = 2.0  # metres between two photos' viewpoints
_SMALL = Camera(80, 60)


class PhotoSpots:
    """Viewpoints to choose photos from, fixed once the building has been explored."""

    def __init__(self, scene: Scene, explored: Array, rng: np.random.Generator):
        """explored: (T, 3) poses of the robot."""
        self._scene, self._grid = scene, scene.occupancy()
        views, _ = sample_viewpoints(scene, rng, explored, CANDIDATES, MAX_DISTANCE, MAX_ANGLE)
        rooms = np.array([room_of(scene, view) for view in views])
        detail = _detail(render(scene, views, _SMALL))
        good = np.array([_open_view(scene, view) for view in views])
        for room in np.unique(rooms[good]):  # nobody takes a photo of a bare wall: the half with more to see
            here = good & (rooms == room)
            good[here] = detail[here] >= np.median(detail[here])
        if not good.any():
            good[:] = True
        self._views: Array = views[good]
        self._rooms = rooms[good]

    def next(self, robot: Sequence[float], used: Sequence[Array]) -> Array:
        """A viewpoint (3,) for a robot at the pose x, y, yaw, at least MIN_WAY to drive from it.

        It is in another room than the robot and the photos used so far if there is such a viewpoint, else at
        least APART from these photos if there is such a one.
        """
        rooms = [room_of(self._scene, pose) for pose in (np.array(robot), *used)]
        worse = np.isin(self._rooms, rooms).astype(int)
        for view in used:
            worse += 2 * (np.hypot(*(self._views[:, :2] - view[:2]).T) < APART)
        longest, fallback = 0.0, self._views[0]
        for index in np.argsort(worse, kind="stable"):
            view = self._views[index]
            path = plan_path(self._grid, robot[:2], view[:2].tolist(), CLEARANCE)
            way = 0.0 if path is None else path_length(path)
            if way >= MIN_WAY:
                return view
            if way > longest:
                longest, fallback = way, view
        return fallback


def _open_view(scene: Scene, view: Array) -> bool:
    """Whether walls and tall furniture leave something to see."""
    half = _SMALL.hfov / 2
    sight = [
        ray_distance(scene.boxes, scene.sight_blockers, view[0], view[1], view[2] + angle, 20.0)
        for angle in np.linspace(-half, half, 9)
    ]
    return bool(np.median(sight) >= MIN_SIGHT and min(sight[3:6]) >= MIN_SIGHT_AHEAD)


def _detail(images: NDArray[np.uint8]) -> Array:
    """Mean contrast between neighbouring pixels of images (B, H, W, 3), shape (B,)."""
    grey = images.astype(np.float64).mean(axis=3)
    return np.abs(np.diff(grey, axis=1)).mean(axis=(1, 2)) + np.abs(np.diff(grey, axis=2)).mean(axis=(1, 2))
