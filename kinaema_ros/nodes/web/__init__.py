"""web_node: a page for phones. Only node.py, robot.py and parameters.py know ROS."""
