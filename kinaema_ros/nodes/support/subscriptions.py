"""Subscriptions whose reliability follows the publishers'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy


class MatchedSubscription:
    """A subscription that is RELIABLE where every publisher is, else BEST_EFFORT.

    A best-effort reader hears any publisher but loses fragments of large images (16 of 180 arrived at
    640x480); a reliable one hears only reliable publishers. So it asks the graph, as `ros2 topic echo` and
    rosbag2 do, and again whenever ``refresh`` is called: publishers come late and restart with another
    quality of service.
    """

    def __init__(
        self,
        node: Node,
        message_type: type,
        topic: str,
        callback: Callable[[Any], None],
        depth: int,
        group: CallbackGroup,
    ):
        self._node, self.message_type, self._callback = node, message_type, callback
        self._depth, self._group = depth, group
        self.topic = node.resolve_topic_name(topic)
        self._subscription: Any = None
        self._reliability = ReliabilityPolicy.RELIABLE
        self.refresh()

    def refresh(self) -> None:
        """Subscribes anew if the publishers' reliability is not the one subscribed with."""
        offered = {info.qos_profile.reliability for info in self.publishers()}
        wanted = self._reliability
        if offered:
            reliable = offered == {ReliabilityPolicy.RELIABLE}
            wanted = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        if self._subscription is not None:
            if wanted == self._reliability:
                return
            self._node.destroy_subscription(self._subscription)
        self._reliability = wanted
        # rclpy's own warning about incompatible publishers would only announce what the next refresh mends.
        self._subscription = self._node.create_subscription(
            self.message_type,
            self.topic,
            self._callback,
            QoSProfile(depth=self._depth, reliability=wanted),
            callback_group=self._group,
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
        )

    def publishers(self) -> list[Any]:
        """What the graph knows of this topic's publishers."""
        return self._node.get_publishers_info_by_topic(self.topic)

    def destroy(self) -> None:
        """Ends the subscription."""
        self._node.destroy_subscription(self._subscription)
