"""Pairing images with odometry, and what a discontinuity does: no ROS, no node."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinaema_ros import geometry
from kinaema_ros.errors import BadInput
from kinaema_ros.odometry import LEVEL, OdometryLimits, OdometryTracker

SECOND = 1_000_000_000
coordinates = st.floats(-1e4, 1e4)
poses = st.tuples(coordinates, coordinates, st.floats(-math.pi, math.pi)).map(np.array)
steps = st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5), st.floats(-1.0, 1.0)).map(np.array)


def tracker(**limits: object) -> OdometryTracker:
    return OdometryTracker(OdometryLimits(**limits))  # type: ignore[arg-type]


def assert_same_pose(a: np.ndarray, b: np.ndarray, tolerance: float = 1e-6) -> None:
    difference = np.abs([a[0] - b[0], a[1] - b[1], geometry.wrap_angle(a[2] - b[2])])
    assert difference.max() < tolerance, (a, b)


@settings(deadline=None, max_examples=60)
@given(start=poses, moves=st.lists(steps, min_size=1, max_size=8), fraction=st.floats(0, 1), data=st.data())
def test_pose_at_a_stamp_is_interpolated_between_its_neighbours(start, moves, fraction, data) -> None:
    track = [start]
    for move in moves:
        track.append(geometry.compose(track[-1], move))
    odometry = tracker()
    for n, pose in enumerate(track):
        assert odometry.add((n + 1) * SECOND // 10, pose) is None
    n = data.draw(st.integers(0, len(moves) - 1))
    stamp = round((n + 1 + fraction) * SECOND / 10)
    exact = (stamp - (n + 1) * SECOND // 10) / (SECOND // 10)
    assert_same_pose(odometry.pose_at(stamp), geometry.interpolate(track[n], track[n + 1], exact))


def test_the_tilt_of_the_base_is_interpolated_and_level_where_it_is_not_known() -> None:
    odometry = tracker()
    assert odometry.tilt_at(SECOND) == LEVEL
    odometry.add(SECOND, np.zeros(3), tilt=(0.1, -0.2))
    odometry.add(2 * SECOND, np.zeros(3), tilt=(0.3, 0.0))
    assert odometry.tilt_at(SECOND + SECOND // 2) == pytest.approx((0.2, -0.1))
    assert odometry.tilt_at(3 * SECOND) == LEVEL
    odometry.add(9 * SECOND, np.zeros(3), tilt=(0.3, 0.0))
    assert odometry.tilt_at(5 * SECOND) == LEVEL  # a hole of the odometry


@settings(deadline=None, max_examples=60)
@given(before=poses, after=poses, move=steps)
def test_a_moved_origin_changes_nothing_in_the_memory_frame(before, after, move) -> None:
    """Policy "reanchor": the robot stood still, so what it drives afterwards continues where it stood."""
    odometry = tracker(on_jump="reanchor", on_reset="reanchor", max_jump=0.05, max_jump_yaw=0.05)
    odometry.add(1 * SECOND, before)
    event = odometry.add(2 * SECOND, after)
    step = geometry.between(before, after)
    if math.hypot(step[0], step[1]) > 0.05 or abs(step[2]) > 0.05:
        assert event is not None
        assert event.action == "reanchor"
        assert_same_pose(odometry.pose_at(2 * SECOND), before)
    odometry.limits = OdometryLimits()
    moved = geometry.compose(after, move)
    assert odometry.add(3 * SECOND, moved) is None
    _, odom_T_base, memory_T_odom = odometry.now()
    assert_same_pose(odom_T_base, moved)
    assert_same_pose(geometry.compose(memory_T_odom, moved), odometry.pose_at(3 * SECOND))


def test_an_image_newer_than_the_odometry_has_no_pose_until_it_has_come() -> None:
    odometry = tracker()
    odometry.add(SECOND, np.zeros(3))
    assert odometry.pose_at(SECOND + 5) is None
    odometry.add(2 * SECOND, np.array([0.5, 0, 0]))
    assert_same_pose(odometry.arrived_pose_at(SECOND * 3 // 2), np.array([0.25, 0, 0]))


def test_an_image_that_odometry_never_reaches_is_refused_with_the_delay() -> None:
    odometry = tracker()
    odometry.add(SECOND, np.zeros(3))
    with pytest.raises(BadInput, match=r"0\.500 s older") as error:
        odometry.arrived_pose_at(SECOND * 3 // 2)
    assert error.value.reason == "image_without_odometry"


@pytest.mark.parametrize(
    ("stamps", "image", "reason"),
    [
        ((10.0, 11.0), 9.0, "image_before_odometry"),
        ((10.0, 12.0), 11.0, "odometry_gap"),
    ],
)
def test_an_image_outside_what_odometry_covers_is_refused(stamps, image, reason) -> None:
    odometry = tracker()
    for stamp in stamps:
        odometry.add(round(stamp * SECOND), np.zeros(3))
    with pytest.raises(BadInput) as error:
        odometry.pose_at(round(image * SECOND))
    assert error.value.reason == reason


def test_a_held_jump_freezes_until_the_odometry_is_back() -> None:
    odometry = tracker(on_jump="hold")
    odometry.add(1 * SECOND, np.array([5.0, 0, 0]))
    event = odometry.add(2 * SECOND, np.array([9.0, 0, 0]))
    assert event is not None
    assert (event.reason, event.action, event.distance) == ("odometry_jump", "hold", 4.0)
    assert odometry.held_by
    with pytest.raises(BadInput, match="reset"):
        odometry.pose_at(2 * SECOND)
    odometry.add(3 * SECOND, np.array([5.2, 0, 0]))
    assert not odometry.held_by
    assert_same_pose(odometry.pose_at(3 * SECOND), np.array([5.2, 0, 0]))


@pytest.mark.parametrize(("policy", "x"), [("continue", 9.5), ("reanchor", 5.5)])
def test_a_held_jump_can_be_settled(policy: str, x: float) -> None:
    odometry = tracker(on_jump="hold")
    odometry.add(1 * SECOND, np.array([5.0, 0, 0]))
    odometry.add(2 * SECOND, np.array([9.0, 0, 0]))
    odometry.limits = OdometryLimits(on_jump="hold", on_reset=policy)  # this was no jump to the origin
    assert odometry.resolve() == ""
    odometry.limits = OdometryLimits(on_jump=policy)
    assert odometry.resolve() == policy
    odometry.add(3 * SECOND, np.array([9.5, 0, 0]))
    assert_same_pose(odometry.pose_at(3 * SECOND), np.array([x, 0, 0]))


def test_a_held_jump_to_the_origin_is_settled_by_its_own_policy() -> None:
    odometry = tracker(on_reset="hold")  # on_jump is localize
    odometry.add(1 * SECOND, np.array([5.0, 0, 0]))
    odometry.add(2 * SECOND, np.zeros(3))
    assert odometry.held_by == "on_reset"
    with pytest.raises(BadInput, match=r"odometry\.on_reset"):
        odometry.pose_at(2 * SECOND)
    assert odometry.resolve() == ""
    odometry.limits = OdometryLimits(on_reset="reanchor")
    assert odometry.resolve() == "reanchor"
    odometry.add(3 * SECOND, np.array([0.5, 0, 0]))
    assert_same_pose(odometry.pose_at(3 * SECOND), np.array([5.5, 0, 0]))


@pytest.mark.parametrize(("driven_m", "silent"), [(3.0, 10.0), (0.3, 2.0), (40.0, 600.0)])
def test_a_driver_that_restarts_after_a_silence_has_jumped(driven_m: float, silent: float) -> None:
    odometry = tracker()
    odometry.add(1 * SECOND, np.array([driven_m, 0, 0]))
    event = odometry.add(round((1 + silent) * SECOND), np.zeros(3))
    assert event is not None
    assert event.reason == "odometry_reset"


@pytest.mark.parametrize("driven_m", [0.02, 0.4])
def test_a_robot_that_stood_at_the_origin_before_a_silence_has_not(driven_m: float) -> None:
    odometry = tracker()
    odometry.add(1 * SECOND, np.zeros(3))
    assert odometry.add(100 * SECOND, np.array([driven_m, 0, 0])) is None


def test_a_fast_robot_with_rare_odometry_does_not_jump() -> None:
    odometry = tracker(max_jump=1.0)
    odometry.add(1 * SECOND, np.zeros(3))
    assert odometry.add(4 * SECOND, np.array([2.5, 0, 0])) is None


def test_a_single_late_message_is_refused() -> None:
    odometry = tracker()
    odometry.add(100 * SECOND, np.zeros(3))
    with pytest.raises(BadInput) as error:
        odometry.add(100 * SECOND - 1, np.zeros(3))
    assert error.value.reason == "odometry_stamp_backwards"


def test_a_simulation_that_starts_over_puts_the_robot_back() -> None:
    odometry = tracker()
    odometry.add(100 * SECOND, np.array([30.0, 0, 0]))
    event = odometry.add(10 * SECOND, np.zeros(3), simulated=True)
    assert event is not None
    assert event.reason == "clock_restart"
    odometry.add(11 * SECOND, np.array([0.5, 0, 0]), simulated=True)
    assert_same_pose(odometry.pose_at(11 * SECOND), np.array([0.5, 0, 0]))


@pytest.mark.parametrize(
    ("policy", "driven_m", "x"),
    [("reanchor", 0.3, 0.55), ("reanchor", 3.0, 3.25), ("continue", 3.0, 0.25), ("hold", 3.0, None)],
)
def test_a_driver_that_restarts_stamps_and_origin_moves_no_robot_in_silence(policy, driven_m, x) -> None:
    odometry = tracker(on_reset=policy)
    odometry.add(100 * SECOND, np.array([driven_m, 0, 0]))
    event = odometry.add(1 * SECOND, np.zeros(3))
    assert event is not None
    assert (event.reason, event.action) == ("odometry_reset", policy)
    assert event.distance == pytest.approx(driven_m)
    odometry.add(2 * SECOND, np.array([0.25, 0, 0]))
    if x is None:
        assert odometry.held_by
    else:
        assert_same_pose(odometry.pose_at(2 * SECOND), np.array([x, 0, 0]))


def test_stamps_that_start_over_under_a_robot_that_drives_on_are_no_jump() -> None:
    odometry = tracker()
    assert driven(odometry, 100.0, 110.0) == []
    assert driven(odometry, 110.0, 112.0, ahead=-60.0) == ["clock_restart"]
    assert_same_pose(odometry.pose_at(51 * SECOND), np.array([55.5, 0, 0]))


def driven(
    odometry: OdometryTracker, start: float, stop: float, x: float = 0.0, ahead: float = 0.0
) -> list[str]:
    """Half a metre a second, 20 messages a second, stamped ``ahead`` seconds; what was said of them."""
    said = []
    for seconds in np.arange(start, stop, 0.05):
        try:
            event = odometry.add(round((seconds + ahead) * SECOND), np.array([x + 0.5 * seconds, 0.0, 0.0]))
            said += [] if event is None else [event.reason]
        except BadInput as error:
            said.append(error.reason)
    return said


@pytest.mark.parametrize("ahead", [-0.2, -1.0, -1.9])
def test_a_clock_that_was_set_back_is_no_motion_and_ends_by_itself(ahead: float) -> None:
    odometry = tracker(on_jump="hold")
    assert driven(odometry, 100.0, 110.0) == []
    said = driven(odometry, 110.0, 120.0, ahead=ahead)
    assert said == 2 * ["odometry_stamp_backwards"] + ["clock_step"]
    assert not odometry.held_by
    assert_same_pose(odometry.pose_at(round((119.0 + ahead) * SECOND)), np.array([59.5, 0.0, 0.0]))


def test_one_message_from_the_future_is_no_motion() -> None:
    odometry = tracker(on_jump="hold")
    driven(odometry, 100.0, 110.0)
    odometry.add(round(111.8 * SECOND), np.array([55.0, 0.0, 0.0]))
    assert driven(odometry, 110.05, 115.0) == 2 * ["odometry_stamp_backwards"] + ["clock_step"]
    assert_same_pose(odometry.pose_at(round(114.0 * SECOND)), np.array([57.0, 0.0, 0.0]))


def test_two_publishers_on_one_topic_are_no_clock_that_was_set_back() -> None:
    odometry = tracker()
    for step in range(40):
        odometry.add(round((100 + 0.05 * step) * SECOND), np.zeros(3))
        if step:
            with pytest.raises(BadInput, match="Two publishers"):
                odometry.add(round((99.5 + 0.05 * step) * SECOND), np.array([9.0, 0.0, 0.0]))


def test_a_driver_that_starts_over_while_the_clock_is_set_back_has_jumped() -> None:
    odometry = tracker(on_reset="hold")
    driven(odometry, 100.0, 110.0)
    said = driven(odometry, 0.0, 1.0, ahead=109.0)  # from its origin again
    assert said == 2 * ["odometry_stamp_backwards"] + ["odometry_reset"]
    assert odometry.held_by


@pytest.mark.parametrize("reboots", [False, True])
@pytest.mark.parametrize("saves_first", [False, True])
def test_a_memory_that_is_saved_and_loaded_around_a_moved_origin_moves_no_robot(
    reboots: bool, saves_first: bool
) -> None:
    """Policy "reanchor". After a reboot of the node the odometry goes on, but only the file knows what was before."""
    odometry = tracker(on_jump="reanchor", on_reset="reanchor")
    odometry.add(1 * SECOND, np.array([5.0, 1.0, 0.5]))
    saved = odometry.frame("odom")
    odometry.add(2 * SECOND, np.zeros(3))  # the driver starts anew under a robot that stands still
    if not saves_first:
        saved = odometry.frame("odom")
    if reboots:
        odometry = tracker()
    odometry.adopt(saved)
    odometry.add(3 * SECOND, np.array([0.25, 0.0, 0.0]))
    if reboots and saves_first:  # nobody can know; by the file, the origin is as it was
        assert_same_pose(odometry.pose_at(3 * SECOND), np.array([0.25, 0.0, 0.0]))
        return
    assert_same_pose(
        odometry.pose_at(3 * SECOND), geometry.compose((5.0, 1.0, 0.5), np.array([0.25, 0.0, 0.0]))
    )


def test_a_memory_of_another_start_of_the_robot_brings_its_own_origin() -> None:
    odometry = tracker(on_jump="localize", on_reset="localize")
    odometry.add(1 * SECOND, np.array([5.0, 0.0, 0.0]))
    before = odometry.frame("odom")
    odometry.add(2 * SECOND, np.array([50.0, 0.0, 0.0]))  # carried
    assert odometry.frame("odom").run != before.run
    odometry.adopt(None)
    assert odometry.frame("odom").memory_T_odom == (0.0, 0.0, 0.0)
