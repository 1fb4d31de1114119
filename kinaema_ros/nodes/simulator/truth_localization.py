"""truth_localization: in a simulator, the transform map -> odom that a perfect localisation would publish.

It stands in for AMCL, so that what a drive shows is the memory's error and the odometry's drift, not a particle
filter's. The simulator gives the robot's true pose on the map, `odom` its drifting one.
"""

from __future__ import annotations

import sys

from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from tf2_msgs.msg import TFMessage

from kinaema_ros import geometry
from kinaema_ros.errors import BadInput
from kinaema_ros.geometry import Array
from kinaema_ros.nodes.support import messages
from kinaema_ros.nodes.support.runtime import run
from kinaema_ros.stamps import NANOSECONDS, PoseHistory

# Both are published at 50 Hz from the same simulation steps.
MAX_DIFFERENCE = NANOSECONDS // 20
# As AMCL does: Nav2 asks for the pose of sensor data that is newer than the last transform.
AHEAD = NANOSECONDS // 10


def map_T_odom(odometry: PoseHistory, stamp: int, map_T_base: Array) -> Array | None:
    """(3,) from the true pose at a stamp (nanoseconds); None where no odometry is within 50 ms of it."""
    if not odometry.stamps:
        return None
    covered = min(max(stamp, odometry.stamps[0]), odometry.stamps[-1])
    odom_T_base = odometry.at(covered, 2 * MAX_DIFFERENCE)
    if odom_T_base is None or abs(covered - stamp) > MAX_DIFFERENCE:
        return None
    return geometry.compose(map_T_base, geometry.inverse(odom_T_base))


class TruthLocalization(Node):
    """Subscribes ``odom`` and ``ground_truth/odom`` (its pose in the map's frame), publishes /tf."""

    def __init__(self) -> None:
        super().__init__("kinaema_truth_localization")
        self._tf = self.create_publisher(TFMessage, "/tf", 50)
        self._odometry = PoseHistory(100)  # two seconds
        self._odom_frame = ""
        self.create_subscription(Odometry, "odom", self._on_odometry, 50)
        self.create_subscription(Odometry, "ground_truth/odom", self._on_truth, 50)

    def close(self) -> None:
        """Nothing to end."""

    def _on_odometry(self, message: Odometry) -> None:
        pose = self._pose(message)
        if pose is not None:
            self._odom_frame = message.header.frame_id
            self._odometry.add(messages.stamp_ns(message.header.stamp), pose)

    def _on_truth(self, message: Odometry) -> None:
        pose = self._pose(message)
        stamp = messages.stamp_ns(message.header.stamp)
        correction = None if pose is None else map_T_odom(self._odometry, stamp, pose)
        if correction is None:
            return
        transform = TransformStamped(child_frame_id=self._odom_frame)
        transform.header.frame_id = message.header.frame_id
        transform.header.stamp = messages.time_msg(stamp + AHEAD)
        transform.transform.translation.x, transform.transform.translation.y = correction[:2].tolist()
        transform.transform.rotation = messages.pose_msg(correction).orientation
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
