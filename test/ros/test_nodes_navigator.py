"""navigator_node over real DDS: photos become goals of Nav2, which end when they must."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from lifecycle_msgs.msg import Transition
from navigator_support import PHOTO, PLACE, Code, World, navigator, second_navigator
from ros_support import tf2_where_it_is_missing, wait_until
from sensor_msgs.msg import Image

from kinaema_interfaces.srv import QueryPose
from kinaema_ros.comparison import Comparison, Verdict
from kinaema_ros.estimate import Alternative, as_pose
from kinaema_ros.nodes.support import messages


@pytest.fixture(scope="module")
def shared_world() -> Iterator[World]:
    with navigator() as world:
        yield world


@pytest.fixture
def world(shared_world: World) -> Iterator[World]:
    with shared_world.one_test():
        yield shared_world


def test_a_photo_becomes_a_goal_and_the_robot_arrives(world: World) -> None:
    feedback: list[Any] = []
    handle = world.go(feedback)
    wait_until(lambda: len(feedback) > 2 and feedback[-1].feedback.num_queries > 2)
    world.arrive.set()
    status, result = world.end_of(handle)
    assert (status, result.error_code) == (GoalStatus.STATUS_SUCCEEDED, Code.NONE), result.error_msg
    assert world.frames == ["odom"]
    np.testing.assert_allclose(world.goals, [PLACE], atol=1e-6)
    np.testing.assert_allclose(messages.planar_pose(result.final_goal.pose), PLACE, atol=1e-6)
    assert result.num_queries == len(world.queries)
    assert world.queries[0].frame_id == "odom"
    last = feedback[-1].feedback
    assert (last.seen, last.confidence) == pytest.approx((0.9, 0.8))
    assert last.distance_remaining == pytest.approx(2.5)
    assert last.number_of_recoveries == 3
    assert last.current_goal.header.frame_id == "odom"


def test_the_goal_follows_the_estimate_only_beyond_the_tolerance(world: World) -> None:
    handle = world.go(position_tolerance=0.5)
    world.driving()
    world.place, world.sigma = PLACE + [0.2, 0.0, 0.0], 0.05  # sharper, and within the tolerance
    asked = len(world.queries)
    wait_until(lambda: len(world.queries) > asked + 3)
    assert len(world.goals) == 1
    world.place, world.sigma = PLACE + [0.8, 0.0, 0.0], 0.3
    world.sigma = 0.02
    wait_until(lambda: len(world.goals) == 2, what="the goal to be replaced")
    assert world.goals[1][0] == pytest.approx(PLACE[0] + 0.8, abs=0.2)
    world.arrive.set()
    status, result = world.end_of(handle)
    assert status == GoalStatus.STATUS_SUCCEEDED, result.error_msg


def test_a_single_outlier_and_an_unrecognised_view_move_nothing(world: World) -> None:
    handle = world.go()
    world.driving()
    world.seen, world.place = 0.1, PLACE + [5.0, 0.0, 0.0]
    asked = len(world.queries)
    wait_until(lambda: len(world.queries) > asked + 3)
    world.seen, world.confidence = 0.9, 0.3  # a place that looks like others
    asked = len(world.queries)
    wait_until(lambda: len(world.queries) > asked + 3)
    world.place, world.confidence = PLACE, 0.8
    world.arrive.set()
    status, _ = world.end_of(handle)
    assert status == GoalStatus.STATUS_SUCCEEDED
    assert len(world.goals) == 1


def test_a_robot_that_arrived_is_sent_on_where_the_memory_now_knows_better(world: World) -> None:
    handle = world.go(position_tolerance=0.3)
    world.driving()
    world.place, world.sigma = PLACE + [0.5, 0.0, 0.0], 0.03
    world.arrive.set()
    status, result = world.end_of(handle)
    assert status == GoalStatus.STATUS_SUCCEEDED
    assert messages.planar_pose(result.final_goal.pose)[0] == pytest.approx(PLACE[0] + 0.5, abs=0.1)


def test_a_place_by_its_name_is_driven_to_and_has_no_photo_to_compare_with(world: World) -> None:
    world.confidence = 0.3  # by drift, of which nobody need be asked: the name says which place is meant
    world.arrive.set()
    status, result = world.end_of(world.go(image=Image(), place="Küche"))
    assert (status, result.error_code, result.error_msg) == (GoalStatus.STATUS_SUCCEEDED, Code.NONE, "")
    np.testing.assert_allclose(world.goals, [PLACE], atol=1e-6)
    assert {request.place for request in world.queries} == {"Küche"}
    assert not world.compared
    response = world.call(world.send_goal, QueryPose.Request(place="Küche"))
    assert response.success, response.message
    assert len(world.goals) == 2
    status, result = world.end_of(world.go(image=Image(), place="Küche", min_confidence=0.5))
    assert result.error_code == Code.NOT_SURE


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        ("no_such_place: there is no place 'moon'", Code.NO_SUCH_PLACE),
        ("place_forgotten: no longer in memory", Code.NOT_SEEN),
    ],
)
def test_a_place_that_the_memory_does_not_know_ends_with_its_code(
    world: World, refusal: str, code: int
) -> None:
    world.refusal = refusal
    status, result = world.end_of(world.go(image=Image(), place="moon"))
    assert (status, result.error_code, result.error_msg) == (GoalStatus.STATUS_ABORTED, code, refusal)
    assert not world.goals


ANOTHER = Comparison(Verdict.OTHER_PLACE, "2 of the photo's points")
OTHER = np.array([-6.0, 2.0, -1.5])


def test_a_robot_that_sees_another_place_goes_to_the_next_one(world: World) -> None:
    world.alternatives = [Alternative(as_pose(OTHER), 0.04 * np.eye(3), 0.1)]
    world.views = [ANOTHER, Comparison(Verdict.RECOGNISED, "all of it")]
    world.arrive.set()
    status, result = world.end_of(world.go(hfov_deg=70.0))
    assert (status, result.error_code, result.error_msg) == (GoalStatus.STATUS_SUCCEEDED, Code.NONE, "")
    np.testing.assert_allclose(world.goals, [PLACE, OTHER], atol=1e-6)
    (tried,) = result.places_tried
    assert tried.header.frame_id == "odom"
    np.testing.assert_allclose(messages.planar_pose(tried.pose), PLACE, atol=1e-6)
    np.testing.assert_allclose(messages.planar_pose(result.final_goal.pose), OTHER, atol=1e-6)
    assert {compared.hfov_deg for compared in world.compared} == {70.0}
    assert world.compared[0].image == PHOTO


def test_a_robot_that_saw_other_places_everywhere_ends_with_their_list(world: World) -> None:
    world.alternatives = [Alternative(as_pose(OTHER), 0.04 * np.eye(3), 0.1)]
    world.views = [ANOTHER]
    world.arrive.set()
    status, result = world.end_of(world.go())
    assert (status, result.error_code) == (GoalStatus.STATUS_ABORTED, Code.OTHER_PLACE)
    assert Code.OTHER_PLACE == 118
    assert "(3.00 m, -1.00 m, 29 deg), (-6.00 m, 2.00 m, -86 deg)" in result.error_msg
    places = [messages.planar_pose(tried.pose) for tried in result.places_tried]
    np.testing.assert_allclose(places, [PLACE, OTHER], atol=1e-6)


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (Comparison(Verdict.UNDECIDED, "too little to see"), "too little to see"),
        (None, "no image has come"),
    ],
)
def test_an_arrival_that_the_camera_cannot_confirm_says_so(
    world: World, view: Comparison | None, words: str
) -> None:
    world.views = [view]
    world.arrive.set()
    status, result = world.end_of(world.go())
    assert (status, result.error_code) == (GoalStatus.STATUS_SUCCEEDED, Code.NONE)
    assert result.error_msg.startswith("not confirmed by the camera: ")
    assert words in result.error_msg
    assert not result.places_tried


def test_a_place_never_seen_is_refused_without_moving(world: World) -> None:
    world.seen = 0.3
    status, result = world.end_of(world.go())
    assert (status, result.error_code) == (GoalStatus.STATUS_ABORTED, Code.NOT_SEEN)
    assert "0.30" in result.error_msg
    assert world.goals == []
    world.arrive.set()
    assert world.end_of(world.go(min_seen=0.2))[1].error_code == Code.NONE


def test_a_photo_of_one_of_two_places_that_look_alike_is_refused_and_both_are_named(world: World) -> None:
    world.confidence, world.alternatives = 0.45, [Alternative((-6.0, 2.0, -1.5), np.eye(3), 0.4)]
    status, result = world.end_of(world.go())
    assert (status, result.error_code) == (GoalStatus.STATUS_ABORTED, Code.NOT_SURE)
    assert Code.NOT_SURE == 116
    for words in (
        "(3.00 m, -1.00 m, 29 deg) with probability 0.45",
        "or else (-6.00 m, 2.00 m, -86 deg) with probability 0.40",
        "at least 0.50 is asked for",
    ):
        assert words in result.error_msg
    refused = world.call(world.send_goal, QueryPose.Request(image=PHOTO))
    assert not refused.success
    assert f"error {Code.NOT_SURE}" in refused.message
    assert world.goals == []
    world.arrive.set()
    assert world.end_of(world.go(min_confidence=0.4))[1].error_code == Code.NONE
    np.testing.assert_allclose(world.goals, [PLACE], atol=1e-6)


def test_how_sure_the_memory_must_be_is_the_node_s_parameter_where_the_goal_does_not_say(
    world: World,
) -> None:
    world.arrive.set()
    with world.patience(**{"drive.min_confidence": 0.85}):
        assert world.end_of(world.go())[1].error_code == Code.NOT_SURE
        assert world.end_of(world.go(min_confidence=0.7))[1].error_code == Code.NONE


def test_the_field_of_view_of_a_goal_s_photo_is_told_to_the_memory(world: World) -> None:
    world.arrive.set()
    assert world.end_of(world.go(hfov_deg=69.0))[1].error_code == Code.NONE
    assert world.call(world.send_goal, QueryPose.Request(image=PHOTO, hfov_deg=50.0)).success
    *asked, last = [request.hfov_deg for request in world.queries]
    assert (set(asked), last) == ({69.0}, 50.0)


def test_cancelling_stops_nav2(world: World) -> None:
    handle = world.go()
    world.driving()
    world.result(handle.cancel_goal_async())
    status, result = world.end_of(handle)
    assert (status, result.error_code) == (GoalStatus.STATUS_CANCELED, Code.CANCELED)
    assert world.ends == ["canceled"]


def test_a_newer_goal_takes_over(world: World) -> None:
    first = world.go()
    world.driving()
    world.place = PLACE + [4.0, 0.0, 0.0]
    second = world.go()
    status, result = world.end_of(first)
    assert (status, result.error_code) == (GoalStatus.STATUS_ABORTED, Code.PREEMPTED)
    wait_until(lambda: len(world.goals) == 2)
    assert world.running == 1
    world.arrive.set()
    assert world.end_of(second)[1].error_code == Code.NONE
    assert world.goals[1][0] == pytest.approx(PLACE[0] + 4.0)


def test_deactivation_stops_nav2_and_says_so(world: World) -> None:
    handle = world.go()
    world.driving()
    assert world.change_state(Transition.TRANSITION_DEACTIVATE)
    assert world.ends == ["canceled"]
    assert world.end_of(handle)[1].error_code == Code.DEACTIVATED
    assert world.end_of(world.go())[1].error_code == Code.DEACTIVATED
    assert "activate it" in world.call(world.send_goal, QueryPose.Request(image=PHOTO)).message
    assert world.change_state(Transition.TRANSITION_ACTIVATE)
    world.arrive.set()
    assert world.end_of(world.go())[1].error_code == Code.NONE


def test_deactivation_stops_also_what_send_goal_has_sent(world: World) -> None:
    assert world.call(world.send_goal, QueryPose.Request(image=PHOTO)).success
    world.driving()
    for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVATE):
        assert world.change_state(transition)
    assert world.ends == ["canceled"]


def test_send_goal_asks_once_and_forwards_once(world: World) -> None:
    response = world.call(world.send_goal, QueryPose.Request(image=PHOTO))
    assert response.success, response.message
    world.driving()
    np.testing.assert_allclose(world.goals, [PLACE], atol=1e-6)
    assert len(world.queries) == 1
    world.seen = 0.1
    refused = world.call(world.send_goal, QueryPose.Request(image=PHOTO))
    assert not refused.success
    assert f"error {Code.NOT_SEEN}" in refused.message


def test_send_goal_takes_over_from_the_action_and_the_action_from_it(world: World) -> None:
    first = world.go()
    world.driving()
    assert world.call(world.send_goal, QueryPose.Request(image=PHOTO)).success
    assert world.end_of(first)[1].error_code == Code.PREEMPTED
    second = world.go()
    wait_until(lambda: len(world.goals) == 3)
    world.driving()
    world.arrive.set()
    assert world.end_of(second)[1].error_code == Code.NONE


def guards(navigator: int) -> list[int]:
    """Processes that guard the goals of the navigator with this process number."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == navigator and b"goal_guard" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


