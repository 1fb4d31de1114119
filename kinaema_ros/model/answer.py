"""``Answer``: one place at which a photo may have been taken."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class Answer:
    """In the robot's frame at the last update. ``covariance`` is None where a method says nothing of its certainty."""

    pose: Tensor  # (3,) float64, robot_T_photo
    covariance: Tensor | None  # (3, 3) float64 of x, y, yaw in the robot's axes
    seen: float  # probability that the photo's place is in memory
    confidence: float  # probability that the pose is within 1 m and 20 degrees of the truth
