"""Drives to photos and places: sends them, watches everybody's, stops them all."""

from __future__ import annotations

import threading
import uuid
from dataclasses import replace
from typing import Any

from action_msgs.msg import GoalStatus, GoalStatusArray
from action_msgs.srv import CancelGoal
from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from unique_identifier_msgs.msg import UUID

from kinaema_interfaces.action import NavigateToImage
from kinaema_ros.nodes.support import messages
from kinaema_ros.nodes.support.markers import ellipse_90
from kinaema_ros.nodes.support.spinning import action_client
from kinaema_ros.nodes.support.waiting import wait_for, wait_until
from kinaema_ros.nodes.web.contract import Drive, RobotRefuses

Code = NavigateToImage.Result
_ACTION, _NAV2 = "navigate_to_image", "navigate_to_pose"
_ACTIVE = (GoalStatus.STATUS_ACCEPTED, GoalStatus.STATUS_EXECUTING, GoalStatus.STATUS_CANCELING)
_ENDS = {
    GoalStatus.STATUS_SUCCEEDED: "arrived",
    GoalStatus.STATUS_CANCELED: "stopped",
    GoalStatus.STATUS_ABORTED: "failed",
}
_STATES = {Code.NONE: "arrived", Code.CANCELED: "stopped", Code.PREEMPTED: "replaced"}
_ACCEPT_TIMEOUT = 15.0  # seconds for the navigator to take a goal,
_HEAR_TIMEOUT = 3.0  # to say that it will stop,
_STOP_TIMEOUT = 15.0  # and to have stopped: it waits for Nav2's word


class Drives:
    """The action ``navigate_to_image`` as everybody uses it; ``now`` is the newest drive."""

    def __init__(self, node: Node, group: CallbackGroup):
        self._node = node
        self._client = action_client(node, NavigateToImage, _ACTION)
        self._cancel: dict[str, Any] = {
            name: node.create_client(CancelGoal, f"{name}/_action/cancel_goal", callback_group=group)
            for name in (_ACTION, _NAV2)
        }
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        node.create_subscription(
            GoalStatusArray, f"{_ACTION}/_action/status", self._on_status, latched, callback_group=group
        )
        feedback = NavigateToImage.Impl.FeedbackMessage
        node.create_subscription(
            feedback, f"{_ACTION}/_action/feedback", self._on_feedback, 10, callback_group=group
        )
        self._lock, self._sending = threading.Lock(), threading.Lock()
        self._numbers: dict[bytes, int] = {}  # of all drives by their goals' ids
        self._own: set[bytes] = set()  # whose results we hear
        self._active: set[bytes] = set()
        self.now = Drive()

    def send(self, goal: NavigateToImage.Goal) -> int:
        """Begins a drive, which ends the one before; returns its number. Raises RobotRefuses."""
        name = self._node.resolve_service_name(_ACTION)
        with self._sending:
            try:
                wait_until(self._client.server_is_ready, _HEAR_TIMEOUT)
            except TimeoutError:
                raise RobotRefuses(
                    "navigator_unavailable", f"nobody serves the action {name}; start navigator_node"
                ) from None
            key = uuid.uuid4().bytes
            self._own.add(key)
            sending = self._client.send_goal_async(goal, goal_uuid=UUID(uuid=list(key)))
            try:
                handle: Any = wait_for(sending, _ACCEPT_TIMEOUT)
            except TimeoutError:
                sending.add_done_callback(_cancel_late)
                raise RobotRefuses(
                    "navigator_unavailable",
                    f"{name} did not answer within {_ACCEPT_TIMEOUT:g} s; is navigator_node alive?",
                ) from None
            if not handle.accepted:
                raise RobotRefuses("navigator_unavailable", f"{name} took no goal; see navigator_node's log")
            number = self._begin(key)
            handle.get_result_async().add_done_callback(
                lambda done: self._on_result(key, done.result().result)
            )
            return number

    def stop(self) -> str:
        """Ends all drives, whoever began them, and Nav2's goals; returns "" or why the robot may still be driving."""
        told = self._cancel_all(_ACTION)
        if told:
            try:
                wait_until(lambda: not self._active, _STOP_TIMEOUT)
            except TimeoutError:
                told = False
        told = (
            self._cancel_all(_NAV2) or told
        )  # also what others sent to Nav2; after the navigator's own words with it
        if told:
            return ""
        return (
            "neither navigator_node nor Nav2 confirmed that the robot stops, so it may still be driving: stop it by other "
            "means, and check that they are alive"
        )

    def check(self) -> None:
        """Called now and then: a navigator that died says nothing."""
        if self.now.state == "driving" and not self._client.server_is_ready():
            with self._lock:
                self._active.clear()
                message = "navigator_node ended on the way; Nav2's goal is canceled by its guard"
                self.now = replace(self.now, state="failed", code=Code.UNKNOWN, message=message)

    def _cancel_all(self, action: str) -> bool:
        """Whether the action's server heard it."""
        client = self._cancel[action]
        if not client.service_is_ready():
            return False
        future = client.call_async(CancelGoal.Request())  # no id and no time: all goals
        try:
            wait_for(future, _HEAR_TIMEOUT)
        except TimeoutError:
            client.remove_pending_request(future)
            return False
        return True

    # -- what is heard ---------------------------------------------------------------------------------------

    def _begin(self, key: bytes) -> int:
        with self._lock:
            if key not in self._numbers:
                self._numbers[key] = number = self.now.number + 1
                self.now = Drive(number, "driving")
                self._active.add(key)
            return self._numbers[key]

    def _end(self, key: bytes, state: str, code: int = 0, message: str = "") -> None:
        with self._lock:
            self._active.discard(key)
            if self._numbers.get(key) == self.now.number and self.now.state == "driving":
                self.now = replace(self.now, state=state, code=code, message=message, distance=None)

    def _on_result(self, key: bytes, result: NavigateToImage.Result) -> None:
        self._end(key, _STATES.get(result.error_code, "failed"), result.error_code, result.error_msg)

    def _on_status(self, message: GoalStatusArray) -> None:
        """Of others' goals it says all that is known here; of our own, only that they have begun."""
        for status in message.status_list:
            key = bytes(status.goal_info.goal_id.uuid)
            if status.status in _ACTIVE:
                self._begin(key)
            elif key not in self._own and key in self._numbers:
                state = _ENDS.get(status.status, "failed")
                text = "see the program that sent the robot" if state == "failed" else ""
                self._end(key, state, Code.UNKNOWN if state == "failed" else 0, text)

    def _on_feedback(self, message: Any) -> None:
        feedback: NavigateToImage.Feedback = message.feedback
        goal = feedback.current_goal.pose
        with self._lock:
            number = self._numbers.get(bytes(message.goal_id.uuid))
            if number != self.now.number or self.now.state != "driving":
                return
            x, y, yaw = map(float, messages.planar_pose(goal.pose))
            left = float(feedback.distance_remaining)
            self.now = replace(
                self.now,
                pose=(x, y, yaw),
                ellipse=ellipse_90(messages.planar_covariance(goal)),
                confidence=float(feedback.confidence),
                distance=left if left >= 0.0 else None,  # NaN before Nav2 said any
            )


def _cancel_late(sending: Any) -> None:
    """A goal that is accepted when nobody waits for it any more."""
    sending.result().cancel_goal_async()
