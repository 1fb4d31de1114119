"""navigator_node over real DDS, between a memory and a Nav2 that the tests play."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from nav2_msgs.action import NavigateToPose
from nav_msgs.msg import Odometry
from rclpy.action import ActionClient, ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.parameter import Parameter
from rclpy.parameter_client import AsyncParameterClient
from ros_support import DISCOVERY, NodeProcess, Ros, frame, image_msg, odometry_msg, wait_until

from kinaema_interfaces.action import NavigateToImage
from kinaema_interfaces.srv import QueryPose
from kinaema_ros.nodes import messages
from kinaema_ros.nodes.navigator_node import NavigatorNode
from kinaema_ros.nodes.navigator_parameters import NavigatorParameters

Code = NavigateToImage.Result
PHOTO = image_msg(frame(1))
PLACE = np.array([3.0, -1.0, 0.5])


class World(Ros):
    """memory_node's service, Nav2's action and the odometry; and the client who wants to go to a photo."""

    def __init__(self) -> None:
        super().__init__("test_world", threads=8)
        group = ReentrantCallbackGroup()
        node = self.node
        self.odom = node.create_publisher(Odometry, "odom", 10)
        self.odom_timer = node.create_timer(0.1, self.publish_odometry)
        self.memory = node.create_service(
            QueryPose, "kinaema_memory/query_pose", self.on_query, callback_group=group
        )
        self.nav2 = self.start_nav2(group)
        self.client = ActionClient(node, NavigateToImage, "navigate_to_image", callback_group=group)
        self.send_goal = node.create_client(QueryPose, "kinaema_navigator/send_goal", callback_group=group)
        self.lifecycle = node.create_client(ChangeState, "kinaema_navigator/change_state", callback_group=group)
        self.parameters = AsyncParameterClient(node, "kinaema_navigator", callback_group=group)
        self.begin()

    def begin(self) -> None:
        """The memory knows PLACE; Nav2 accepts, drives and says so, until ``arrive`` is set."""
        self.place, self.seen, self.sigma, self.refusal = PLACE.copy(), 0.9, 0.2, ""
        self.queries: list[QueryPose.Request] = []
        self.accepts, self.aborts, self.talks = True, False, True
        self.arrive = threading.Event()
        self.memory_answers, self.nav2_decides = threading.Event(), threading.Event()
        self.memory_answers.set()
        self.nav2_decides.set()
        self.goals: list[np.ndarray] = []
        self.frames: list[str] = []
        self.ends: list[str] = []

    def start_nav2(self, group: ReentrantCallbackGroup) -> ActionServer:
        return ActionServer(
            self.node,
            NavigateToPose,
            "navigate_to_pose",
            self.on_goal,
            callback_group=group,
            goal_callback=self.on_offer,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
        )

    def publish_odometry(self) -> None:
        self.odom.publish(odometry_msg((1.0, 0.0, 0.0), time.time()))

    def on_query(self, request: QueryPose.Request, response: QueryPose.Response) -> QueryPose.Response:
        self.queries.append(request)
        self.memory_answers.wait(DISCOVERY)
        response.success, response.message = not self.refusal, self.refusal
        covariance = np.diag([self.sigma**2, self.sigma**2, (0.3 * self.sigma) ** 2])
        response.pose = messages.pose_with_covariance(
            self.place, covariance, request.frame_id, self.node.get_clock().now().to_msg()
        )
        response.seen, response.num_updates = self.seen, 100
        return response

    def on_offer(self, _: NavigateToPose.Goal) -> GoalResponse:
        self.nav2_decides.wait(DISCOVERY)
        return GoalResponse.ACCEPT if self.accepts else GoalResponse.REJECT

    def on_goal(self, handle: Any) -> NavigateToPose.Result:
        number = len(self.goals)
        self.frames.append(handle.request.pose.header.frame_id)
        self.goals.append(messages.planar_pose(handle.request.pose.pose))
        result = NavigateToPose.Result()
        while True:
            if handle.is_cancel_requested:
                handle.canceled()
                self.ends.append("canceled")
                return result
            if self.aborts or len(self.goals) > number + 1:
                result.error_code, result.error_msg = 9000, "no way through"
                handle.abort()
                self.ends.append("aborted")
                return result
            if self.arrive.is_set():
                handle.succeed()
                self.ends.append("succeeded")
                return result
            if self.talks:
                handle.publish_feedback(NavigateToPose.Feedback(distance_remaining=2.5))
            time.sleep(0.02)

    @property
    def running(self) -> int:
        """Goals that Nav2 is driving to."""
        return len(self.goals) - len(self.ends)

    def go(self, feedback: list[Any] | None = None, **fields: Any) -> Any:
        """Sends a goal to the navigator and returns its handle."""
        assert self.client.wait_for_server(DISCOVERY)
        goal = NavigateToImage.Goal(**{"image": PHOTO, **fields})
        handle = self.result(self.client.send_goal_async(goal, None if feedback is None else feedback.append))
        assert handle.accepted
        return handle

    def end_of(self, handle: Any, timeout: float = 30.0) -> tuple[int, Code]:
        """Status and result of a goal."""
        response = self.result(handle.get_result_async(), timeout)
        return response.status, response.result

    @contextmanager
    def patience(self, **seconds: float) -> Iterator[None]:
        """Other time limits of the navigator, and its usual ones afterwards."""
        usual = {name: getattr(NavigatorParameters, name) for name in seconds}
        self.set(seconds)
        try:
            yield
        finally:
            self.set(usual)

    def set(self, values: dict[str, float]) -> None:
        parameters = [Parameter(name, value=value) for name, value in values.items()]
        for result in self.result(self.parameters.set_parameters(parameters)).results:
            assert result.successful, result.reason

    def change_state(self, transition: int) -> bool:
        """Whether the navigator went along."""
        request = ChangeState.Request(transition=Transition(id=transition))
        return self.call(self.lifecycle, request).success

    def driving(self) -> None:
        """Waits until Nav2 drives to one goal."""
        wait_until(lambda: self.running == 1, what="Nav2 to drive")


@pytest.fixture(scope="module")
def shared_world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


@pytest.fixture(scope="module")
def node(shared_world: World) -> Iterator[NodeProcess]:
    process = NodeProcess("navigator_node", "requery_period:=0.2")
    yield process
    assert process.stop() == 0, process.log
    assert "Traceback" not in process.log


@pytest.fixture
def world(node: NodeProcess, shared_world: World) -> Iterator[World]:
    shared_world.begin()
    yield shared_world
    shared_world.arrive.set()
    shared_world.memory_answers.set()
    shared_world.nav2_decides.set()
    wait_until(lambda: shared_world.running == 0, what="every test leaves Nav2 idle")


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
    assert last.seen == pytest.approx(0.9)
    assert last.distance_remaining == pytest.approx(2.5)
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
    world.place, world.seen = PLACE, 0.9
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


def test_a_place_never_seen_is_refused_without_moving(world: World) -> None:
    world.seen = 0.3
    status, result = world.end_of(world.go())
    assert (status, result.error_code) == (GoalStatus.STATUS_ABORTED, Code.NOT_SEEN)
    assert "0.30" in result.error_msg
    assert world.goals == []
    world.arrive.set()
    assert world.end_of(world.go(min_seen=0.2))[1].error_code == Code.NONE


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        ("query_before_update: nothing is remembered yet", Code.MEMORY_EMPTY),
        ("query_undecodable: no jpeg", Code.INVALID_IMAGE),
        ("frame_unknown: no way", Code.TF_ERROR),
        ("query_on_hold: the odometry jumped", Code.QUERY_FAILED),
    ],
)
def test_what_the_memory_refuses_has_its_own_code(world: World, refusal: str, code: int) -> None:
    world.refusal = refusal
    status, result = world.end_of(world.go())
    assert (status, result.error_code, result.error_msg) == (GoalStatus.STATUS_ABORTED, code, refusal)
    assert world.goals == []


@pytest.mark.parametrize(
    "fields", [{"min_seen": 1.5}, {"position_tolerance": -1.0}, {"yaw_tolerance": float("nan")}]
)
def test_a_goal_that_cannot_be_meant_is_refused(world: World, fields: dict[str, float]) -> None:
    _, result = world.end_of(world.go(**fields))
    assert result.error_code == Code.INVALID_GOAL
    assert next(iter(fields)) in result.error_msg


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


@pytest.mark.parametrize(
    ("behaviour", "code", "said"),
    [
        ({"accepts": False}, Code.NAV2_REJECTED, "rejected"),
        ({"aborts": True}, Code.NAV2_ABORTED, "9000: no way through"),
        ({"talks": False}, Code.NAV2_LOST, "nothing was heard"),
    ],
)
def test_what_nav2_does_wrong_has_its_own_code(
    world: World, behaviour: dict[str, bool], code: int, said: str
) -> None:
    for name, value in behaviour.items():
        setattr(world, name, value)
    status, result = world.end_of(world.go())
    assert (status, result.error_code) == (GoalStatus.STATUS_ABORTED, code)
    assert said in result.error_msg


def test_nav2_that_is_absent_or_dies_ends_the_goal_in_time(world: World) -> None:
    handle = world.go()
    world.driving()
    with world.patience(nav2_timeout=1.0):
        world.talks = False  # what a killed process does before the graph forgets it
        world.nav2.destroy()
        assert world.end_of(handle)[1].error_code == Code.NAV2_LOST
        _, result = world.end_of(world.go())
    assert result.error_code == Code.NAV2_UNAVAILABLE
    world.arrive.set()
    wait_until(lambda: world.running == 0)
    world.nav2 = world.start_nav2(ReentrantCallbackGroup())


def test_a_nav2_that_does_not_decide_is_given_up_and_its_late_yes_taken_back(world: World) -> None:
    world.nav2_decides.clear()
    with world.patience(nav2_timeout=0.5):
        _, result = world.end_of(world.go())
    assert result.error_code == Code.NAV2_LOST
    assert "did not answer a goal within 0.5 s" in result.error_msg
    world.nav2_decides.set()
    wait_until(lambda: world.ends == ["canceled"], what="the late goal to be canceled")


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


@pytest.mark.parametrize("refusal", ["query_on_hold: the odometry jumped", "frame_unknown: TF is silent"])
def test_a_memory_that_fails_on_the_way_does_not_stop_the_robot(world: World, refusal: str) -> None:
    handle = world.go()
    world.driving()
    asked, world.refusal = len(world.queries), refusal
    wait_until(lambda: len(world.queries) > asked + 2)
    world.arrive.set()
    status, result = world.end_of(handle)
    assert (status, len(world.goals)) == (GoalStatus.STATUS_SUCCEEDED, 1), result.error_msg


def test_a_drive_that_takes_too_long_is_ended(world: World) -> None:
    with world.patience(goal_timeout=2.0):
        _, result = world.end_of(world.go())
    assert result.error_code == Code.TIMEOUT
    assert "parameter goal_timeout" in result.error_msg
    assert world.ends == ["canceled"] or not world.goals  # a busy machine may not get as far in two seconds


def test_a_memory_that_is_absent_is_named(world: World) -> None:
    world.node.destroy_service(world.memory)
    with world.patience(query_timeout=0.5):
        _, result = world.end_of(world.go())
    assert result.error_code == Code.MEMORY_UNAVAILABLE
    assert "kinaema_memory/query_pose" in result.error_msg
    world.memory = world.node.create_service(QueryPose, "kinaema_memory/query_pose", world.on_query)


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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_navigator_that_ends_leaves_no_goal_running(world: World, node: NodeProcess, number: int) -> None:
    """SIGKILL gives it no chance to clean up: its guard does."""
    action = f"until_{number}"  # a name of its own: the one before may still look alive
    second = NodeProcess(
        "navigator_node", ros_arguments=["-r", f"navigate_to_image:={action}", "-r", "__node:=second"]
    )
    client = ActionClient(world.node, NavigateToImage, action)
    try:
        assert client.wait_for_server(DISCOVERY)
        handle = world.result(client.send_goal_async(NavigateToImage.Goal(image=PHOTO)))
        assert handle.accepted
        world.driving()
        second.process.send_signal(number)
        assert second.wait(60.0) == (0 if number == signal.SIGTERM else -signal.SIGKILL), second.log
        wait_until(lambda: world.ends == ["canceled"], 60.0, "Nav2's goal to be canceled")
    finally:
        second.stop(signal.SIGKILL)
        client.destroy()


@pytest.mark.parametrize(
    ("goal_frame", "frame_id", "goal"), [("base", "base_link", PLACE - [1.0, 0, 0]), ("map", "map", PLACE)]
)
def test_goals_go_out_in_the_frame_that_nav2_wants(
    world: World, goal_frame: str, frame_id: str, goal: np.ndarray
) -> None:
    second = NodeProcess(
        "navigator_node",
        f"goal_frame:={goal_frame}",
        ros_arguments=["-r", f"navigate_to_image:=to_{goal_frame}", "-r", "__node:=second"],
    )
    client = ActionClient(world.node, NavigateToImage, f"to_{goal_frame}")
    try:
        assert client.wait_for_server(DISCOVERY)
        handle = world.result(client.send_goal_async(NavigateToImage.Goal(image=PHOTO)))
        world.arrive.set()
        assert world.end_of(handle)[1].error_code == Code.NONE
        assert world.frames[0] == frame_id
        np.testing.assert_allclose(world.goals[0], goal, atol=1e-6)
    finally:
        client.destroy()
        assert second.stop() == 0, second.log


def test_without_odometry_there_is_no_frame_to_drive_in(world: World) -> None:
    second = NodeProcess(
        "navigator_node",
        "query_timeout:=0.5",
        ros_arguments=["-r", "navigate_to_image:=blind", "-r", "__node:=second", "-r", "odom:=wheels"],
    )
    client = ActionClient(world.node, NavigateToImage, "blind")
    try:
        assert client.wait_for_server(DISCOVERY)
        _, result = world.end_of(world.result(client.send_goal_async(NavigateToImage.Goal(image=PHOTO))))
        assert result.error_code == Code.TF_ERROR
        assert "no odometry on /wheels" in result.error_msg and "remap odom" in result.error_msg
        assert world.queries == world.goals == []
    finally:
        client.destroy()
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
