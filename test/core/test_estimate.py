"""An answer in another frame is the same answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kinaema_ros import geometry
from kinaema_ros.estimate import Alternative, Estimate, as_pose

ROBOT = np.array([2.0, -1.0, 0.7])
COVARIANCE = np.array([[0.04, 0.01, 0.0], [0.01, 0.09, 0.002], [0.0, 0.002, 0.01]])
ANSWER = Estimate(
    (1.0, 2.0, 0.5),
    COVARIANCE,
    seen=0.9,
    confidence=0.7,
    alternatives=(Alternative((-3.0, 0.0, 3.0), 2.0 * COVARIANCE, 0.2),),
    num_updates=12,
    frame_id="base_link",
)


def into(frame_T_robot: np.ndarray):
    return lambda pose, covariance: (
        geometry.compose(frame_T_robot, pose),
        geometry.rotate_covariance(covariance, frame_T_robot[2]),
    )


def test_an_answer_moves_with_all_its_places_and_their_covariances():
    moved = ANSWER.moved(into(ROBOT))
    assert moved.pose == pytest.approx(as_pose(geometry.compose(ROBOT, ANSWER.pose)))
    np.testing.assert_allclose(moved.covariance, geometry.rotate_covariance(COVARIANCE, ROBOT[2]))
    (before,), (other,) = ANSWER.alternatives, moved.alternatives
    assert other.pose == pytest.approx(as_pose(geometry.compose(ROBOT, before.pose)))
    np.testing.assert_allclose(other.covariance, geometry.rotate_covariance(before.covariance, ROBOT[2]))
    np.testing.assert_allclose(
        geometry.between(moved.pose, other.pose), geometry.between(ANSWER.pose, before.pose)
    )


def test_a_move_leaves_what_is_no_pose_as_it_is():
    moved = ANSWER.moved(into(ROBOT))
    assert (moved.seen, moved.confidence, moved.num_updates, moved.frame_id) == (0.9, 0.7, 12, "base_link")
    assert moved.alternatives[0].confidence == 0.2
    assert ANSWER.pose == (1.0, 2.0, 0.5)
    assert replace(ANSWER, alternatives=()).moved(into(ROBOT)).alternatives == ()


def test_a_move_and_its_reverse_cancel():
    back = ANSWER.moved(into(ROBOT)).moved(into(geometry.inverse(ROBOT)))
    assert back.pose == pytest.approx(ANSWER.pose)
    np.testing.assert_allclose(back.covariance, COVARIANCE, atol=1e-12)
    assert all(type(value) is float for value in back.pose)
