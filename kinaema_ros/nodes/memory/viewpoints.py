"""Where the places that the memory holds lie: for maps that people look at."""

from __future__ import annotations

from geometry_msgs.msg import PoseArray
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

from kinaema_ros import geometry
from kinaema_ros.nodes.memory.inputs import MemoryInputs
from kinaema_ros.nodes.support import messages


class Viewpoints:
    """Publishes ``~/viewpoints``, the camera's poses at these places in the odometry's frame; latched."""

    def __init__(self, node: Node, inputs: MemoryInputs):
        self._inputs, self._published = inputs, -1
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._publisher = node.create_publisher(PoseArray, "~/viewpoints", latched)

    def publish(self) -> None:
        """If somebody listens and the memory has changed; called once a second."""
        # The frame before the pose: a reset in another thread empties them.
        memory, odom_frame = self._inputs.memory, self._inputs.odom_frame
        now = self._inputs.tracker.now()
        if memory is None or now is None or not odom_frame or not memory.localized:
            return
        updates = memory.num_updates
        if updates == self._published or self._publisher.get_subscription_count() == 0:
            return
        stamp, _, memory_T_odom = now
        message = PoseArray()
        message.header.frame_id, message.header.stamp = odom_frame, messages.time_msg(stamp)
        message.poses = [
            messages.pose_msg(pose) for pose in geometry.between(memory_T_odom, memory.odom_viewpoints)
        ]
        self._publisher.publish(message)
        self._published = updates
