"""The topics that the camera's images come from: ``image``, ``image/compressed``, or whichever has any."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

from builtin_interfaces.msg import Time
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from kinaema_ros.nodes.support.subscriptions import MatchedSubscription

AnyImage: TypeAlias = Image | CompressedImage
DEPTH = 10  # images that wait for their callback: a third of a second at 30 Hz, when all threads are busy
RAW_SILENCE = 2.0  # seconds of wall time after which a raw topic that is advertised counts as silent


class ImageTopics:
    """Calls ``take`` for each image, once where image_transport publishes it raw and compressed.

    ``transport`` is "raw", "compressed", or "auto": raw images, and the compressed ones while no raw ones come.
    ``problem(reason, message)`` is told of a raw topic that is advertised but silent.
    """

    def __init__(
        self,
        node: Node,
        transport: str,
        take: Callable[[AnyImage], None],
        problem: Callable[[str, str], None],
        group: MutuallyExclusiveCallbackGroup,
        depth: int = DEPTH,
    ):
        self._take, self._problem = take, problem
        self._raw_came, self._raw_is_silent = time.monotonic(), False
        self._taken: Time | None = None  # stamp of the last compressed image
        self._raw = self._compressed = None
        if transport != "compressed":
            self._raw = MatchedSubscription(node, Image, "image", self._on_raw, depth, group)
        if transport != "raw":
            topic = "image/compressed"
            self._compressed = MatchedSubscription(
                node, CompressedImage, topic, self._on_compressed, depth, group
            )

    def refresh(self) -> None:
        """Follows publishers that came or changed their quality of service."""
        for subscription in (self._raw, self._compressed):
            if subscription is not None:
                subscription.refresh()

    def destroy(self) -> None:
        """Ends the subscriptions."""
        for subscription in (self._raw, self._compressed):
            if subscription is not None:
                subscription.destroy()

    def _on_raw(self, message: Image) -> None:
        self._raw_came, self._raw_is_silent = time.monotonic(), False
        if message.header.stamp != self._taken:
            self._take(message)

    def _on_compressed(self, message: CompressedImage) -> None:
        if self._raw is not None and self._raw.publishers():
            if time.monotonic() - self._raw_came < RAW_SILENCE:
                return
            if not self._raw_is_silent:
                self._raw_is_silent = True
                self._problem(
                    "image_raw_silent",
                    f"{self._raw.topic} is advertised, but no image has come for {RAW_SILENCE:g} s, so the compressed "
                    "ones are used until one does; check the camera's driver, or set image_transport to 'compressed'",
                )
        self._taken = message.header.stamp
        self._take(message)
