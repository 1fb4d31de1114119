"""truth_localization: in a simulator, the transform map -> odom that a perfect localisation would publish.

It stands in for AMCL, so that what a drive shows is the memory's error and the odometry's drift, not a particle
filter's. Where the robot is on the map comes from the simulator, where the odometry believes it to be from `odom`.
"""

from __future__ import annotations

import sys
from collections import deque

from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from tf2_msgs.msg import TFMessage

from kinaema_ros import geometry
from kinaema_ros.errors import BadInput
from kinaema_ros.geometry import Array
from kinaema_ros.nodes.support import messages
from kinaema_ros.nodes.support.runtime import run

# Both are published at 50 Hz from the same simulation steps.
MAX_DIFFERENCE = messages.NANOSECONDS // 20
# As AMCL does: Nav2 asks for the pose of sensor data that is newer than the last transform.
AHEAD = messages.NANOSECONDS // 10


class OdometryHistory:
    """The last two seconds of odometry, to find the pose of a moment in."""

    def __init__(self) -> None:
        self._poses: deque[tuple[int, Array]] = deque(maxlen=100)

    def add(self, nanoseconds: int, odom_T_base: Array) -> None:
        """The pose (3,) at a stamp. An older one than the last means that the simulation began anew."""
        if self._poses and nanoseconds < self._poses[-1][0]:
            self._poses.clear()
        self._poses.append((nanoseconds, odom_T_base))

    def map_T_odom(self, nanoseconds: int, map_T_base: Array) -> Array | None:
        """(3,) from the true pose at a stamp; None where no odometry is within 50 ms of it."""
        if not self._poses:
            return None
        stamp, odom_T_base = min(self._poses, key=lambda entry: abs(entry[0] - nanoseconds))
        if abs(stamp - nanoseconds) > MAX_DIFFERENCE:
            return None
        return geometry.compose(map_T_base, geometry.inverse(odom_T_base))


class TruthLocalization(Node):
    """Subscribes ``odom`` and ``ground_truth/odom`` (its pose in the map's frame), publishes /tf."""

    def __init__(self) -> None:
        super().__init__("kinaema_truth_localization")
        self._tf = self.create_publisher(TFMessage, "/tf", 50)
        self._history = OdometryHistory()
        self._odom_frame = ""
        self.create_subscription(Odometry, "odom", self._on_odometry, 50)
        self.create_subscription(Odometry, "ground_truth/odom", self._on_truth, 50)

    def close(self) -> None:
        """Nothing to end."""

    def _on_odometry(self, message: Odometry) -> None:
        pose = self._pose(message)
        if pose is not None:
            self._odom_frame = message.header.frame_id
            self._history.add(messages.stamp_ns(message.header.stamp), pose)

    def _on_truth(self, message: Odometry) -> None:
        pose = self._pose(message)
        stamp = messages.stamp_ns(message.header.stamp)
        map_T_odom = None if pose is None else self._history.map_T_odom(stamp, pose)
        if map_T_odom is None:
            return
        transform = TransformStamped(child_frame_id=self._odom_frame)
        transform.header.frame_id = message.header.frame_id
        transform.header.stamp = messages.time_msg(stamp + AHEAD)
        transform.transform.translation.x, transform.transform.translation.y = map_T_odom[:2].tolist()
        transform.transform.rotation = messages.pose_msg(map_T_odom).orientation
        self._tf.publish(TFMessage(transforms=[transform]))

    def _pose(self, message: Odometry) -> Array | None:
        try:
            return messages.odometry_to_pose(message)
        except BadInput as error:
            self.get_logger().warning(str(error), throttle_duration_sec=10.0)
            return None


def main(args: list[str] | None = None) -> int:
    """Runs the node; returns the exit status."""
    return run(TruthLocalization, args)


if __name__ == "__main__":
    sys.exit(main())