def test_the_guard_starts_with_the_first_goal_and_not_with_the_activation(world: World) -> None:
    number = world.navigator.process.pid
    for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVATE):
        assert world.change_state(transition)
    wait_until(lambda: not guards(number), what="the guard of the goals before to end")
    world.arrive.set()
    for _ in range(2):
        assert world.end_of(world.go())[1].error_code == Code.NONE
        assert len(guards(number)) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_navigator_that_ends_leaves_no_goal_running(world: World, number: int) -> None:
    """SIGKILL gives it no chance to clean up: its guard does."""
    with second_navigator(world, f"until_{number}", begun=lambda: world.running == 1) as (second, _):
        second.process.send_signal(number)
        assert second.wait(60.0) == (0 if number == signal.SIGTERM else -signal.SIGKILL), second.log
        wait_until(lambda: world.running == 0, 60.0, "Nav2's goal to be canceled")
        assert set(world.ends) == {"canceled"}


def test_a_robot_that_nav2_leaves_beside_the_goal_is_sent_there_again(world: World) -> None:
    """As a planner does whose tolerance lets the path end 0.44 m off."""
    world.arrive.set()
    world.beside = np.array([0.0, 0.44, 0.0])
    handle = world.go()
    wait_until(lambda: len(world.goals) == 2, what="the goal to be sent again")
    world.beside = np.zeros(3)
    status, result = world.end_of(handle)
    assert status == GoalStatus.STATUS_SUCCEEDED, result.error_msg
    np.testing.assert_allclose(world.goals, [PLACE] * len(world.goals), atol=1e-6)


