"""The ROS 2 nodes: all that imports rclpy."""

import os

from kinaema_ros.middleware import missing_rmw

if _problem := missing_rmw(os.environ):
    raise SystemExit(f"ROS cannot start: {_problem}")
