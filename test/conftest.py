"""What all tests share: a DDS domain of their own, so that no robot nearby is heard, and a Ctrl-C that works."""

from __future__ import annotations

import os
import signal

# Before anything initialises rclpy. Node tests use domains 20 to 49; a process keeps one for all its nodes.
os.environ.setdefault("ROS_DOMAIN_ID", str(20 + os.getpid() % 30))
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
# A shell starts background jobs with SIGINT ignored, and processes that a test starts would inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)
