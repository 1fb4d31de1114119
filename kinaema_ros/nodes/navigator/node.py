"""navigator_node: shows Nav2 the way to a photo.

The action ``navigate_to_image`` runs a PhotoDrive (navigation/photo_drive.py) with a Nav2Robot (drive.py);
``~/send_goal`` asks once and forwards once. This file is the node around them: one goal at a time, and none that
outlives the node's activity.
"""

from __future__ import annotations

import dataclasses
import math
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile
from visualization_msgs.msg import Marker

from kinaema_interfaces.action import NavigateToImage
from kinaema_interfaces.srv import QueryPose
from kinaema_ros.navigation.errors import NavigationError
from kinaema_ros.navigation.photo_drive import LOOK_PERIOD, Check, DriveLimits, PhotoDrive, refuse_unsure
from kinaema_ros.nodes.navigator.drive import Code, Nav2Robot
from kinaema_ros.nodes.navigator.nav2_client import Nav2Client
from kinaema_ros.nodes.navigator.parameters import NavigatorParameters
from kinaema_ros.nodes.navigator.robot_motion import RobotMotion
from kinaema_ros.nodes.support import messages
from kinaema_ros.nodes.support.bond import Bond
from kinaema_ros.nodes.support.markers import goal_marker
from kinaema_ros.nodes.support.memory_client import MemoryClient
from kinaema_ros.nodes.support.parameters import declare
from kinaema_ros.nodes.support.runtime import run
from kinaema_ros.nodes.support.waiting import wait_until

_NEWS_PERIOD = 0.2  # seconds between two looks at the odometry and at Nav2's feedback


