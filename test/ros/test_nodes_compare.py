"""Comparing a photo with the newest image: which image, where the robot was, and when nothing can be compared."""

from __future__ import annotations

import math

import numpy as np
import pytest
from memory_node_support import SECOND, a_memory, inputs_of
from ros_support import frame, image_msg

from kinaema_interfaces.srv import CompareView
from kinaema_ros.comparison import Comparison, Verdict
from kinaema_ros.errors import BadInput
from kinaema_ros.nodes.memory.comparing import compare
from kinaema_ros.nodes.memory.inputs import MemoryInputs
from kinaema_ros.nodes.support import messages

COVARIANCE = np.diag([0.04, 0.01, 0.02])
PHOTO = CompareView.Request(image=image_msg(frame(1)))
SEEN = Comparison(Verdict.RECOGNISED, "200 points", (0.5, 0.0, 0.1), COVARIANCE)


@pytest.fixture
def inputs() -> MemoryInputs:
    """Of a robot at (1, 0, 0) of its odometry, whose camera has just taken frame 2."""
    memory = a_memory()
    memory.compare.return_value = SEEN
    inputs = inputs_of(memory)
    inputs._update(image_msg(frame(2), 99.5))
    return inputs


def test_the_photo_is_compared_with_the_newest_image_from_where_it_was_taken(inputs: MemoryInputs) -> None:
    seen = compare(inputs, PHOTO)
    photo, view, pose = inputs.memory.compare.call_args.args
    np.testing.assert_array_equal(photo, frame(1))
    np.testing.assert_array_equal(view, frame(2))
    np.testing.assert_allclose(pose, (1.0, 0.0, 0.0))
    assert seen.pose == pytest.approx((1.5, 0.0, 0.1))  # in the odometry's frame
    assert inputs.memory.compare.call_args.kwargs == {"camera": None}


def test_an_image_that_is_no_keyframe_is_compared_too(inputs: MemoryInputs) -> None:
    inputs._update(image_msg(frame(3), 99.9))
    assert inputs.memory.update.call_count == 1
    compare(inputs, PHOTO)
    np.testing.assert_array_equal(inputs.memory.compare.call_args.args[1], frame(3))


def test_a_phone_s_photo_is_compared_by_its_own_camera(inputs: MemoryInputs) -> None:
    compare(inputs, CompareView.Request(image=image_msg(frame(1)), hfov_deg=70.0))
    assert inputs.memory.compare.call_args.kwargs["camera"].hfov == pytest.approx(math.radians(70.0))


def reason(inputs: MemoryInputs, request: CompareView.Request = PHOTO) -> str:
    with pytest.raises(BadInput) as refused:
        compare(inputs, request)
    return refused.value.reason


def test_a_camera_that_fell_silent_cannot_be_compared_with(inputs: MemoryInputs) -> None:
    for stamp in (101 * SECOND, 102 * SECOND):
        inputs.tracker.add(stamp, (1.0, 0.0, 0.0))
    assert reason(inputs) == "query_without_view"


def test_a_view_of_the_memory_before_counts_no_more(inputs: MemoryInputs) -> None:
    inputs.forget()
    assert reason(inputs) == "query_without_view"


def test_what_cannot_be_asked_cannot_be_compared(inputs: MemoryInputs) -> None:
    assert reason(inputs, CompareView.Request()) == "query_empty"
    inputs.memory.localized = False
    assert reason(inputs) == "query_localizing"
    inputs.use(None)
    assert reason(inputs) == "query_inactive"


@pytest.mark.parametrize("comparison", [SEEN, Comparison(Verdict.OTHER_PLACE, "2 points")])
def test_a_response_holds_the_whole_comparison(comparison: Comparison) -> None:
    response = CompareView.Response()
    messages.fill_comparison(response, comparison, "odom", messages.time_msg(5))
    assert response.success
    back = messages.response_to_comparison(response)
    assert (back.verdict, back.why) == (comparison.verdict, comparison.why)
    assert back.pose == (pytest.approx(comparison.pose) if comparison.pose else None)
    if comparison.covariance is not None:
        np.testing.assert_allclose(back.covariance, COVARIANCE)
        assert response.pose.header.frame_id == "odom"


def test_the_verdicts_are_those_of_the_service() -> None:
    for verdict in Verdict:
        assert getattr(CompareView.Response, verdict.name) == verdict
