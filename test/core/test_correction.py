"""A localisation without jumps: the robot is moved in the map no faster than allowed, and gets where it should."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kinaema_ros import geometry
from kinaema_ros.correction import CorrectionLimits, SmoothCorrection
from kinaema_ros.errors import InputError

LIMITS = CorrectionLimits(max_speed=0.2, max_turn=0.1)
PERIOD = 0.05  # seconds
TARGET = np.array([1.0, -2.0, 0.5])


def test_the_first_estimate_counts_at_once_and_so_does_one_after_the_robot_was_lost() -> None:
    correction, far = SmoothCorrection(), np.array([30.0, 0.0, 0.0])
    np.testing.assert_array_equal(correction.follow(LIMITS, TARGET, far, PERIOD), TARGET)
    correction.forget()
    np.testing.assert_array_equal(correction.follow(LIMITS, -TARGET, far, PERIOD), -TARGET)


@pytest.mark.parametrize("away", [0.0, 30.0])
def test_a_robot_is_moved_no_faster_than_allowed_wherever_the_odometry_began(away: float) -> None:
    """It drives on meanwhile, 30 m from the odometry's origin, about which the correction turns it by metres."""
    correction, odom_T_base = SmoothCorrection(), np.array([away, 0.0, 0.0])
    correction.follow(LIMITS, np.zeros(3), odom_T_base, PERIOD)
    corrected = geometry.compose(odom_T_base, TARGET)  # where the robot stands in the map
    target = geometry.compose(corrected, geometry.inverse(odom_T_base))
    for _ in range(400):
        step = np.array([0.5 * PERIOD, 0.0, 0.3 * PERIOD])
        assert correction.map_T_odom is not None
        before = geometry.compose(correction.map_T_odom, odom_T_base)
        odom_T_base = geometry.compose(odom_T_base, step)
        after = geometry.compose(correction.follow(LIMITS, target, odom_T_base, PERIOD), odom_T_base)
        moved = geometry.between(geometry.compose(before, step), after)
        assert math.hypot(moved[0], moved[1]) <= LIMITS.max_speed * PERIOD + 1e-9
        assert abs(moved[2]) <= LIMITS.max_turn * PERIOD + 1e-9
    np.testing.assert_allclose(after, geometry.compose(target, odom_T_base), atol=1e-9)


def test_a_clock_that_is_set_back_moves_nothing() -> None:
    correction = SmoothCorrection()
    correction.follow(LIMITS, np.zeros(3), np.zeros(3), PERIOD)
    np.testing.assert_array_equal(correction.follow(LIMITS, TARGET, np.zeros(3), -5.0), np.zeros(3))


def test_limits_that_stop_every_correction_are_refused() -> None:
    with pytest.raises(InputError, match=r"max_speed is 0\.0, must be in \[0\.01"):
        CorrectionLimits(max_speed=0.0)
