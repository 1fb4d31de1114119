"""navigator_node over real DDS: every failure has its own error code, and a message that tells what to do."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from lifecycle_msgs.msg import Transition
from nav2_msgs.action import NavigateToPose
from navigator_support import PHOTO, Code, World, navigator, second_navigator
from rclpy.callback_groups import ReentrantCallbackGroup
from ros_support import wait_until

from kinaema_interfaces.action import NavigateToImage
from kinaema_interfaces.srv import QueryPose
from kinaema_ros.nodes.navigator.node import NavigatorNode
from kinaema_ros.nodes.support import messages
from kinaema_ros.nodes.support.spinning import action_client


@pytest.fixture(scope="module")
def shared_world() -> Iterator[World]:
    with navigator() as world:
        yield world


@pytest.fixture
def world(shared_world: World) -> Iterator[World]:
    with shared_world.one_test():
        yield shared_world


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        ("query_before_update: nothing is remembered yet", Code.MEMORY_EMPTY),
        ("query_undecodable: no jpeg", Code.INVALID_IMAGE),
        ("query_hfov: hfov_deg is nan; it must be 0 or between 20 and 150", Code.INVALID_GOAL),
        ("frame_unknown: no way", Code.TF_ERROR),
        ("query_on_hold: the odometry jumped", Code.QUERY_FAILED),
        ("query_localizing: 2 of 5 agreeing views", Code.QUERY_FAILED),
        ("query_busy: others wait already", Code.QUERY_FAILED),
    ],
)
def test_what_the_memory_refuses_has_its_own_code(world: World, refusal: str, code: int) -> None:
    world.refusal = refusal
    status, result = world.end_of(world.go())
    assert (status, result.error_code, result.error_msg) == (GoalStatus.STATUS_ABORTED, code, refusal)
    assert world.goals == []


@pytest.mark.parametrize(
    "fields",
    [
        {"min_seen": 1.5},
        {"min_confidence": 1.5},
        {"min_confidence": float("nan")},
        {"position_tolerance": -1.0},
        {"yaw_tolerance": float("nan")},
    ],
)
def test_a_goal_that_cannot_be_meant_is_refused(world: World, fields: dict[str, float]) -> None:
    _, result = world.end_of(world.go(**fields))
    assert result.error_code == Code.INVALID_GOAL
    assert next(iter(fields)) in result.error_msg


@pytest.mark.parametrize(
    ("behaviour", "code", "said"),
    [
        ({"accepts": False}, Code.NAV2_REJECTED, ["rejected", "while it is not active"]),
        ({"abort": (9000, "no way through")}, Code.NAV2_ABORTED, ["9000: no way through", "free space"]),
        (
            {"abort": (9002, "unknown frame")},
            Code.NAV2_ABORTED,
            ["9002: unknown frame", "goal's frame in TF"],
        ),
        ({"abort": (107, "")}, Code.NAV2_ABORTED, ["107", "default_server_timeout"]),
        ({"talks": False}, Code.NAV2_LOST, ["nothing was heard"]),
    ],
)
def test_what_nav2_does_wrong_has_its_own_code(
    world: World, behaviour: dict[str, object], code: int, said: list[str]
) -> None:
    for name, value in behaviour.items():
        setattr(world, name, value)
    status, result = world.end_of(world.go())
    assert (status, result.error_code) == (GoalStatus.STATUS_ABORTED, code)
    assert [words for words in said if words not in result.error_msg] == [], result.error_msg


def test_a_goal_that_another_client_of_nav2_replaces_is_told_as_such_and_the_other_drives_on(
    world: World,
) -> None:
    handle = world.go()
    world.driving()
    foreign = action_client(world.node, NavigateToPose, "navigate_to_pose")
    pose = messages.pose_stamped((0.0, 2.0, 0.0), "odom", messages.time_msg(0))
    other = world.result(foreign.send_goal_async(NavigateToPose.Goal(pose=pose)))
    status, result = world.end_of(handle)
    assert (status, result.error_code) == (GoalStatus.STATUS_ABORTED, Code.NAV2_ABORTED)
    assert "another client sent a goal of its own" in result.error_msg
    assert (world.running, world.ends) == (1, ["aborted"])
    world.arrive.set()
    assert world.result(other.get_result_async()).status == GoalStatus.STATUS_SUCCEEDED
    foreign.destroy()


def test_a_robot_that_nav2_always_leaves_beside_the_goal_has_not_reached_it(world: World) -> None:
    world.arrive.set()
    world.beside = np.array([0.0, 0.44, 0.0])
    with world.patience(**{"drive.max_corrections": 1}):
        status, result = world.end_of(world.go())
    assert (status, result.error_code) == (GoalStatus.STATUS_ABORTED, Code.NOT_REACHED)
    assert "0.44 m and 0 deg beside the goal, also after it was sent there 2 times" in result.error_msg
    assert len(world.goals) == 2


def test_a_nav2_that_dies_ends_the_goal_in_time(world: World) -> None:
    handle = world.go()
    world.driving()
    try:
        with world.patience(nav2_timeout=1.0):
            world.talks = False  # what a killed process does before the graph forgets it
            world.nav2.destroy()
            _, result = world.end_of(handle)
        assert result.error_code == Code.NAV2_LOST
        assert "did not confirm within 0.2 s" in result.error_msg, "the silence before counts"
    finally:
        world.arrive.set()
        wait_until(lambda: world.running == 0)
        world.nav2 = world.start_nav2(ReentrantCallbackGroup())


def test_a_nav2_that_is_absent_is_named(world: World) -> None:
    with second_navigator(world, "go_without_nav2", "nav2_timeout:=1.0", nav2="nobody") as (_, handle):
        _, result = world.end_of(handle)
    assert result.error_code == Code.NAV2_UNAVAILABLE
    assert "start Nav2" in result.error_msg


def test_a_nav2_that_does_not_decide_is_given_up_and_its_late_yes_taken_back(world: World) -> None:
    world.nav2_decides.clear()
    with world.patience(nav2_timeout=0.5):
        _, result = world.end_of(world.go())
    assert result.error_code == Code.NAV2_LOST
    assert "did not answer a goal within 0.5 s" in result.error_msg
    world.nav2_decides.set()
    wait_until(lambda: world.ends == ["canceled"], what="the late goal to be canceled")


def test_a_cancel_that_nav2_does_not_confirm_is_no_cancel(world: World) -> None:
    world.nav2_cancels.clear()
    with world.patience(nav2_timeout=1.0):
        handle = world.go()
        world.driving()
        world.result(handle.cancel_goal_async())
        status, result = world.end_of(handle)
    assert (status, result.error_code) == (GoalStatus.STATUS_ABORTED, Code.NAV2_LOST)
    assert result.error_msg.startswith("canceled on request; /navigate_to_pose did not confirm within ")
    assert "may still be driving: stop it by other means" in result.error_msg
    assert result.error_msg in world.navigator.log


def test_the_log_tells_of_a_goal_of_send_goal_that_may_outlive_a_deactivation(world: World) -> None:
    said = world.navigator.log.count("may still be driving")
    world.nav2_cancels.clear()
    with world.patience(nav2_timeout=1.0):
        assert world.call(world.send_goal, QueryPose.Request(image=PHOTO)).success
        world.driving()
        assert world.change_state(Transition.TRANSITION_DEACTIVATE)
        wait_until(lambda: world.navigator.log.count("may still be driving") > said, what="the log to tell")
        assert world.change_state(Transition.TRANSITION_ACTIVATE)


def test_a_memory_that_does_not_answer_is_given_up_and_a_cancel_need_not_wait_for_it(world: World) -> None:
    world.memory_answers.clear()
    handle = world.go()
    wait_until(lambda: len(world.queries) == 1)
    world.result(handle.cancel_goal_async())
    assert world.end_of(handle)[1].error_code == Code.CANCELED
    with world.patience(query_timeout=0.5):
        _, result = world.end_of(world.go())
    assert result.error_code == Code.MEMORY_UNAVAILABLE
    assert "is memory_node alive?" in result.error_msg
    assert world.goals == []


@pytest.mark.parametrize("refusal", ["query_busy: others wait already", "frame_unknown: TF is silent"])
def test_a_memory_that_fails_on_the_way_does_not_stop_the_robot(world: World, refusal: str) -> None:
    handle = world.go()
    world.driving()
    asked, world.refusal = len(world.queries), refusal
    wait_until(lambda: len(world.queries) > asked + 2)
    world.arrive.set()
    status, result = world.end_of(handle)
    assert (status, len(world.goals)) == (GoalStatus.STATUS_SUCCEEDED, 1), result.error_msg


def test_a_drive_that_takes_too_long_is_ended(world: World) -> None:
    with world.patience(**{"drive.goal_timeout": 2.0}):
        _, result = world.end_of(world.go())
    assert result.error_code == Code.TIMEOUT
    assert "parameter drive.goal_timeout" in result.error_msg
    assert world.ends == ["canceled"] or not world.goals  # a busy machine may not get as far in two seconds


def test_a_memory_that_is_absent_is_named(world: World) -> None:
    world.node.destroy_service(world.memory)
    with world.patience(query_timeout=0.5):
        _, result = world.end_of(world.go())
    assert result.error_code == Code.MEMORY_UNAVAILABLE
    assert "kinaema_memory/query_pose" in result.error_msg
    world.memory = world.node.create_service(QueryPose, "kinaema_memory/query_pose", world.on_query)


def test_without_odometry_there_is_no_frame_to_drive_in(world: World) -> None:
    with second_navigator(world, "blind", "query_timeout:=0.5", odom="wheels") as (second, handle):
        _, result = world.end_of(handle)
        assert result.error_code == Code.TF_ERROR
        assert "no odometry on /wheels" in result.error_msg
        assert "remap odom" in result.error_msg
        assert world.queries == world.goals == []
        assert second.stop() == 0, second.log


def test_a_fault_of_the_navigator_itself_is_no_success(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """rclpy aborts a goal whose callback raises with a result of zeros, which reads NONE."""
    ends: list[str] = []

    class Handle:
        request, is_cancel_requested = NavigateToImage.Goal(image=PHOTO), False

        def abort(self) -> None:
            ends.append("aborted")

    def fail(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    node = NavigatorNode()
    try:
        monkeypatch.setattr(node, "_limits", fail)
        result = node._execute(Handle())
    finally:
        node.destroy_node()
    assert (ends, result.error_code) == (["aborted"], Code.UNKNOWN)
    assert "ZeroDivisionError: a bug" in result.error_msg
