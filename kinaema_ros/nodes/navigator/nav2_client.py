"""One goal at a time in Nav2: sent, watched, replaced, and never left behind."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

from action_msgs.msg import GoalStatus
from geometry_msgs.msg import PoseStamped
from nav2_msgs.action import NavigateToPose
from rclpy.action import ActionClient
from rclpy.action.client import ClientGoalHandle
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.task import Future
from unique_identifier_msgs.msg import UUID

from kinaema_interfaces.action import NavigateToImage
from kinaema_ros.navigation.errors import NavigationError
from kinaema_ros.navigation.photo_drive import Check
from kinaema_ros.nodes.navigator.goal_guard import GoalGuard
from kinaema_ros.nodes.support.spinning import RestingGroup
from kinaema_ros.nodes.support.waiting import go_on, wait_for, wait_until

Code = NavigateToImage.Result
# A Nav2 that has been silent still gets so long to confirm a cancel, in seconds.
_LAST_CHANCE = 0.2
# What Nav2's codes ask for; all the others speak for themselves, or their text does.
_REMEDIES = {
    107: "Nav2's action servers did not answer in time: on a slow machine raise bt_navigator's default_server_timeout",
    9001: "check the goal's behavior_tree",
    9002: "is the goal's frame in TF, and does it reach Nav2's global_frame?",
}


class Nav2Client:
    """``send`` replaces whatever goal of ours is running; ``cancel`` ends it."""

    def __init__(self, node: Node, timeout: Callable[[], float]):
        # bt_navigator reports with every tick of its tree, 100 times a second by default.
        self.group = RestingGroup(node)
        self._client: ActionClient = ActionClient(
            node,
            NavigateToPose,
            "navigate_to_pose",
            callback_group=self.group,
            feedback_sub_qos_profile=QoSProfile(depth=1),
        )
        self._name = node.resolve_service_name("navigate_to_pose")
        self._timeout = timeout  # seconds Nav2 may be absent, silent or undecided
        self._guard = GoalGuard(self._name)
        self._goal: uuid.UUID | None = None
        self._handle: ClientGoalHandle | None = None
        self._result: Future | None = None
        self._heard, self._waiting = 0.0, False
        self._forget_feedback()

    def close(self) -> None:
        """Lets the guard of the goals go; the next goal gets another."""
        self._guard.close()

    def send(self, pose: PoseStamped, behavior_tree: str, check: Check) -> None:
        """Returns when Nav2 has accepted the goal. Raises NavigationError, as does ``check``."""
        timeout = self._timeout()
        try:
            wait_until(self._client.server_is_ready, timeout, check)
        except TimeoutError:
            raise NavigationError(
                f"no action server {self._name} within {timeout:g} s; start Nav2, or remap navigate_to_pose",
                Code.NAV2_UNAVAILABLE,
            ) from None
        goal = uuid.uuid4()
        self._guard.began(goal)
        future = self._client.send_goal_async(
            NavigateToPose.Goal(pose=pose, behavior_tree=behavior_tree),
            feedback_callback=lambda message: self._on_feedback(goal, message.feedback),
            goal_uuid=UUID(uuid=list(goal.bytes)),
        )
        try:
            handle = self._answer(future, timeout, check)
        except (NavigationError, TimeoutError) as error:
            # The answer may still come, and must not leave a robot driving for nobody.
            future.add_done_callback(lambda late: self._disown(goal, late.result()))
            if isinstance(error, TimeoutError):
                raise NavigationError(
                    f"{self._name} did not answer a goal within {timeout:g} s; is Nav2 alive?",
                    Code.NAV2_LOST,
                ) from None
            raise
        if not handle.accepted:
            self._guard.ended(goal)
            raise NavigationError(
                f"{self._name} rejected the goal, as Nav2 does while it is not active: activate it (autostart of its "
                "lifecycle manager, or ros2 lifecycle set /bt_navigator activate)",
                Code.NAV2_REJECTED,
            )
        self._goal, self._handle = goal, handle  # Nav2 has preempted the goal before this one
        self._heard = time.monotonic()
        self._forget_feedback()
        self._result = handle.get_result_async()
        self._result.add_done_callback(lambda _: self._guard.ended(goal))

    def arrived(self) -> bool:
        """False while Nav2 drives, True once it has arrived. Raises NavigationError for other ends."""
        assert self._result is not None
        if not self._result.done():
            silent = time.monotonic() - self._heard
            if silent > self._timeout():
                raise NavigationError(
                    f"nothing was heard from {self._name} for {silent:.1f} s while driving; check that Nav2 "
                    "is alive",
                    Code.NAV2_LOST,
                )
            return False
        response: Any = self._result.result()
        if response.status == GoalStatus.STATUS_SUCCEEDED:
            return True
        raise NavigationError(self._why(response), Code.NAV2_ABORTED)

    def _why(self, response: Any) -> str:
        """Why a goal ended without arrival, and what to do."""
        if response.status == GoalStatus.STATUS_CANCELED:
            return f"the goal was canceled in {self._name} by someone else"
        code, text = getattr(response.result, "error_code", None), getattr(response.result, "error_msg", "")
        if code == 0 and not text:
            # So Nav2 ends a goal that another replaces, or that asks for another tree than the one that is running.
            return (
                f"the goal was aborted in {self._name} without a reason: most likely another client sent a goal of its own, "
                "to which the robot now drives (RViz, a waypoint follower, a second navigator), or Nav2 was deactivated. "
                "Let one client at a time drive, then send the photo again"
            )
        what = f"the goal was aborted in {self._name}" + (f" with error code {code}" if code else "")
        remedy = _REMEDIES.get(code or 0, "see Nav2's log, and whether the goal lies in free space")
        return f"{what}{f': {text}' if text else ''}; {remedy}"

    def cancel(self) -> None:
        """Ends the goal, if one runs; returns when it has ended. Raises NavigationError if Nav2 does not say so.

        The time that Nav2 was silent before counts: whoever waits for a dead one has waited long enough.
        """
        handle, result, timeout = self._handle, self._result, self._timeout()
        self._handle = None
        if handle is None or result is None or result.done():
            return
        patience = max(_LAST_CHANCE, self._heard + timeout - time.monotonic())
        try:
            self._answer(handle.cancel_goal_async(), patience)
            self._answer(result, patience)
        except TimeoutError:
            # The guard does not know this goal as ended, and cancels it once more when the navigator ends.
            raise NavigationError(
                f"{self._name} did not confirm within {patience:.1f} s that its goal is canceled, so the robot may "
                "still be driving: stop it by other means, and check that Nav2 is alive",
                Code.NAV2_LOST,
            ) from None

    def _answer(self, future: Future, timeout: float, check: Check = go_on) -> Any:
        """As ``wait_for``. Meanwhile the group does not rest, so that the answer comes at once."""
        self._waiting = True
        self.group.wake()
        try:
            return wait_for(future, timeout, check)
        finally:
            self._waiting = False

    def _forget_feedback(self) -> None:
        self.distance_remaining, self.number_of_recoveries = float("nan"), 0
        self.robot_pose: PoseStamped | None = None  # in Nav2's own frame

    def _on_feedback(self, goal: uuid.UUID, feedback: NavigateToPose.Feedback) -> None:
        if not self._waiting:
            self.group.rest()
        if goal == self._goal:
            self._heard, self.robot_pose = time.monotonic(), feedback.current_pose
            self.distance_remaining = feedback.distance_remaining
            self.number_of_recoveries = feedback.number_of_recoveries

    def _disown(self, goal: uuid.UUID, handle: ClientGoalHandle | None) -> None:
        if handle is not None and handle.accepted:
            handle.cancel_goal_async()
            handle.get_result_async().add_done_callback(lambda _: self._guard.ended(goal))
        else:
            self._guard.ended(goal)
