"""Poses at a stamp: exact, in between, and where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from kinaema_ros.stamps import PoseHistory, neighbours, pose_at

STAMPS = [10, 20, 40]
POSES = np.array([[0.0, 0.0, 3.0], [1.0, 2.0, -3.0], [5.0, 2.0, -3.0]])


@pytest.mark.parametrize(
    ("stamp", "found"), [(9, None), (10, (0, 0)), (11, (0, 1)), (20, (1, 1)), (39, (1, 2)), (41, None)]
)
def test_the_neighbours_of_a_stamp_are_the_entries_around_it(stamp, found) -> None:
    assert neighbours(STAMPS, stamp) == found
    assert neighbours(np.array(STAMPS), stamp) == found


def test_a_pose_is_interpolated_and_exact_where_there_is_one() -> None:
    assert pose_at(STAMPS, POSES, 20) is not None
    np.testing.assert_array_equal(pose_at(STAMPS, POSES, 20), POSES[1])
    np.testing.assert_allclose(pose_at(STAMPS, POSES, 15)[:2], [0.5, 1.0])
    assert abs(pose_at(STAMPS, POSES, 15)[2]) == pytest.approx(np.pi)  # the shorter way round
    np.testing.assert_allclose(pose_at(STAMPS, POSES, 25.0), [2.0, 2.0, -3.0])


@pytest.mark.parametrize("stamp", [9, 41])
def test_there_is_no_pose_outside_what_is_known(stamp) -> None:
    assert pose_at(STAMPS, POSES, stamp) is None
    assert pose_at([], [], stamp) is None


def test_a_wider_gap_is_not_bridged() -> None:
    assert pose_at(STAMPS, POSES, 30, max_gap=20) is not None
    assert pose_at(STAMPS, POSES, 30, max_gap=19) is None
    assert pose_at(STAMPS, POSES, 20, max_gap=0) is not None


def test_a_history_keeps_the_newest_and_starts_anew_with_the_clock() -> None:
    history = PoseHistory(2)
    for stamp, pose in zip(STAMPS, POSES, strict=True):
        history.add(stamp, pose)
    assert history.at(10) is None
    np.testing.assert_allclose(history.at(30), [3.0, 2.0, -3.0])
    history.add(5, POSES[0])
    assert list(history.stamps) == [5]
    assert history.at(40) is None
