"""What the navigator knows of the robot's motion, and in which frame its goals go out."""

from __future__ import annotations

import contextlib
import math
import threading

import numpy as np
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from numpy.typing import ArrayLike
from rclpy.node import Node

from kinaema_interfaces.action import NavigateToImage
from kinaema_ros import geometry
from kinaema_ros.errors import BadInput
from kinaema_ros.geometry import Array
from kinaema_ros.navigation.errors import NavigationError
from kinaema_ros.navigation.photo_drive import Check
from kinaema_ros.nodes.support import messages
from kinaema_ros.nodes.support.frames import Frames
from kinaema_ros.nodes.support.spinning import RestingGroup
from kinaema_ros.nodes.support.subscriptions import MatchedSubscription
from kinaema_ros.nodes.support.waiting import wait_until
from kinaema_ros.stamps import NANOSECONDS, PoseHistory

_KEPT = 100  # odometry poses, some ten seconds of them
_MAX_GAP = NANOSECONDS  # between two poses that are interpolated
_NEWS_TIMEOUT = 1.0  # seconds for the next odometry message


class RobotMotion:
    """Listens to ``odom`` between ``start`` and ``stop``.

    goal_frame: "odom", "base" or "map". Answers of the memory are fused in the odometry's frame, the *fixed frame*: it
    is the memory's own, and does not jump where a localisation corrects itself. Goals leave for Nav2 in the frame that
    goal_frame names.
    """

    def __init__(self, node: Node, goal_frame: str, map_frame: str):
        self._node, self._goal_frame, self._map_frame = node, goal_frame, map_frame
        self._frames = Frames(node)
        self.group = RestingGroup(node)
        self._subscription: MatchedSubscription | None = None
        self.fixed_frame, self._base_frame = "", ""  # not known yet
        self._history, self._lock = PoseHistory(_KEPT), threading.Lock()
        self.pose: Array = np.zeros(3)  # the robot's in the fixed frame
        self.travelled = 0.0  # metres since the start
        self._heard = 0  # odometry messages

    def start(self) -> None:
        """Subscribes."""
        self._subscription = MatchedSubscription(
            self._node, Odometry, "odom", self._on_odometry, 1, self.group
        )

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
        """True once the fixed frame has a name, which is learnt from odometry."""
        return bool(self.fixed_frame)

    def look(self, check: Check) -> None:
        """Waits for the next odometry, so that ``pose`` is no older than this call; odometry that is silent stays so."""
        heard = self._heard
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: self._heard != heard, _NEWS_TIMEOUT, check)

    def goal(self, fixed_T_goal: ArrayLike) -> PoseStamped:
        """A pose of the fixed frame as a goal for Nav2. Raises NavigationError where TF does not know the map."""
        # Stamp 0 is TF's "latest": the newest odometry may be newer than the newest transform.
        latest = messages.time_msg(0)
        if self._goal_frame == "base":
            return messages.pose_stamped(geometry.between(self.pose, fixed_T_goal), self._base_frame, latest)
        if self._goal_frame == "odom":
            return messages.pose_stamped(fixed_T_goal, self.fixed_frame, latest)
        try:
            map_T_fixed = self._frames.planar(self._map_frame, self.fixed_frame)
        except BadInput as error:
            raise NavigationError(
                f"{error}; or set goal_frame to odom", NavigateToImage.Result.TF_ERROR
            ) from error
        return messages.pose_stamped(geometry.compose(map_T_fixed, fixed_T_goal), self._map_frame, latest)

    def to_report(self, sent: PoseStamped, fixed_T_goal: ArrayLike) -> PoseStamped:
        """A goal that was sent, for readers: in a frame that does not drive on with the robot."""
        if self._goal_frame == "base":
            return messages.pose_stamped(fixed_T_goal, self.fixed_frame, sent.header.stamp)
        return sent

    def correction(self, nav2_pose: PoseStamped) -> Array | None:
        """``nav2_T_fixed`` (3,), by where Nav2 says that the robot is; None where no odometry belongs to its stamp."""
        with self._lock:
            fixed_T_base = self._history.at(messages.stamp_ns(nav2_pose.header.stamp), _MAX_GAP)
        if fixed_T_base is None:
            return None
        return geometry.compose(messages.planar_pose(nav2_pose.pose), geometry.inverse(fixed_T_base))

    def _on_odometry(self, message: Odometry) -> None:
        if self._goal_frame != "base":  # whose goals are as exact as the odometry is new
            self.group.rest()
        try:
            pose = messages.odometry_to_pose(message)
        except BadInput as error:
            self._node.get_logger().warning(str(error), throttle_duration_sec=30.0)
            return
        with self._lock:
            self._history.add(messages.stamp_ns(message.header.stamp), pose)
        if self.fixed_frame:
            self.travelled += math.hypot(*(pose[:2] - self.pose[:2]))
        self.pose = pose
        self._base_frame = message.child_frame_id or "base_link"
        self.fixed_frame = message.header.frame_id or "odom"
        self._heard += 1
