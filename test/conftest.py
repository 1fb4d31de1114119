"""What all tests share: a DDS domain of their own, so that no robot nearby (or other test run) is heard."""

from __future__ import annotations

import os

# Before anything initialises rclpy. Node tests use domains 20 to 49; a process keeps one for all its nodes.
os.environ.setdefault("ROS_DOMAIN_ID", str(20 + os.getpid() % 30))
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
