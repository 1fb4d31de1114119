"""The ``navigate_to_pose`` action of Nav2, served by the simulated robot on its scene's own map."""

from __future__ import annotations

import math
import threading
import time

import numpy as np
from nav2_msgs.action import NavigateToPose
from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node

from kinaema_ros import geometry
from kinaema_ros.geometry import Array
from kinaema_ros.nodes.support import messages
from kinaema_ros.sim import PathFollower
from kinaema_ros.sim.simulated_robot import SimulatedRobot

_LOOK = 0.05  # seconds of wall time between two looks at the robot
_FEEDBACK = 0.1
# NavigateToPose.Result's constants of Jazzy and later, by value: Humble's result has no fields.
_UNKNOWN, _TF_ERROR = 9000, 9002


class SimulatedNav2:
    """Drives to goals in any known frame, as Nav2 does: a newer goal aborts the older, cancelling stops."""

    def __init__(self, node: Node, robot: SimulatedRobot, frames: dict[str, str]):
        """``frames``: names of the frames "map", "odom" and "base"."""
        self._node, self._robot, self._frames = node, robot, frames
        self._lock = threading.Lock()
        self._newest: ServerGoalHandle | None = None
        self._closed = False
        self._server = ActionServer(
            node,
            NavigateToPose,
            "navigate_to_pose",
            execute_callback=self._execute,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
            callback_group=ReentrantCallbackGroup(),
        )

    def close(self) -> None:
        """Ends every goal."""
        self._closed = True

    def _execute(self, handle: ServerGoalHandle) -> NavigateToPose.Result:
        with self._lock:
            self._newest = handle
            map_T_goal = self._in_map(handle.request.pose)
            follower = None if map_T_goal is None else self._robot.go_to(map_T_goal)
        result = NavigateToPose.Result()
        if map_T_goal is None:
            known = ", ".join(self._frames.values())
            return self._fail(
                handle,
                result,
                _TF_ERROR,
                f"goal in frame '{handle.request.pose.header.frame_id}'; known are {known}",
            )
        if follower is None:
            x, y = map_T_goal[:2]
            return self._fail(handle, result, _UNKNOWN, f"no path to ({x:.2f}, {y:.2f}) on the map")
        self._node.get_logger().info(f"goal at {np.round(map_T_goal, 2).tolist()} in the map")
        started, told = self._robot.snapshot().seconds, 0.0
        while not follower.done:
            if handle.is_cancel_requested:
                self._robot.stop(follower)
                handle.canceled()
                return result
            if self._newest is not handle or self._closed:
                self._robot.stop(follower)
                return self._fail(handle, result, _UNKNOWN, "preempted by a newer goal")
            if follower.stuck:
                self._robot.stop(follower)
                return self._fail(handle, result, _UNKNOWN, "the robot makes no progress")
            if time.monotonic() - told > _FEEDBACK:
                told = time.monotonic()
                handle.publish_feedback(self._feedback(follower, started))
            time.sleep(_LOOK)
        self._robot.stop(follower)
        handle.succeed()
        return result

    def _fail(
        self, handle: ServerGoalHandle, result: NavigateToPose.Result, code: int, message: str
    ) -> NavigateToPose.Result:
        self._node.get_logger().warning(message)
        if hasattr(result, "error_code"):
            result.error_code, result.error_msg = code, message
        handle.abort()
        return result

    def _in_map(self, goal: messages.PoseStamped) -> Array | None:
        """``map_T_goal`` (3,) as localised now; None for an unknown frame."""
        pose, frame = messages.planar_pose(goal.pose), goal.header.frame_id
        if frame == self._frames["map"]:
            return pose
        if frame == self._frames["odom"]:
            return geometry.compose(self._robot.map_T_odom(), pose)
        if frame == self._frames["base"]:
            return geometry.compose(self._robot.believed(), pose)
        return None

    def _feedback(self, follower: PathFollower, started: float) -> NavigateToPose.Feedback:
        now = self._robot.snapshot()
        feedback = NavigateToPose.Feedback(distance_remaining=float(follower.distance_remaining))
        feedback.current_pose = messages.pose_stamped(
            self._robot.believed(), self._frames["map"], self._node.get_clock().now().to_msg()
        )
        seconds = now.seconds - started
        feedback.navigation_time.sec = int(seconds)
        feedback.navigation_time.nanosec = int(math.modf(seconds)[0] * 1e9)
        return feedback
