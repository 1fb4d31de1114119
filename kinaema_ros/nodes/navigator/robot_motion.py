"""What the navigator knows of the robot's motion, and in which frame its goals go out."""

from __future__ import annotations

import math

import numpy as np
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from numpy.typing import ArrayLike
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node

from kinaema_ros import geometry
from kinaema_ros.errors import BadInput
from kinaema_ros.geometry import Array
from kinaema_ros.nodes.support import messages
from kinaema_ros.nodes.support.subscriptions import MatchedSubscription


class RobotMotion:
    """Listens to ``odom`` between ``start`` and ``stop``.

    goal_frame: "odom", "base" or "map". Answers of the memory are fused in a *fixed frame*, the map's or the
    odometry's, and goals leave for Nav2 in the one that goal_frame names.
    """

    def __init__(self, node: Node, goal_frame: str, map_frame: str):
        self._node, self._goal_frame, self._map_frame = node, goal_frame, map_frame
        self._subscription: MatchedSubscription | None = None
        self._odom_frame, self._base_frame = "", ""
        self._odom_T_base: Array = np.zeros(3)
        self.travelled = 0.0  # metres since the start

    def start(self) -> None:
        """Subscribes."""
        group = MutuallyExclusiveCallbackGroup()
        self._subscription = MatchedSubscription(self._node, Odometry, "odom", self._on_odometry, 20, group)

    def stop(self) -> None:
        """Unsubscribes; safe to call twice."""
        if self._subscription is not None:
            self._subscription.destroy()
            self._subscription = None

    def refresh(self) -> None:
        """Follows publishers that came or changed their quality of service."""
        if self._subscription is not None:
            self._subscription.refresh()

    def known(self) -> bool:
        """True once the fixed frame has a name; that of the odometry is learnt from its messages."""
        return bool(self.fixed_frame)

    @property
    def fixed_frame(self) -> str:
        """In which answers are fused; "" if not known yet."""
        return self._map_frame if self._goal_frame == "map" else self._odom_frame

    def goal(self, fixed_T_goal: ArrayLike) -> PoseStamped:
        """A pose of the fixed frame as a goal for Nav2."""
        # Stamp 0 is TF's "latest": the newest odometry may be newer than the newest transform.
        latest = messages.time_msg(0)
        if self._goal_frame == "base":
            return messages.pose_stamped(
                geometry.between(self._odom_T_base, fixed_T_goal), self._base_frame, latest
            )
        return messages.pose_stamped(fixed_T_goal, self.fixed_frame, latest)

    def _on_odometry(self, message: Odometry) -> None:
        try:
            pose = messages.odometry_to_pose(message)
        except BadInput as error:
            self._node.get_logger().warning(str(error), throttle_duration_sec=30.0)
            return
        if self._odom_frame:
            self.travelled += math.hypot(*(pose[:2] - self._odom_T_base[:2]))
        self._odom_T_base = pose
        self._odom_frame = message.header.frame_id or "odom"
        self._base_frame = message.child_frame_id or "base_link"
