"""The memory as the robot's localisation: TF from memory_frame to the odometry's frame, and ~/pose, as AMCL has them."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped, TransformStamped
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from tf2_msgs.msg import TFMessage

from kinaema_ros import geometry
from kinaema_ros.correction import SmoothCorrection
from kinaema_ros.estimate import Localization
from kinaema_ros.geometry import Array
from kinaema_ros.nodes.memory.inputs import MemoryInputs
from kinaema_ros.nodes.memory.monitor import MemoryMonitor
from kinaema_ros.nodes.support import messages
from kinaema_ros.stamps import NANOSECONDS

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class MemoryLocalization:
    """Publishes while the memory knows where the robot is and odometry comes; nothing else than odometry moves in a jump.

    The transform is stamped with the newest odometry's time and ``tf.tolerance``, so that it ages when odometry ends.
    """

    def __init__(self, node: Node, inputs: MemoryInputs, monitor: MemoryMonitor):
        self._inputs, self._monitor = inputs, monitor
        self._tf = node.create_publisher(TFMessage, "/tf", 100)
        self._pose = node.create_publisher(PoseWithCovarianceStamped, "~/pose", LATCHED)
        self._correction = SmoothCorrection()
        self._told: Localization | None = None  # the newest one, of ~/pose
        self._generation, self._stamp = 0, 0
        # By the node's clock: where simulated time is fast, so is the robot.
        group = MutuallyExclusiveCallbackGroup()  # of its own: saving a memory must not hold it up
        node.create_timer(1.0 / inputs.parameters.tf.rate_hz, self._publish, callback_group=group)

    def _publish(self) -> None:
        inputs = self._inputs
        # The frame before the pose: a reset in another thread empties them.
        odom_frame, generation, found, now = (
            inputs.odom_frame, inputs.generation, inputs.localization(), inputs.tracker.now(),
        )  # fmt: skip
        if found is None or now is None or not odom_frame:
            inputs.map_T_odom = None
            self._correction.forget()
            return
        if odom_frame == inputs.parameters.memory_frame:
            self._monitor.problem(
                "memory_frame",
                f"'{odom_frame}' is the odometry's own frame, so no transform is published from it: set the parameter "
                "memory_frame to another name",
            )
            return
        stamp, odom_T_base, memory_T_odom = now
        if stamp == self._stamp:  # no news; TF complains of the same transform twice
            return
        if generation != self._generation:
            self._correction.forget()
        seconds, self._stamp, self._generation = (stamp - self._stamp) / NANOSECONDS, stamp, generation
        # Odometry as the memory was given it goes on where the origin of the odom frame moves.
        given_T_base = geometry.compose(memory_T_odom, odom_T_base)
        limits = inputs.parameters.tf
        map_T_given = self._correction.follow(limits, found.memory_T_odom, given_T_base, seconds)
        inputs.map_T_odom = geometry.compose(map_T_given, memory_T_odom)
        ahead = round(limits.tolerance * NANOSECONDS)
        self._send(inputs.map_T_odom, odom_frame, messages.time_msg(stamp + ahead))
        if found is not self._told:
            self._told = found
            self._pose.publish(
                messages.pose_with_covariance(
                    geometry.compose(found.memory_T_odom, given_T_base),
                    found.covariance,
                    inputs.parameters.memory_frame,
                    messages.time_msg(stamp),
                )
            )

    def _send(self, map_T_odom: Array, odom_frame: str, stamp: messages.Time) -> None:
        transform = TransformStamped(child_frame_id=odom_frame)
        transform.header.frame_id, transform.header.stamp = self._inputs.parameters.memory_frame, stamp
        translation = transform.transform.translation
        translation.x, translation.y = np.asarray(map_T_odom)[:2].tolist()
        transform.transform.rotation = messages.pose_msg(map_T_odom).orientation
        self._tf.publish(TFMessage(transforms=[transform]))
