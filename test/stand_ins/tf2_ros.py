"""What the nodes use of tf2_ros, for tests on machines without it: newest transforms only, no interpolation.

The same tests run against the real tf2_ros wherever one is installed, which keeps this honest.
"""

from __future__ import annotations

import threading
import time as wall
from typing import Any

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time
from tf2_msgs.msg import TFMessage


class TransformException(Exception):
    """Base of all failures, as in tf2."""


class LookupException(TransformException):
    """A frame that nobody has named."""


class ConnectivityException(TransformException):
    """Two frames in trees of their own."""


class Buffer:
    """The newest transform of every frame to its parent."""

    def __init__(self, cache_time: Duration | None = None, node: Node | None = None):
        self._parents: dict[str, tuple[str, np.ndarray]] = {}  # child: parent, parent_T_child (4, 4)
        self._changed = threading.Condition()

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        with self._changed:
            self._parents[transform.child_frame_id] = transform.header.frame_id, _matrix(transform)
            self._changed.notify_all()

    set_transform_static = set_transform

    def lookup_transform(
        self, target_frame: str, source_frame: str, time: Time, timeout: Duration | None = None
    ) -> TransformStamped:
        """``target_T_source``; waits for it as long as ``timeout`` in the caller's thread."""
        assert time.nanoseconds == 0, "the stand-in knows the newest only"
        deadline = wall.monotonic() + (timeout.nanoseconds * 1e-9 if timeout else 0.0)
        with self._changed:
            while True:
                try:
                    found = self._lookup(target_frame, source_frame)
                    break
                except TransformException:
                    if not self._changed.wait(deadline - wall.monotonic()):
                        raise
        return _transform(target_frame, source_frame, found)

    def _lookup(self, target: str, source: str) -> np.ndarray:
        known = {*self._parents, *(parent for parent, _ in self._parents.values())}
        for frame in (target, source):
            if frame not in known:
                raise LookupException(f'"{frame}" passed to lookupTransform argument does not exist.')
        (root, root_T_target), (other, root_T_source) = self._to_root(target), self._to_root(source)
        if root != other:
            raise ConnectivityException(f"Could not find a connection between '{target}' and '{source}'")
        return np.linalg.inv(root_T_target) @ root_T_source

    def _to_root(self, frame: str) -> tuple[str, np.ndarray]:
        root_T_frame = np.eye(4)
        while frame in self._parents:
            frame, parent_T_child = self._parents[frame]
            root_T_frame = parent_T_child @ root_T_frame
        return frame, root_T_frame


class TransformListener:
    """Fills a buffer from /tf and /tf_static."""

    def __init__(self, buffer: Buffer, node: Node, **unused: Any):
        self._buffer = buffer  # before the subscriptions: an executor that spins already calls them at once
        group = ReentrantCallbackGroup()
        latched = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        for topic, qos in (("/tf", 100), ("/tf_static", latched)):
            node.create_subscription(TFMessage, topic, self._on_transforms, qos, callback_group=group)

    def _on_transforms(self, message: TFMessage) -> None:
        for transform in message.transforms:
            self._buffer.set_transform(transform, "default_authority")


def _matrix(transform: TransformStamped) -> np.ndarray:
    t, q = transform.transform.translation, transform.transform.rotation
    v, w = np.array([q.x, q.y, q.z]), q.w
    cross = np.cross(np.eye(3), v)
    matrix = np.eye(4)
    matrix[:3, :3] = (w * w - v @ v) * np.eye(3) + 2.0 * (np.outer(v, v) + w * cross)
    matrix[:3, 3] = t.x, t.y, t.z
    return matrix


def _transform(target: str, source: str, matrix: np.ndarray) -> TransformStamped:
    found = TransformStamped(child_frame_id=source)
    found.header.frame_id = target
    t, q = found.transform.translation, found.transform.rotation
    t.x, t.y, t.z = matrix[:3, 3].tolist()
    # The eigenvector of the largest eigenvalue (Bar-Itzhack, "New method for extracting the quaternion from a
    # rotation matrix", 2000) is defined for any rotation.
    r = matrix[:3, :3]
    k = np.zeros((4, 4))
    k[:3, :3] = r + r.T - np.trace(r) * np.eye(3)
    k[:3, 3] = k[3, :3] = r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]
    k[3, 3] = np.trace(r)
    q.x, q.y, q.z, q.w = np.linalg.eigh(k)[1][:, -1].tolist()
    return found
