"""An answer of the memory on its way to whoever asked: into the frame asked for, the response, the markers in RViz."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from memory_node_support import SECOND, a_memory, inputs_of
from ros_support import frame, image_msg
from visualization_msgs.msg import Marker

from kinaema_interfaces.srv import QueryPose
from kinaema_ros import geometry
from kinaema_ros.estimate import Alternative, Estimate, as_pose
from kinaema_ros.nodes.memory.locating import locate
from kinaema_ros.nodes.support import messages
from kinaema_ros.nodes.support.markers import estimate_markers

COVARIANCE = np.array([[0.09, 0.02, 0.01], [0.02, 0.04, 0.0], [0.01, 0.0, 0.03]])
ANSWER = Estimate(
    (1.0, -2.0, 0.5),
    COVARIANCE,
    seen=0.875,
    confidence=0.5,
    alternatives=(
        Alternative((4.0, 3.0, -1.5), 2 * COVARIANCE, 0.25),
        Alternative((-4.0, 0.0, 3.0), 3 * COVARIANCE, 0.125),
    ),
    num_updates=40,
    frame_id="odom",
    stamp_ns=12_000_000_345,
)


@pytest.mark.parametrize(
    ("turned", "asked", "expected"),
    [
        (0.0, "", (0.0, 2.0, 1.5)),
        (0.0, "odom", (1.0, 2.0, 1.5)),
        (math.pi / 2, "", (0.0, 2.0, 1.5)),
        (math.pi / 2, "odom", (-1.0, 0.0, 1.5 + math.pi / 2)),
    ],
)
def test_alternatives_are_in_the_frame_asked_for_like_the_pose(turned, asked, expected) -> None:
    """The robot stands at (1, 0) of the odometry's frame, or has turned to the left there, as the memory knows."""
    robot = np.array([1.0, 0.0, turned])
    memory = a_memory(Alternative((0.0, 2.0, 1.5), COVARIANCE, 0.3))
    answer = memory.locate.return_value
    memory.locate.return_value = replace(answer, odom_pose=as_pose(geometry.compose(robot, answer.pose)))
    inputs = inputs_of(memory)
    for stamp in (101 * SECOND, 102 * SECOND):
        inputs.tracker.add(stamp, robot)
    estimate = locate(inputs, QueryPose.Request(image=image_msg(frame(1)), frame_id=asked))
    (other,) = estimate.alternatives
    np.testing.assert_allclose(other.pose, expected, atol=1e-9)
    axes = turned if asked == "odom" else 0.0
    np.testing.assert_allclose(other.covariance, geometry.rotate_covariance(COVARIANCE, axes), atol=1e-12)
    assert (other.confidence, estimate.confidence, estimate.seen) == (0.3, 0.8, 0.9)


def test_a_response_holds_the_whole_answer() -> None:
    response = QueryPose.Response()
    messages.fill_response(response, ANSWER)
    assert response.success
    assert (response.seen, response.confidence) == (0.875, 0.5)
    assert list(response.alternative_confidences) == [0.25, 0.125]
    assert len(response.alternatives) == 2
    for words in ("0.88", "0.50", "2 alternatives", "40 updates"):
        assert words in response.message
    back = messages.response_to_estimate(response)
    assert (back.seen, back.confidence, back.num_updates) == (0.875, 0.5, 40)
    assert (back.frame_id, back.stamp_ns) == ("odom", ANSWER.stamp_ns)
    for found, given in zip((back, *back.alternatives), (ANSWER, *ANSWER.alternatives), strict=True):
        np.testing.assert_allclose(found.pose, given.pose, atol=1e-12)
        np.testing.assert_allclose(found.covariance, given.covariance, atol=1e-12)
        assert found.confidence == given.confidence


def shown(markers: list[Marker], kind: int) -> list[Marker]:
    return [marker for marker in markers if marker.action == Marker.ADD and marker.type == kind]


def test_every_place_of_an_answer_is_shown_and_alternatives_are_paler() -> None:
    _, *markers = estimate_markers(ANSWER).markers
    assert all(m.header.frame_id == "odom" and m.ns == "kinaema_estimate" for m in markers)
    assert len({marker.id for marker in markers}) == len(markers) == 9
    places = (ANSWER, *ANSWER.alternatives)
    for arrow, ellipse, place in zip(
        shown(markers, Marker.ARROW), shown(markers, Marker.CYLINDER), places, strict=True
    ):
        np.testing.assert_allclose(messages.planar_pose(arrow.pose), place.pose, atol=1e-9)
        # The 90 % ellipse has half-axes of sqrt(-2 ln 0.1) standard deviations.
        deviations = np.sqrt(np.linalg.eigvalsh(place.covariance[:2, :2]))
        axes = 2 * math.sqrt(-2 * math.log(0.1)) * deviations
        np.testing.assert_allclose([ellipse.scale.y, ellipse.scale.x], axes, rtol=1e-9)
        assert (arrow.color.g, arrow.color.r) == pytest.approx((place.confidence, 1 - place.confidence))
    for kind in (Marker.ARROW, Marker.CYLINDER, Marker.TEXT_VIEW_FACING):
        best, *others = shown(markers, kind)
        assert all(0.0 < other.color.a < best.color.a for other in others)
    texts = [marker.text for marker in shown(markers, Marker.TEXT_VIEW_FACING)]
    assert texts == ["50 % sure, seen 88 %", "or here: 25 %", "or here: 12 %"]


def test_the_markers_of_the_answer_before_are_deleted_first() -> None:
    """It may have had more alternatives, whose markers nothing would replace."""
    wipe, *markers = estimate_markers(ANSWER).markers
    assert (wipe.action, wipe.ns) == (Marker.DELETEALL, "kinaema_estimate")
    assert {marker.action for marker in markers} == {Marker.ADD}
