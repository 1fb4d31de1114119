"""``Comparison``: whether the robot's camera sees what a photo shows."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

import numpy as np

from kinaema_ros import geometry
from kinaema_ros.estimate import Pose, as_pose
from kinaema_ros.geometry import Array


class Verdict(enum.IntEnum):
    """As kinaema_interfaces/srv/CompareView has them."""

    UNDECIDED = 0  # too little to tell
    RECOGNISED = 1  # the camera sees what the photo shows, from where ``pose`` tells
    OTHER_PLACE = 2


@dataclass(frozen=True)
class Comparison:
    """A photo against the view from where the robot stands."""

    verdict: Verdict
    why: str  # the verdict in words
    # (x, y, yaw) from where the photo was taken, where that is recognised; `SpatialMemory`: in the robot's frame
    pose: Pose | None = None
    covariance: Array | None = None  # (3, 3) of pose

    def seen_from(self, frame_T_robot: Array) -> Comparison:
        """The same in the frame in which the robot is at ``frame_T_robot`` (3,)."""
        if self.pose is None or self.covariance is None:
            return self
        return replace(
            self,
            pose=as_pose(geometry.compose(frame_T_robot, np.array(self.pose))),
            covariance=geometry.rotate_covariance(self.covariance, float(frame_T_robot[2])),
        )