class NavigatorNode(LifecycleNode):
    """The lifecycle node ``kinaema_navigator``."""

    def __init__(self) -> None:
        super().__init__("kinaema_navigator", automatically_declare_parameters_from_overrides=True)
        self._parameters_now = declare(self, NavigatorParameters, self._apply)
        self._bond = Bond(self, self._parameters_now.bond)
        group = ReentrantCallbackGroup()
        self._memory = MemoryClient(self, group)
        self._nav2 = Nav2Client(self, lambda: self._parameters_now.nav2_timeout)
        self._motion = RobotMotion(self, self._parameters_now.goal_frame, self._parameters_now.map_frame)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._marker = self.create_publisher(Marker, "~/goal_marker", latched)
        # Whoever holds the lock may use Nav2. A newer goal names itself in _newest and so ends the old one.
        self._driving = threading.Lock()
        self._newest: object = None
        self._is_active = False
        self.create_service(QueryPose, "~/send_goal", self._on_send_goal, callback_group=group)
        self._server = ActionServer(
            self,
            NavigateToImage,
            "navigate_to_image",
            execute_callback=self._execute,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
            callback_group=group,
        )
        self._news_at = 0.0  # time.monotonic
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0, self._motion.refresh, clock=steady)
        # For what comes late when no drive waits for it; also while a deactivation, in the default group, waits for Nav2.
        self.create_timer(1.0, self._nav2.group.wake, callback_group=group, clock=steady)

    def _apply(self, parameters: NavigatorParameters) -> None:
        self._parameters_now = parameters

    def _take_news(self) -> None:
        """Lets the newest odometry and feedback come, now and then: a drive calls this all the time, nobody else needs them."""
        now = time.monotonic()
        if now - self._news_at >= _NEWS_PERIOD:
            self._news_at = now
            self._nav2.group.wake()
            self._motion.group.wake()

    # -- lifecycle -------------------------------------------------------------------------------------------

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Goals are taken from now on."""
        self._motion.start()
        self._is_active = True
        self._bond.start()
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Ends the goal, here and in Nav2, before it returns."""
        self.close()
        return super().on_deactivate(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As a deactivation, from whatever state."""
        self.close()
        return super().on_shutdown(state)

    def close(self) -> None:
        """Leaves nothing running in Nav2; safe to call twice."""
        if not self._is_active:
            return
        self._is_active = False
        self._bond.stop()
        with self._driving:  # the drive notices within a tick, and cancels in Nav2 before it lets go
            self._cancel_sent_goal()
        self._nav2.close()
        self._motion.stop()

    # -- the action ------------------------------------------------------------------------------------------

    def _execute(self, handle: ServerGoalHandle) -> NavigateToImage.Result:
        """Runs in one of the executor's threads until the goal has ended."""
        result = NavigateToImage.Result()
        try:
            self._drive(handle, result)
            handle.succeed()
        except NavigationError as error:
            result.error_code, result.error_msg = error.code, str(error)
            self.get_logger().warning(f"goal ended with error {error.code}: {error}")
            if error.code == Code.CANCELED:
                handle.canceled()
            else:
                handle.abort()
        except Exception as error:  # rclpy would abort with error code 0, which means success
            result.error_code = Code.UNKNOWN
            result.error_msg = _unknown(error)
            self.get_logger().error(traceback.format_exc())
            handle.abort()
        return result

    def _drive(self, handle: ServerGoalHandle, result: NavigateToImage.Result) -> None:
        """Returns when the robot is there. Raises NavigationError; the result says in either case how far it came."""
        goal: NavigateToImage.Goal = handle.request
        check = self._takes_over(handle, lambda: handle.is_cancel_requested)
        limits = self._limits(
            goal.place, goal.min_seen, goal.min_confidence, goal.position_tolerance, goal.yaw_tolerance
        )
        with self._alone(check):
            robot = self._robot(self._request(goal, check), limits, goal.behavior_tree)
            drive = PhotoDrive(robot, self._now, check, self.get_logger().warning)
            try:
                for _ in drive.run(limits):
                    self._report(handle, drive)
                    time.sleep(LOOK_PERIOD)
            finally:
                result.num_queries, result.error_msg = drive.queries, drive.doubt
                stamp, frame = self.get_clock().now().to_msg(), self._motion.fixed_frame
                result.places_tried = [messages.pose_stamped(pose, frame, stamp) for pose in drive.tried]
                if robot.sent is not None:
                    result.final_goal = robot.sent

    def _report(self, handle: ServerGoalHandle, drive: PhotoDrive) -> None:
        feedback = NavigateToImage.Feedback(
            seen=drive.seen, confidence=drive.confidence, num_queries=drive.queries
        )
        stamp = self.get_clock().now().to_msg()
        feedback.current_goal = messages.pose_with_covariance(
            drive.goal.pose, drive.goal.covariance, self._motion.fixed_frame, stamp
        )
        feedback.distance_remaining = self._nav2.distance_remaining
        feedback.number_of_recoveries = self._nav2.number_of_recoveries
        handle.publish_feedback(feedback)
        self._marker.publish(goal_marker(drive.goal.pose, self._motion.fixed_frame, stamp))

    # -- the service -----------------------------------------------------------------------------------------

    def _on_send_goal(self, request: QueryPose.Request, response: QueryPose.Response) -> QueryPose.Response:
        """Asks once and forwards once; the robot drives on after the response."""
        check = self._takes_over(object(), lambda: False)
        try:
            limits = self._limits(request.place, 0.0, 0.0, 0.0, 0.0)
            with self._alone(check):
                robot = self._robot(self._request(request, check), limits)
                estimate = robot.ask(check)
                refuse_unsure(estimate, limits)
                robot.send(estimate.pose, check)
        except NavigationError as error:
            response.message = f"error {error.code}: {error}"
            return response
        except Exception as error:  # one request must not end the node
            response.message = f"error {Code.UNKNOWN}: {_unknown(error)}"
            self.get_logger().error(traceback.format_exc())
            return response
        messages.fill_response(response, estimate)
        response.message = f"sent to Nav2; {response.message}"
        return response

    # -- what both share -------------------------------------------------------------------------------------

    def _takes_over(self, token: object, cancel_requested: Callable[[], bool]) -> Check:
        """Ends whatever goal is running; returns the check that the new one must make all the time."""
        self._newest = token

        def check() -> None:
            self._take_news()
            if not self._is_active:
                raise NavigationError(
                    "the navigator is not active; activate it (ros2 lifecycle set, or autostart)",
                    Code.DEACTIVATED,
                )
            if self._newest is not token:
                raise NavigationError("a newer goal took over", Code.PREEMPTED)
            if cancel_requested():
                raise NavigationError("canceled on request", Code.CANCELED)

        return check

    @contextmanager
    def _alone(self, check: Check) -> Iterator[None]:
        """Waits for the goal before to end. Nav2 is stopped if this one ends with an error."""
        wait_until(lambda: self._driving.acquire(blocking=False), math.inf, check)
        try:
            self._cancel_sent_goal()
            yield
        except Exception as error:
            try:
                self._nav2.cancel()
            except NavigationError as unconfirmed:
                self.get_logger().error(str(unconfirmed))
                if isinstance(error, NavigationError):
                    raise NavigationError(f"{error}; {unconfirmed}", unconfirmed.code) from error
            raise
        finally:
            self._driving.release()

    def _cancel_sent_goal(self) -> None:
        """Ends a goal of ~/send_goal, which may still be driving and for which nobody waits."""
        try:
            self._nav2.cancel()
        except NavigationError as unconfirmed:
            self.get_logger().error(str(unconfirmed))

    def _request(self, goal: NavigateToImage.Goal | QueryPose.Request, check: Check) -> QueryPose.Request:
        """The question to the memory about a goal's photo or place, in the frame in which answers are fused."""
        timeout = self._parameters_now.query_timeout
        self._motion.look(check)  # what was heard before this drive is old
        try:
            wait_until(self._motion.known, timeout, check)
        except TimeoutError:
            raise NavigationError(
                f"no odometry on {self.resolve_topic_name('odom')} within {timeout:g} s, so the goal's frame "
                "is not known; remap odom",
                Code.TF_ERROR,
            ) from None
        return QueryPose.Request(
            image=goal.image,
            compressed_image=goal.compressed_image,
            place=goal.place,
            hfov_deg=goal.hfov_deg,
            frame_id=self._motion.fixed_frame,
        )

    def _robot(self, request: QueryPose.Request, limits: DriveLimits, behavior_tree: str = "") -> Nav2Robot:
        timeout, warn = self._parameters_now.query_timeout, self.get_logger().warning
        return Nav2Robot(
            self._memory, self._nav2, self._motion, request, limits, timeout, behavior_tree, warn
        )

    def _limits(
        self,
        place: str,
        min_seen: float,
        min_confidence: float,
        position_tolerance: float,
        yaw_tolerance: float,
    ) -> DriveLimits:
        """What a goal asks for, zeros replaced by the node's parameters. Raises NavigationError."""
        usual = self._parameters_now.drive
        if place:  # which one is meant is sure; the drift that makes its pose less so goes on the way
            usual = dataclasses.replace(usual, min_confidence=0.0)
        try:
            return dataclasses.replace(
                usual,
                min_seen=min_seen or usual.min_seen,
                min_confidence=min_confidence or usual.min_confidence,
                position_tolerance=position_tolerance or usual.position_tolerance,
                yaw_tolerance=yaw_tolerance or usual.yaw_tolerance,
            )
        except ValueError as error:
            raise NavigationError(f"{error}, or 0 for the node's default", Code.INVALID_GOAL) from error

    def _now(self) -> float:
        return self.get_clock().now().nanoseconds * 1e-9


def _unknown(error: Exception) -> str:
    """An error that no user can cause, in words."""
    return f"{type(error).__name__}: {error}; please report it with the navigator's log"


def main(args: list[str] | None = None) -> int:
    """Runs the node; returns the exit status."""
    return run(NavigatorNode, args, threads=8)


if __name__ == "__main__":
    sys.exit(main())
