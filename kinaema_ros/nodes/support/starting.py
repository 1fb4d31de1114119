"""Starting ROS in this process."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import rclpy
from rclpy.signals import SignalHandlerOptions

from kinaema_ros.errors import KinaemaError
from kinaema_ros.middleware import fast_dds_settings

# What rcl says, and what to do about it.
_REMEDIES = {
    "logging directory": "set HOME, or ROS_LOG_DIR to a folder that can be written",
    "params file": "correct the file, or leave --params-file out",
    "ROS_DOMAIN_ID": "set it to a number of 0 to 101",
    "domain id": "set ROS_DOMAIN_ID to a number of 0 to 101",
}


def start_ros(args: Sequence[str] | None = None, context: rclpy.Context | None = None) -> None:
    """As ``rclpy.init``, but signals stay Python's, and images fit through Fast DDS (config/fastdds.xml).

    Raises KinaemaError, in one line with the remedy where one is known, if ROS cannot start.
    """
    os.environ.update(fast_dds_settings(os.environ))
    try:
        rclpy.init(
            args=None if args is None else list(args),
            context=context,
            signal_handler_options=SignalHandlerOptions.NO,
        )
    except RuntimeError as error:
        # Where in ROS's sources it happened helps no user.
        cause = " ".join(re.sub(r",? at /\S+:\d+", "", str(error)).split())
        remedy = next((f"; {text}" for words, text in _REMEDIES.items() if words in cause), "")
        raise KinaemaError(f"ROS cannot start: {cause}{remedy}") from error
