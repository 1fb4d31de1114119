"""The places at which a photo may have been taken, and those where the robot saw that it was not. No ROS in here."""

from __future__ import annotations

import math

from numpy.typing import ArrayLike

from kinaema_ros import geometry
from kinaema_ros.estimate import Alternative, Estimate
from kinaema_ros.geometry import Array

# Less than this confidence is not worth a drive, where the likelier places turned out to be others.
LEAST_CONFIDENCE = 0.02
# What is nearer is one place: as far as a memory's alternatives lie apart.
_SAME_DISTANCE, _SAME_ANGLE = 1.0, math.radians(30.0)


def named(answer: Estimate) -> list[Alternative]:
    """All places that an answer names, the likeliest first."""
    return [Alternative(answer.pose, answer.covariance, answer.confidence), *answer.alternatives]


def near(a: ArrayLike, b: ArrayLike) -> bool:
    """Whether two poses (3,) are at one place."""
    x, y, yaw = geometry.between(a, b)
    return bool(math.hypot(x, y) < _SAME_DISTANCE and abs(yaw) < _SAME_ANGLE)


class Candidates:
    """Of the first answer about a photo and of the newest. Poses (3,) are in one frame that is fixed while driving."""

    def __init__(self) -> None:
        self.tried: list[Array] = []  # where the camera saw another place
        self._answers: list[Estimate] = []

    def likeliest(self, answer: Estimate) -> Alternative | None:
        """The likeliest place of a new answer at which the robot was not yet; None where there is none."""
        self._answers[1:] = [answer]
        return self._untried(answer)

    def reject(self, pose: Array) -> Alternative | None:
        """The camera saw another place at ``pose``. Returns where to go next, or None."""
        if not self._was_at(pose):
            self.tried.append(pose)
        left = (self._untried(answer) for answer in reversed(self._answers))
        return next((p for p in left if p is not None and p.confidence >= LEAST_CONFIDENCE), None)

    def _untried(self, answer: Estimate) -> Alternative | None:
        return next((place for place in named(answer) if not self._was_at(place.pose)), None)

    def _was_at(self, pose: ArrayLike) -> bool:
        return any(near(tried, pose) for tried in self.tried)
