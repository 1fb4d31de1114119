"""One goal from several answers to the same question. No ROS in here."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from kinaema_ros import geometry
from kinaema_ros.geometry import Array

# 99.9 % of chi-square with three degrees of freedom: one honest answer in a thousand is called an outlier.
_GATE = 16.27
# No answer is trusted beyond this: the network's own variances do not know of odometry or camera calibration.
_FLOOR = np.diag([0.03**2, 0.03**2, math.radians(1.0) ** 2])
# This many answers in a row that agree with each other but not with the goal replace it.
_OUTLIERS_TO_SWITCH = 3
# Odometry's drift per metre driven, which ages earlier answers: 2 % and 0.5 degrees.
_DRIFT, _DRIFT_YAW = 0.02, math.radians(0.5)


class GoalFusion:
    """A goal pose (3,) and its covariance (3, 3) in the odom frame, sharpened by every answer.

    Answers of one memory about one photo share most of their errors, by an amount nobody knows. Covariance
    intersection (Julier, Uhlmann, "A non-divergent estimation algorithm in the presence of unknown
    correlations", 1997) is consistent for any: ten equal answers are no surer than one, a sharper one takes
    over.
    """

    def __init__(self, pose: ArrayLike, covariance: ArrayLike):
        self.pose: Array = np.array(pose, dtype=np.float64)
        self.covariance: Array = np.array(covariance, dtype=np.float64) + _FLOOR
        self._outliers: list[tuple[Array, Array]] = []

    def age(self, metres: float) -> None:
        """The robot drove so far since the last answer: what is known loosens by the odometry's drift."""
        position, yaw = (_DRIFT * metres) ** 2, (_DRIFT_YAW * metres) ** 2
        self.covariance = self.covariance + np.diag([position, position, yaw])

    def add(self, pose: ArrayLike, covariance: ArrayLike) -> bool:
        """Takes an answer; returns False if it was set aside as an outlier."""
        new: Array = np.array(pose, dtype=np.float64)
        new_covariance: Array = np.array(covariance, dtype=np.float64) + _FLOOR
        if self._agree(self.pose, self.covariance, new, new_covariance):
            self._outliers.clear()
            self._intersect(new, new_covariance)
            return True
        if self._outliers and not self._agree(*self._outliers[-1], new, new_covariance):
            self._outliers.clear()
        self._outliers.append((new, new_covariance))
        if len(self._outliers) < _OUTLIERS_TO_SWITCH:
            return False
        self.pose, self.covariance = new, new_covariance
        self._outliers.clear()
        return True

    @staticmethod
    def _agree(pose_a: Array, covariance_a: Array, pose_b: Array, covariance_b: Array) -> bool:
        difference = pose_b - pose_a
        difference[2] = geometry.wrap_angle(difference[2])
        return bool(difference @ np.linalg.solve(covariance_a + covariance_b, difference) <= _GATE)

    def _intersect(self, pose: Array, covariance: Array) -> None:
        old, new = np.linalg.inv(self.covariance), np.linalg.inv(covariance)
        # The weight that leaves the smallest volume; a curve so flat needs no finer search.
        weights = np.linspace(0.0, 1.0, 21)[:, None, None]
        information = weights * new + (1.0 - weights) * old
        best = int(np.argmax(np.linalg.det(information)))
        weight = float(weights[best, 0, 0])
        self.covariance = np.linalg.inv(information[best])
        difference = pose - self.pose
        difference[2] = geometry.wrap_angle(difference[2])
        self.pose = self.pose + self.covariance @ (weight * new @ difference)
        self.pose[2] = geometry.wrap_angle(self.pose[2])
