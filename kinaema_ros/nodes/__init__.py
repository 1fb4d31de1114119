"""The ROS 2 nodes: all that imports rclpy."""
