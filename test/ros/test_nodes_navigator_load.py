"""What the navigator takes of messages that come faster than it needs them."""

from __future__ import annotations

import time

from nav_msgs.msg import Odometry
from rclpy.executors import SingleThreadedExecutor
from ros_support import DISCOVERY, Ros, odometry_msg, wait_until

from kinaema_ros.nodes.navigator.node import NavigatorNode
from kinaema_ros.nodes.support.spinning import Spinner


def test_odometry_is_taken_where_a_drive_asks_for_it_and_not_before() -> None:
    ros = Ros("test_odometry")
    publisher = ros.node.create_publisher(Odometry, "odom", 10)
    navigator = NavigatorNode()
    motion = navigator._motion
    spinner = Spinner(SingleThreadedExecutor(), navigator)

    def publish(x: float) -> None:
        publisher.publish(odometry_msg((x, 0.0, 0.0), time.time()))

    def known() -> bool:
        publish(-1.0)
        return motion.known()

    try:
        navigator.trigger_configure()
        navigator.trigger_activate()
        wait_until(known, DISCOVERY, "the odometry's frame")
        heard = motion._heard
        for x in range(40):
            publish(x)
            time.sleep(0.01)  # as a robot's odometry comes, in twice the time between two looks of a drive
        assert motion._heard == heard
        motion.look(navigator._takes_over(object(), lambda: False))
        assert motion._heard == heard + 1
        assert motion.pose[0] == 39.0  # the newest
    finally:
        navigator.close()
        spinner.end()
        navigator.destroy_node()
        ros.close()
