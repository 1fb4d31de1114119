"""``Estimate``: what the memory says about one photo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from kinaema_ros.geometry import Array

Pose = tuple[float, float, float]


@dataclass(frozen=True)
class Estimate:
    """Where the robot was when it would have seen the photo. Metres and radians."""

    pose: (
        Pose  # (x, y, yaw) of the photo's viewpoint; `SpatialMemory`: in the robot's frame at the last update
    )
    covariance: Array  # (3, 3) of (x, y, yaw), in the frame of `pose`
    seen: float  # probability in [0, 1] that the place is in memory
    num_updates: int = 0  # frames in memory when the question was answered
    odom_pose: Pose | None = None  # `SpatialMemory` only: the same viewpoint in the odom frame
    frame_id: str = ""  # nodes and their clients only: the frame of `pose`
    stamp_ns: int = 0  # nodes and their clients only: when the robot was where `pose` takes it to be


def as_pose(pose: ArrayLike) -> Pose:
    """A pose (3,) as plain floats."""
    x, y, yaw = np.asarray(pose, dtype=np.float64).tolist()
    return x, y, yaw
