"""The rule that decides which frames become updates, the same in the node and in a replay."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinaema_ros import geometry
from kinaema_ros.keyframes import KeyframeConfig, KeyframeSelector

SECOND = 10**9


def reasons(selector, frames):
    found = []
    for t, pose in frames:
        found.append(selector.reason_to_skip(round(t * SECOND), pose))
        assert selector.select(round(t * SECOND), pose) == (found[-1] is None)
    return found


def test_a_robot_that_stands_still_updates_once():
    selector = KeyframeSelector(KeyframeConfig(max_rate_hz=0))
    assert reasons(selector, [(t, (5.0, 5.0, 1.0)) for t in range(5)]) == [None] + ["motion"] * 4


def test_either_distance_or_turn_makes_a_keyframe():
    selector = KeyframeSelector(KeyframeConfig(0.5, 0.2, 0))
    frames = [
        (0, (0, 0, 0)),
        (1, (0.49, 0, 0.19)),
        (2, (0.51, 0, 0)),
        (3, (0.51, 0, -0.21)),
        (4, (0.51, 0, 0)),
    ]
    assert reasons(selector, frames) == [None, "motion", None, None, None]


def test_motion_is_measured_from_the_last_keyframe_not_the_last_frame():
    selector = KeyframeSelector(KeyframeConfig(1.0, 1.0, 0))
    got = reasons(selector, [(t, (0.4 * t, 0, 0)) for t in range(7)])
    assert [i for i, reason in enumerate(got) if reason is None] == [0, 3, 6]


def test_a_turn_across_the_back_is_short():
    selector = KeyframeSelector(KeyframeConfig(1.0, 0.3, 0))
    assert reasons(selector, [(0, (0, 0, math.pi - 0.1)), (1, (0, 0, -math.pi + 0.1))]) == [None, "motion"]


def test_the_rate_holds_by_the_stream_s_clock():
    selector = KeyframeSelector(KeyframeConfig(0, 0, max_rate_hz=10))
    stamps = [k * SECOND // 30 for k in range(31)]  # a camera of 30 Hz, its stamps rounded down
    used = [s for s in stamps if selector.select(1_700_000_000 * SECOND + s, (0, 0, 0))]
    assert used == stamps[::3]


def test_a_camera_at_exactly_the_rate_loses_no_frame():
    selector = KeyframeSelector(KeyframeConfig(0, 0, max_rate_hz=10))
    start = 1_700_000_000_000_000_001
    assert all(selector.select(start + k * SECOND // 10, (0, 0, 0)) for k in range(50))


def test_a_clock_that_was_set_back_does_not_stop_the_memory():
    selector = KeyframeSelector(KeyframeConfig(0.1, 0.1, 10))
    assert reasons(selector, [(100, (0, 0, 0)), (3, (1, 0, 0))]) == [None, None]


def test_after_a_reset_the_next_frame_is_used():
    selector = KeyframeSelector()
    assert reasons(selector, [(0, (0, 0, 0)), (1, (0, 0, 0))]) == [None, "motion"]
    selector.reset()
    assert reasons(selector, [(1, (0, 0, 0))]) == [None]


def test_a_frame_that_could_not_be_used_leaves_its_place_to_the_next():
    selector = KeyframeSelector()
    assert selector.reason_to_skip(0, (0, 0, 0)) is None  # undecodable, say
    assert reasons(selector, [(1, (0, 0, 0)), (2, (0, 0, 0))]) == [None, "motion"]


@given(
    st.lists(st.tuples(st.floats(0, 0.3), st.floats(-0.4, 0.4)), max_size=30),
    st.tuples(st.floats(-9, 9), st.floats(-9, 9), st.floats(-3, 3)),
)
def test_keyframes_do_not_depend_on_the_frame_of_the_odometry(steps, offset):
    poses = [geometry.compose((0, 0, 0), (0, 0, 0))]
    for forward, turn in steps:
        poses.append(geometry.compose(poses[-1], (forward, 0, turn)))
    # Thresholds that no sum of round steps meets, for at equality rounding would decide.
    config = KeyframeConfig(0.1 + 3.7e-5, 0.2 + 1.9e-5, 0)
    here = reasons(KeyframeSelector(config), list(enumerate(poses)))
    there = reasons(
        KeyframeSelector(config), [(t, geometry.compose(offset, pose)) for t, pose in enumerate(poses)]
    )
    assert here == there


@pytest.mark.parametrize("field", ["min_distance", "min_angle", "max_rate_hz"])
@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_thresholds_that_mean_nothing_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        KeyframeConfig(**{field: value})
