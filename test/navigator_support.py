"""navigator_node between a memory and a Nav2 that the tests play."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from operator import attrgetter
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, TransformStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from nav2_msgs.action import NavigateToPose
from nav_msgs.msg import Odometry
from rclpy.action import ActionClient, ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.parameter import Parameter
from rclpy.parameter_client import AsyncParameterClient
from ros_support import DISCOVERY, NodeProcess, Ros, frame, image_msg, odometry_msg, wait_until
from tf2_msgs.msg import TFMessage

from kinaema_interfaces.action import NavigateToImage
from kinaema_interfaces.srv import CompareView, QueryPose
from kinaema_ros import geometry
from kinaema_ros.comparison import Comparison, Verdict
from kinaema_ros.estimate import Alternative, Estimate, as_pose
from kinaema_ros.nodes.navigator.parameters import NavigatorParameters
from kinaema_ros.nodes.support import messages
from kinaema_ros.nodes.support.spinning import action_client

Code = NavigateToImage.Result
PHOTO = image_msg(frame(1))
PLACE = np.array([3.0, -1.0, 0.5])


class World(Ros):
    """memory_node's service, Nav2's action and the odometry; and the client who wants to go to a photo."""

    def __init__(self) -> None:
        super().__init__("test_world", threads=8)
        self.navigator: NodeProcess  # whose world this is
        group = ReentrantCallbackGroup()
        node = self.node
        self.odom = node.create_publisher(Odometry, "odom", 10)
        self.tf = node.create_publisher(TFMessage, "/tf", 10)
        self.published = 0
        self.odom_timer = node.create_timer(0.1, self.publish_odometry)
        self.memory = node.create_service(
            QueryPose, "kinaema_memory/query_pose", self.on_query, callback_group=group
        )
        node.create_service(CompareView, "kinaema_memory/compare_view", self.on_compare, callback_group=group)
        self.nav2 = self.start_nav2(group)
        self.client = action_client(node, NavigateToImage, "navigate_to_image")
        self.send_goal = node.create_client(QueryPose, "kinaema_navigator/send_goal", callback_group=group)
        self.lifecycle = node.create_client(
            ChangeState, "kinaema_navigator/change_state", callback_group=group
        )
        self.parameters = AsyncParameterClient(node, "kinaema_navigator", callback_group=group)
        self.begin()

    def begin(self) -> None:
        """The memory knows PLACE; Nav2 accepts, drives and says so, until ``arrive`` is set. Then the robot is there."""
        self.robot, self.beside, self.map_T_odom = np.array([1.0, 0.0, 0.0]), np.zeros(3), np.zeros(3)
        self.place, self.seen, self.sigma, self.refusal = PLACE.copy(), 0.9, 0.2, ""
        self.confidence = 0.8
        self.alternatives: list[Alternative] = []
        # What the camera sees on each arrival, the last one for ever; None: the memory cannot compare
        self.views: list[Comparison | None] = [Comparison(Verdict.RECOGNISED, "all of it")]
        self.compared: list[CompareView.Request] = []
        self.queries: list[QueryPose.Request] = []
        self.accepts, self.talks, self.localised = True, True, False
        self.abort: tuple[int, str] | None = None  # code and text
        self.arrive = threading.Event()
        self.memory_answers, self.nav2_decides, self.nav2_cancels = (threading.Event() for _ in range(3))
        for event in (self.memory_answers, self.nav2_decides, self.nav2_cancels):
            event.set()
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
            cancel_callback=self.on_cancel,
        )

    def publish_odometry(self) -> None:
        odometry = odometry_msg(self.robot, time.time())
        self.stamp = odometry.header.stamp
        self.odom.publish(odometry)
        self.published += 1
        transform = TransformStamped(child_frame_id="odom")
        transform.header.frame_id, transform.header.stamp = "map", self.stamp
        transform.transform.translation.x, transform.transform.translation.y = self.map_T_odom[:2].tolist()
        transform.transform.rotation = messages.pose_msg(self.map_T_odom).orientation
        self.tf.publish(TFMessage(transforms=[transform]))

    def on_query(self, request: QueryPose.Request, response: QueryPose.Response) -> QueryPose.Response:
        self.queries.append(request)
        self.memory_answers.wait(DISCOVERY)
        if self.refusal:
            response.message = self.refusal
            return response
        estimate = Estimate(
            as_pose(self.place),
            np.diag([self.sigma**2, self.sigma**2, (0.3 * self.sigma) ** 2]),
            self.seen,
            self.confidence,
            tuple(self.alternatives),
            num_updates=100,
            frame_id=request.frame_id,
            stamp_ns=self.node.get_clock().now().nanoseconds,
        )
        messages.fill_response(response, estimate)
        return response

    def on_compare(
        self, request: CompareView.Request, response: CompareView.Response
    ) -> CompareView.Response:
        self.compared.append(request)
        view = self.views.pop(0) if len(self.views) > 1 else self.views[0]
        if view is None:
            response.message = "query_without_view: no image has come with its odometry yet"
            return response
        seen = Comparison(view.verdict, view.why, as_pose(self.robot), 0.01 * np.eye(3))
        messages.fill_comparison(response, seen, "odom", self.stamp)
        return response

    def on_offer(self, _: NavigateToPose.Goal) -> GoalResponse:
        self.nav2_decides.wait(DISCOVERY)
        return GoalResponse.ACCEPT if self.accepts else GoalResponse.REJECT

    def on_cancel(self, _: Any) -> CancelResponse:
        self.nav2_cancels.wait(DISCOVERY)
        return CancelResponse.ACCEPT

    def on_goal(self, handle: Any) -> NavigateToPose.Result:
        """As Nav2: a goal that another replaces is aborted without code or text."""
        number = len(self.goals)
        pose = handle.request.pose
        self.frames.append(pose.header.frame_id)
        self.goals.append(messages.planar_pose(pose.pose))
        result = NavigateToPose.Result()
        while True:
            if handle.is_cancel_requested:
                handle.canceled()
                self.ends.append("canceled")
                return result
            if self.abort or len(self.goals) > number + 1:
                result.error_code, result.error_msg = self.abort or (0, "")
                handle.abort()
                self.ends.append("aborted")
                return result
            if self.arrive.is_set():
                self.robot = geometry.compose(self.in_odometry(pose), self.beside)
                self.publish_odometry()
                handle.succeed()
                self.ends.append("succeeded")
                return result
            if self.talks:
                feedback = NavigateToPose.Feedback(distance_remaining=2.5, number_of_recoveries=3)
                if self.localised:  # while the robot stands still
                    map_T_base = geometry.compose(self.map_T_odom, self.robot)
                    feedback.current_pose = messages.pose_stamped(map_T_base, "map", self.stamp)
                handle.publish_feedback(feedback)
            time.sleep(0.02)  # drives on; as Nav2, it looks at its goals and reports at a rate

    def in_odometry(self, goal: PoseStamped) -> np.ndarray:
        """A goal (3,) in the odometry's frame."""
        frame_T_goal = messages.planar_pose(goal.pose)
        odom_T_frame = {
            "odom": np.zeros(3), "base_link": self.robot, "map": geometry.inverse(self.map_T_odom)
        }  # fmt: skip
        return geometry.compose(odom_T_frame[goal.header.frame_id], frame_T_goal)

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
        usual = {name: attrgetter(name)(NavigatorParameters) for name in seconds}
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

    @contextmanager
    def one_test(self) -> Iterator[None]:
        """Begins as in ``begin`` and leaves Nav2 idle."""
        self.begin()
        yield
        for event in (self.arrive, self.memory_answers, self.nav2_decides, self.nav2_cancels):
            event.set()
        wait_until(lambda: self.running == 0, what="every test leaves Nav2 idle")


