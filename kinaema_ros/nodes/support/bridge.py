"""Decoding through the cv_bridge that ROS brings, where it is installed and works; images.py is for the rest."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

import numpy as np
from sensor_msgs.msg import Image

from kinaema_ros import images
from kinaema_ros.images import RGB


def decode(message: Image) -> RGB | None:
    """The pixels (H, W, 3) of a message whose fields have been checked; None where cv_bridge cannot be trusted with it."""
    bridge = ros_bridge()
    whole_pixels = message.step % images.bytes_per_pixel(message.encoding) == 0  # cv_bridge shifts other rows
    if bridge is None or not whole_pixels or not can(bridge, message.encoding, message.is_bigendian):
        return None
    return convert(bridge, message)


@cache
def ros_bridge() -> Any:
    """A CvBridge of ROS, or None: not installed, not loadable (built for another NumPy), or the wheels' in Python."""
    try:
        compiled = importlib.import_module("cv_bridge.boost.cv_bridge_boost")
        if str(compiled.__file__).endswith(".py"):
            return None
        return importlib.import_module("cv_bridge").CvBridge()
    except (ImportError, AttributeError):
        return None


@cache
def can(bridge: Any, encoding: str, is_bigendian: int) -> bool:
    """Whether it decodes this; found out by a picture of four pixels, for its versions differ."""
    step = 2 * images.bytes_per_pixel(encoding)
    tried = Image(height=2, width=2, encoding=encoding, is_bigendian=is_bigendian, step=step)
    tried.data = bytes(2 * step)
    try:
        pixels = convert(bridge, tried)
    except Exception:  # it raises its own CvBridgeError, and what NumPy, OpenCV and its C++ come across
        return False
    return isinstance(pixels, np.ndarray) and pixels.shape == (2, 2, 3) and pixels.dtype == np.uint8


def convert(bridge: Any, message: Image) -> RGB:
    """By cv_bridge, but for the 8 of 16 bits: it takes the upper ones, of which a sensor of 10 bits fills two."""
    if message.encoding.endswith("16"):
        return images.to_bytes(bridge.imgmsg_to_cv2(message, "rgb16"))
    return bridge.imgmsg_to_cv2(message, "rgb8")
