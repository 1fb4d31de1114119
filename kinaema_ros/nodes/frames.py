"""TF, where it is installed: poses in frames other than the odometry's, and the camera's mount."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.time import Time

from kinaema_ros import geometry

from .errors import BadInput
from .mount import Mount

try:
    import tf2_ros
except ImportError:  # the wheels have none; without it only the odometry's own two frames are known
    tf2_ros = None

Array = NDArray[np.float64]


class Frames:
    """Looks transforms up, newest first; every failure is a ``BadInput`` with reason ``frame_unknown``."""

    def __init__(self, node: Node):
        self._buffer: Any = None
        if tf2_ros is not None:
            self._buffer = tf2_ros.Buffer(node=node)
            self._listener = tf2_ros.TransformListener(self._buffer, node)

    def planar(self, target: str, source: str) -> Array:
        """``target_T_source`` (3,) in the plane, at the newest time TF knows."""
        translation, quaternion = self._lookup(target, source)
        return np.array([translation[0], translation[1], geometry.yaw_from_quaternion(*quaternion)])

    def mount(self, base: str, optical: str) -> Mount:
        """The pose of a camera on the base, from its optical frame (REP 103: z forward, x right, y down)."""
        return Mount.from_optical(*self._lookup(base, optical))

    def _lookup(self, target: str, source: str) -> tuple[Array, Array]:
        if self._buffer is None:
            raise BadInput(
                "frame_unknown",
                f"frame '{target}' cannot be reached from '{source}': tf2_ros is not installed, so only "
                f"the base frame "
                "('') and the odometry's frame can be asked for",
            )
        try:
            transform = self._buffer.lookup_transform(target, source, Time()).transform
        except tf2_ros.TransformException as error:
            raise BadInput(
                "frame_unknown", f"TF knows no way from '{source}' to '{target}': {error}"
            ) from error
        t, q = transform.translation, transform.rotation
        return np.array([t.x, t.y, t.z]), np.array([q.x, q.y, q.z, q.w])