@contextmanager
def navigator() -> Iterator[World]:
    """The node in a process of its own, and the world around it."""
    world, process = _answering()
    yield world
    status = process.stop()
    world.close()
    assert status == 0, process.log
    assert "Traceback" not in process.log, process.log


def _answering() -> tuple[World, NodeProcess]:
    """A navigator that answers this world. Now and then DDS does not bring two participants together for good, above
    all where others of the same names have just gone. No event tells that it never will: then both begin again, with
    a warning. A navigator that has ended is a fault of its own."""
    for _ in range(3):
        world, process = World(), NodeProcess("navigator_node", "drive.requery_period:=0.2")
        with suppress(AssertionError):
            assert world.client.wait_for_server(DISCOVERY)
            world.result(world.client.send_goal_async(NavigateToImage.Goal(min_seen=2.0)), 10.0)  # refused
            world.navigator = process
            return world, process
        assert process.process.poll() is None, process.log
        warnings.warn("a navigator and its world did not find each other: both begin again", stacklevel=2)
        process.stop()
        world.close()
    raise AssertionError(process.log)


@contextmanager
def second_navigator(
    world: World,
    action: str,
    *parameters: str,
    odom: str = "odom",
    nav2: str = "navigate_to_pose",
    begun: Callable[[], bool] = lambda: True,
) -> Iterator[tuple[NodeProcess, Any]]:
    """Another one, and its handle of a goal for PHOTO. ``action``: for it alone, since a navigator that has just
    ended may still look alive to clients."""
    rules = (
        f"navigate_to_image:={action}", f"odom:={odom}", f"navigate_to_pose:={nav2}", "__node:=second"
    )  # fmt: skip
    process = NodeProcess(
        "navigator_node", *parameters, ros_arguments=[word for rule in rules for word in ("-r", rule)]
    )
    client = action_client(world.node, NavigateToImage, action)
    try:
        assert client.wait_for_server(DISCOVERY)
        handle = _accepted(world, client, begun)
        yield process, handle
    finally:
        process.stop()
        client.destroy()


def _accepted(world: World, client: ActionClient, begun: Callable[[], bool]) -> Any:
    """The handle of a goal, once it is accepted and has ``begun``. A server may know a new client's requests before
    it knows where its responses go, and lose the first, ours or the navigator's to Nav2. The client cannot see what
    the server knows, so there is no event to wait for: it is asked again, with a warning."""
    for _ in range(4):
        sending = client.send_goal_async(NavigateToImage.Goal(image=PHOTO))
        with suppress(AssertionError):
            handle = world.result(sending, 10.0)
            wait_until(lambda: not handle.accepted or begun(), what=f"{client._action_name} to begin")  # noqa: B023
            break
        warnings.warn(f"a goal was not accepted and begun by {client._action_name}: once more", stacklevel=2)
    else:
        raise AssertionError(f"no goal was accepted and begun by {client._action_name}")
    assert handle.accepted
    return handle
