"""Subscriptions whose quality of service follows the publishers'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy


class MatchedSubscription:
    """A subscription that is RELIABLE where every publisher is, else BEST_EFFORT, and TRANSIENT_LOCAL likewise.

    A best-effort reader hears any publisher but loses fragments of large images (16 of 180 arrived at
    640x480); a reliable one hears only reliable publishers. What a publisher latched is told to transient local readers
    alone, which hear no volatile publisher. So it asks the graph, as `ros2 topic echo` and
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
        best_effort: bool = False,
    ):
        """``best_effort``: never RELIABLE."""
        self._node, self.message_type, self._callback = node, message_type, callback
        self._depth, self._group = depth, group
        self.topic = node.resolve_topic_name(topic)
        self._subscription: Any = None
        self._most = ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE
        self._quality = (self._most, DurabilityPolicy.VOLATILE)
        self.refresh()

    def refresh(self) -> None:
        """Subscribes anew if what all publishers offer is not what was subscribed with."""
        offered = [info.qos_profile for info in self.publishers()]
        wanted = self._quality
        if offered:
            reliable = all(profile.reliability == ReliabilityPolicy.RELIABLE for profile in offered)
            latched = all(profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for profile in offered)
            wanted = (
                self._most if reliable else ReliabilityPolicy.BEST_EFFORT,
                DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
            )
        if self._subscription is not None:
            if wanted == self._quality:
                return
            self._node.destroy_subscription(self._subscription)
        self._quality = wanted
        # rclpy's own warning about incompatible publishers would only announce what the next refresh mends.
        self._subscription = self._node.create_subscription(
            self.message_type,
            self.topic,
            self._callback,
            QoSProfile(depth=self._depth, reliability=wanted[0], durability=wanted[1]),
            callback_group=self._group,
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
        )

    def publishers(self) -> list[Any]:
        """What the graph knows of this topic's publishers."""
        return self._node.get_publishers_info_by_topic(self.topic)

    def destroy(self) -> None:
        """Ends the subscription."""
        self._node.destroy_subscription(self._subscription)