def test_a_goal_is_sent_anew_where_nav2_s_localisation_moves_it(world: World) -> None:
    before = world.published
    wait_until(lambda: world.published > before + 5, what="the navigator to know where the robot stands")
    world.localised = True
    handle = world.go()
    wait_until(lambda: len(world.queries) > 3)  # Nav2 has reported by now
    world.map_T_odom = np.array([0.0, 0.1, 0.0])  # within the tolerance
    asked = len(world.queries)
    wait_until(lambda: len(world.queries) > asked + 5)
    assert len(world.goals) == 1
    world.map_T_odom = np.array([0.3, 0.4, 0.0])
    wait_until(lambda: len(world.goals) == 2, what="the goal to be sent anew")
    np.testing.assert_allclose(world.goals, [PLACE, PLACE], atol=1e-6)
    world.arrive.set()
    assert world.end_of(handle)[1].error_code == Code.NONE
    assert len(world.goals) == 2


@pytest.mark.parametrize(
    ("goal_frame", "frame_id", "goal", "reported"),
    [
        ("base", "base_link", PLACE - [1.0, 0, 0], ("odom", PLACE)),
        ("map", "map", PLACE + [5.0, 0, 0], ("map", PLACE + [5.0, 0, 0])),
    ],
)
def test_goals_go_out_in_the_frame_that_nav2_wants_and_are_reported_in_one_that_stays(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    goal_frame: str,
    frame_id: str,
    goal: np.ndarray,
    reported: tuple[str, np.ndarray],
) -> None:
    """The memory is asked in the odometry's frame, which does not jump."""
    tf2_where_it_is_missing(monkeypatch)
    world.map_T_odom = np.array([5.0, 0.0, 0.0])
    with second_navigator(world, f"to_{goal_frame}", f"goal_frame:={goal_frame}") as (second, handle):
        world.arrive.set()
        _, result = world.end_of(handle)
        assert result.error_code == Code.NONE, result.error_msg
        assert world.frames[0] == frame_id
        np.testing.assert_allclose(world.goals[0], goal, atol=1e-6)
        assert {request.frame_id for request in world.queries} == {"odom"}
        assert result.final_goal.header.frame_id == reported[0]
        np.testing.assert_allclose(messages.planar_pose(result.final_goal.pose), reported[1], atol=1e-6)
        assert second.stop() == 0, second.log
