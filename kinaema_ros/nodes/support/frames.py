"""Look-ups in TF, where it is installed: poses in other frames than the odometry's, the camera's mount."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time

from kinaema_ros import geometry
from kinaema_ros.camera import Mount
from kinaema_ros.errors import BadInput, InputError
from kinaema_ros.geometry import Array
from kinaema_ros.nodes.support.parameters import ParameterError

try:
    import tf2_ros
except ImportError:  # the ROS wheels lack tf2_ros; without it only the odometry's own two frames are known
    tf2_ros = None

_PATIENCE = Duration(seconds=2.0)  # wall time; the first look-up has to find TF's publishers


def require_tf() -> None:
    """Raises ParameterError where a camera_mount of 'tf' cannot be."""
    if tf2_ros is None:
        raise ParameterError(
            "parameter 'camera_mount' is 'tf', but tf2_ros is not installed: install ros-<distribution>-tf2-ros-py, or "
            "leave it at 'parameters' and set camera.x, camera.y, camera.z, camera.yaw, camera.pitch and camera.roll"
        )


class Frames:
    """Looks transforms up, newest first; every failure is a ``BadInput`` with reason ``frame_unknown``.

    Listening begins with the first look-up: a robot's /tf may carry hundreds of messages a second, each of
    which costs a Python callback, and most robots need none of them here. A look-up blocks for up to two
    seconds, while another thread must spin the node.
    """

    def __init__(self, node: Node):
        self._node = node
        self._buffer: Any = None
        self._listener: Any = None
        self._lock = threading.Lock()

    def planar(self, target: str, source: str) -> Array:
        """``target_T_source`` (3,) in the plane, at the newest time TF knows."""
        translation, quaternion = self._lookup(target, source)
        return np.array([translation[0], translation[1], geometry.yaw_from_quaternion(*quaternion)])

    def mount(self, base: str, optical: str) -> Mount:
        """The pose of a camera on the base, from its optical frame (REP 103: z forward, x right, y down)."""
        try:
            return Mount.from_optical(*self._lookup(base, optical))
        except InputError as error:
            raise BadInput(
                "frame_unknown", f"TF from '{base}' to '{optical}' is of no use: {error}"
            ) from error

    def _lookup(self, target: str, source: str) -> tuple[Array, Array]:
        if tf2_ros is None:
            raise BadInput(
                "frame_unknown",
                f"frame '{target}' cannot be reached from '{source}': tf2_ros is not installed, so only the "
                "base frame ('') and the odometry's frame can be asked for",
            )
        with self._lock:
            if self._listener is None:
                self._buffer = tf2_ros.Buffer(node=self._node)
                self._listener = tf2_ros.TransformListener(self._buffer, self._node)
        try:
            transform = self._buffer.lookup_transform(target, source, Time(), timeout=_PATIENCE).transform
        except tf2_ros.TransformException as error:
            raise BadInput(
                "frame_unknown",
                f"TF knows no way from '{source}' to '{target}': {error}. Check both names with 'ros2 run "
                "tf2_tools view_frames'",
            ) from error
        t, q = transform.translation, transform.rotation
        return np.array([t.x, t.y, t.z]), np.array([q.x, q.y, q.z, q.w])
