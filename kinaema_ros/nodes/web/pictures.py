"""The camera's newest picture, small, for as long as a page looks at it."""

from __future__ import annotations

import threading
import time

import cv2
from rclpy.node import Node

from kinaema_ros.errors import BadInput
from kinaema_ros.nodes.memory.image_topics import AnyImage, ImageTopics
from kinaema_ros.nodes.support import messages
from kinaema_ros.nodes.support.spinning import RestingGroup
from kinaema_ros.nodes.web.parameters import WebParameters

_INTEREST = 5.0  # seconds after which nobody looks any more
_FIRST_PICTURE = 2.0  # seconds that the first to look waits
_QUALITY = 60  # of the JPEG


class Pictures:
    """Subscribes to the camera while somebody asks for ``newest``; ``refresh`` is called twice a second."""

    def __init__(self, node: Node, parameters: WebParameters):
        self._node, self.parameters = node, parameters
        self._group = RestingGroup(node)
        self._topics: ImageTopics | None = None
        self._asked = -_INTEREST
        self._message: AnyImage | None = None
        self._jpeg: bytes | None = None
        self._came, self._encoding = threading.Condition(), threading.Lock()
        self.published = False
        self._timer = node.create_timer(1.0 / parameters.camera_hz, self._group.wake)

    def refresh(self) -> None:
        """Subscribes, follows the publishers, or lets go."""
        node = self._node
        self.published = any(node.count_publishers(topic) for topic in ("image", "image/compressed"))
        wanted = time.monotonic() - self._asked < _INTEREST
        if wanted and self._topics is None:
            transport = self.parameters.image_transport
            self._topics = ImageTopics(node, transport, self._take, self._problem, self._group, depth=1)
        elif self._topics is not None:
            self._topics.refresh() if wanted else self.close()

    def close(self) -> None:
        """Unsubscribes."""
        topics, self._topics = self._topics, None
        if topics is not None:
            topics.destroy()
        with self._came:
            self._message = self._jpeg = None

    def newest(self) -> bytes | None:
        """As JPEG; None where no picture came in time or the camera's images are of no use."""
        self._asked = time.monotonic()
        with self._came:
            self._came.wait_for(lambda: self._message or self._jpeg, _FIRST_PICTURE)
        with self._encoding:  # once, however many pages ask
            message = self._message
            if message is not None:
                self._message, self._jpeg = None, self._encoded(message)
            return self._jpeg

    def _take(self, message: AnyImage) -> None:
        self._group.rest()
        with self._came:
            self._message = message
            self._came.notify_all()

    def _encoded(self, message: AnyImage) -> bytes | None:
        try:
            rgb = messages.image_to_rgb(message)
        except BadInput as error:
            self._problem(error.reason, str(error))
            return None
        height, width = rgb.shape[:2]
        scale = min(1.0, self.parameters.camera_width / width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        bgr = cv2.cvtColor(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2BGR)
        return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()

    def _problem(self, reason: str, message: str) -> None:
        self._node.get_logger().warning(f"{reason}: {message}", throttle_duration_sec=30.0)
