"""A localisation that does not jump: where odometry lies in a map, brought to a new estimate bit by bit. No ROS in here."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from kinaema_ros import geometry
from kinaema_ros.geometry import Array
from kinaema_ros.settings import check, setting


@dataclass(frozen=True)
class CorrectionLimits:
    """How fast a correction may move the robot in the map, beyond what its odometry says. Raises ValueError out of range."""

    max_speed: float = setting(
        0.3, "A correction moves the robot in memory_frame by no more (m/s)", low=0.01, high=1000.0
    )
    max_turn: float = setting(
        0.3, "A correction turns the robot in memory_frame by no more (rad/s)", low=0.01, high=1000.0
    )

    def __post_init__(self) -> None:
        check(self)


class SmoothCorrection:
    """``map_T_odom`` on its way to the newest estimate of it, at first at once."""

    def __init__(self) -> None:
        self.map_T_odom: Array | None = None

    def forget(self) -> None:
        """The next estimate counts at once: the robot was lost, or the map is another one."""
        self.map_T_odom = None

    def follow(
        self, limits: CorrectionLimits, map_T_odom: ArrayLike, odom_T_base: ArrayLike, seconds: float
    ) -> Array:
        """``map_T_odom`` (3,) so many seconds after the last one, of which ``map_T_odom`` is the newest estimate.

        The limits hold where the robot is: a turn about a far origin would move it by metres.
        """
        if self.map_T_odom is None:
            self.map_T_odom = np.array(map_T_odom, dtype=np.float64)
            return self.map_T_odom
        before = geometry.compose(self.map_T_odom, odom_T_base)
        step = geometry.between(before, geometry.compose(map_T_odom, odom_T_base))
        seconds = max(0.0, seconds)
        share = min(
            1.0,
            limits.max_speed * seconds / max(math.hypot(step[0], step[1]), 1e-9),
            limits.max_turn * seconds / max(abs(float(step[2])), 1e-9),
        )
        after = geometry.compose(before, share * step)
        self.map_T_odom = geometry.compose(after, geometry.inverse(odom_T_base))
        return self.map_T_odom
