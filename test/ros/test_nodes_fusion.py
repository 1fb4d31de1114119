"""Fusing answers, guarding goals, counting: the navigator's and node's plain parts."""

from __future__ import annotations

import math
import uuid

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinaema_ros.navigation.goal_fusion import GoalFusion
from kinaema_ros.nodes.memory.reports import Rate, Reports
from kinaema_ros.nodes.navigator.goal_guard import running_goals

GOAL = np.array([4.0, -2.0, 3.1])


def covariance(metres: float, degrees: float) -> np.ndarray:
    return np.diag([metres**2, metres**2, math.radians(degrees) ** 2])


def test_the_same_answer_again_is_no_news() -> None:
    fusion = GoalFusion(GOAL, covariance(0.5, 10))
    before = fusion.covariance.copy()
    for _ in range(10):
        assert fusion.add(GOAL, covariance(0.5, 10))
    np.testing.assert_allclose(fusion.pose, GOAL)
    np.testing.assert_allclose(fusion.covariance, before)


def test_a_sharper_answer_takes_over() -> None:
    fusion = GoalFusion(GOAL, covariance(1.0, 20))
    near = GOAL + [0.6, -0.5, 0.1]  # over pi: -3.08
    assert fusion.add(near, covariance(0.1, 2))
    assert np.hypot(*(fusion.pose - near)[:2]) < 0.02
    assert fusion.pose[2] == pytest.approx(near[2] - 2 * math.pi, abs=0.01)
    assert fusion.covariance[0, 0] < 0.02


def test_an_outlier_is_set_aside_and_three_that_agree_win() -> None:
    fusion = GoalFusion(GOAL, covariance(0.2, 5))
    elsewhere = np.array([-3.0, 5.0, 0.0])
    assert not fusion.add(elsewhere, covariance(0.2, 5))
    assert not fusion.add(elsewhere + [3.0, 0, 0], covariance(0.2, 5))  # disagrees with the outlier before
    np.testing.assert_array_equal(fusion.pose, GOAL)
    assert not fusion.add(elsewhere, covariance(0.2, 5))
    assert not fusion.add(elsewhere + [0.1, 0, 0], covariance(0.2, 5))
    assert fusion.add(elsewhere, covariance(0.2, 5))
    np.testing.assert_array_equal(fusion.pose, elsewhere)


def test_driving_loosens_what_was_known() -> None:
    fusion = GoalFusion(GOAL, covariance(0.1, 1))
    moved = GOAL + [0.9, 0.0, 0.0]
    assert not GoalFusion(GOAL, covariance(0.1, 1)).add(moved, covariance(0.1, 1))
    fusion.age(20.0)
    assert fusion.add(moved, covariance(0.1, 1))


@given(
    st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(-0.2, 0.2)), min_size=1, max_size=6),
    st.floats(0.05, 2.0),
)
def test_fused_covariance_is_a_covariance_and_never_below_the_sharpest(offsets, metres) -> None:
    fusion = GoalFusion(GOAL, covariance(1.0, 20))
    floor = min(
        np.linalg.det(fusion.covariance), np.linalg.det(GoalFusion(GOAL, covariance(metres, 20)).covariance)
    )
    for offset in offsets:
        fusion.add(GOAL + offset, covariance(metres, 20))
        assert np.linalg.eigvalsh(fusion.covariance).min() > 0
        assert np.linalg.det(fusion.covariance) >= floor * (1 - 1e-6)


def test_the_guard_knows_which_goals_still_run() -> None:
    a, b = uuid.uuid4(), uuid.uuid4()
    assert running_goals([f"+{a.hex}\n", f"+{b.hex}\n", f"-{a.hex}\n"]) == [b]
    assert running_goals([]) == []


def test_a_problem_is_said_once_and_counted_every_time() -> None:
    said: list[str] = []
    reports = Reports(said.append)
    for _ in range(5):
        reports.problem("image_step", "wrong step; fix the driver")
    reports.problem("image_empty", "no pixels")
    assert said == ["image_step: wrong step; fix the driver", "image_empty: no pixels"]
    assert reports.counts() == {"image_empty": 1, "image_step": 5}


def test_a_rate_survives_a_clock_that_starts_over() -> None:
    rate = Rate(window=5.0)
    for n in range(50):
        rate.tick(1000.0 + 0.1 * n)
    assert rate.per_second(1005.0) == pytest.approx(10.0, abs=0.3)
    assert rate.per_second(3.0) == 0.0
