"""The ``navigate_to_pose`` action of Nav2, served by the simulated robot on its scene's own map."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

import numpy as np
from builtin_interfaces.msg import Time
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
# Codes of Nav2's servers since Jazzy, by value: Humble's result has no fields.
_NO_PROGRESS, _GOAL_OUTSIDE_MAP, _NO_VALID_PATH, _TF_ERROR = 105, 204, 208, 9002


class SimulatedNav2:
    """Drives to goals in any known frame, and ends them as Nav2 does.

    Every goal is accepted, whatever its frame. It is brought into the map when the drive begins, and does not follow
    a localisation that changes on the way. Where it lies in an obstacle, the path ends at the nearest free place within
    0.5 m (PLANNER_TOLERANCE), and the drive succeeds there. A newer goal aborts the older without code or text; so does
    the end of this node.
    """

    def __init__(
        self,
        node: Node,
        robot: SimulatedRobot,
        frames: dict[str, str],
        stamp: Callable[[float], Time],
        scene_T_map: Array,
    ):
        """``frames``: names of the frames "map", "odom" and "base"; ``stamp`` of a time in the simulation."""
        self._node, self._robot, self._frames, self._stamp = node, robot, frames, stamp
        self._scene_T_map = scene_T_map
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
        goal = handle.request.pose
        with self._lock:
            self._newest = handle
            scene_T_goal = self._in_scene(goal)
            follower = None if scene_T_goal is None else self._robot.go_to(scene_T_goal)
        if scene_T_goal is None:
            frames = f"with frame_id '{goal.header.frame_id}' to the global frame '{self._frames['map']}'"
            return self._fail(handle, _TF_ERROR, f"Failed to transform a goal pose provided {frames}.")
        if follower is None:
            outside = self._robot.grid.cell(scene_T_goal[:2].tolist()) is None
            code, why = (
                (_GOAL_OUTSIDE_MAP, "it is outside the map")
                if outside
                else (_NO_VALID_PATH, "no path leads there")
            )
            return self._fail(
                handle, code, f"cannot plan to ({scene_T_goal[0]:.2f}, {scene_T_goal[1]:.2f}): {why}"
            )
        self._node.get_logger().info(f"goal at {np.round(scene_T_goal, 2).tolist()} in the map")
        started, told = self._robot.snapshot().seconds, 0.0
        while not follower.done:
            if handle.is_cancel_requested:
                self._robot.stop(follower)
                handle.canceled()
                return NavigateToPose.Result()
            if self._newest is not handle or self._closed:
                self._robot.stop(follower)
                return self._fail(handle, 0, "")
            if follower.stuck:
                self._robot.stop(follower)
                return self._fail(handle, _NO_PROGRESS, "Failed to make progress")
            if time.monotonic() - told > _FEEDBACK:
                told = time.monotonic()
                handle.publish_feedback(self._feedback(follower, started))
            time.sleep(_LOOK)
        self._robot.stop(follower)
        handle.succeed()
        return NavigateToPose.Result()

    def _fail(self, handle: ServerGoalHandle, code: int, message: str) -> NavigateToPose.Result:
        self._node.get_logger().warning(message or "a goal ended for a newer one, or with this node")
        result = NavigateToPose.Result()
        if hasattr(result, "error_code"):
            result.error_code, result.error_msg = code, message
        handle.abort()
        return result

    def _in_scene(self, goal: messages.PoseStamped) -> Array | None:
        """``scene_T_goal`` (3,) as localised now; None for an unknown frame."""
        pose, frame = messages.planar_pose(goal.pose), goal.header.frame_id
        if frame == self._frames["map"]:
            return geometry.compose(self._scene_T_map, pose)
        if frame == self._frames["odom"]:
            return geometry.compose(self._robot.map_T_odom(), pose)
        if frame == self._frames["base"]:
            return geometry.compose(self._robot.believed(), pose)
        return None

    def _feedback(self, follower: PathFollower, started: float) -> NavigateToPose.Feedback:
        """With the pose's own stamp, that of the odometry, as TF gives it to Nav2."""
        now, scene_T_odom = self._robot.snapshot(), self._robot.map_T_odom()
        map_T_odom = geometry.between(self._scene_T_map, scene_T_odom)
        feedback = NavigateToPose.Feedback(distance_remaining=float(follower.distance_remaining))
        feedback.current_pose = messages.pose_stamped(
            geometry.compose(map_T_odom, now.odom_T_base), self._frames["map"], self._stamp(now.seconds)
        )
        seconds = now.seconds - started
        feedback.navigation_time.sec = int(seconds)
        feedback.navigation_time.nanosec = int(math.modf(seconds)[0] * 1e9)
        return feedback
