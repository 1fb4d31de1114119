"""``Estimate``: what the memory says about one photo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from kinaema_ros import geometry
from kinaema_ros.geometry import Array

Pose = tuple[float, float, float]
Moved = Callable[
    [Array, Array], tuple[Array, Array]
]  # a pose (3,) and its covariance (3, 3) in another frame


@dataclass(frozen=True)
class Alternative:
    """Another place that looks like the photo's."""

    pose: Pose
    covariance: Array  # (3, 3)
    confidence: float


@dataclass(frozen=True)
class Estimate:
    """Where the robot was when it would have seen the photo. Metres and radians."""

    pose: (
        Pose  # (x, y, yaw) of the photo's viewpoint; `SpatialMemory`: in the robot's frame at the last update
    )
    covariance: Array  # (3, 3) of (x, y, yaw), in the frame of `pose`
    seen: float  # probability in [0, 1] that the place is in memory
    confidence: float  # probability that `pose` is within 1 m and 20 degrees of the truth, at most `seen`
    alternatives: tuple[
        Alternative, ...
    ] = ()  # the next best distinct places, best first; in the frame of `pose`
    num_updates: int = 0  # frames in memory when the question was answered
    odom_pose: Pose | None = None  # `SpatialMemory` only: the same viewpoint in the odom frame
    frame_id: str = ""  # nodes and their clients only: the frame of `pose`
    stamp_ns: int = 0  # nodes and their clients only: when the robot was where `pose` takes it to be

    def moved(self, to: Moved) -> Estimate:
        """The same answer in another frame: ``to`` is asked for each pose and covariance."""
        pose, covariance = to(np.array(self.pose), self.covariance)
        others = []
        for other in self.alternatives:
            its_pose, its_covariance = to(np.array(other.pose), other.covariance)
            others.append(Alternative(as_pose(its_pose), its_covariance, other.confidence))
        return replace(self, pose=as_pose(pose), covariance=covariance, alternatives=tuple(others))


@dataclass(frozen=True)
class Place:
    """A place of the memory that has a name."""

    name: str
    in_memory: bool  # False: its surroundings are forgotten
    pose: (
        Pose | None
    )  # (x, y, yaw) of the robot there; `SpatialMemory`: in the odom frame. None where that is not known
    frame_id: str = ""  # nodes' clients only: the frame of `pose`


@dataclass(frozen=True)
class Localization:
    """Where the robot was at the memory's last update. Metres and radians."""

    pose: Pose  # (x, y, yaw) of the robot in the memory's frame, whose origin is where its camera took the first image
    covariance: Array  # (3, 3) of `pose`
    odom_pose: Pose  # the same moment in the odom frame

    @property
    def memory_T_odom(self) -> Array:
        """(3,) by which later odometry is brought into the memory's frame."""
        return geometry.compose(self.pose, geometry.inverse(self.odom_pose))


def as_pose(pose: ArrayLike) -> Pose:
    """A pose (3,) as plain floats."""
    x, y, yaw = np.asarray(pose, dtype=np.float64).tolist()
    return x, y, yaw
