"""Velocity commands, of whichever of the two types somebody publishes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from geometry_msgs.msg import Twist, TwistStamped
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node

_TYPES = {"geometry_msgs/msg/Twist": Twist, "geometry_msgs/msg/TwistStamped": TwistStamped}
_PERIOD = 0.2  # seconds between two looks at the publishers


class VelocityCommands:
    """Subscribes ``cmd_vel`` as Twist, or as TwistStamped (Nav2's default since Kilted) where that is published.

    DDS lets one participant know a topic by one type only, so the subscription follows the first publisher whose type
    is one of the two.
    """

    def __init__(self, node: Node, callback: Callable[[Twist], None]):
        self._node, self._callback = node, callback
        self._topic = node.resolve_topic_name("cmd_vel")
        self._type: type = Twist
        self._subscription: Any = self._subscribe()
        node.create_timer(_PERIOD, self._follow, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _follow(self) -> None:
        published = [info.topic_type for info in self._node.get_publishers_info_by_topic(self._topic)]
        wanted = next((_TYPES[name] for name in published if name in _TYPES), self._type)
        if wanted is not self._type and self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription, self._type = None, wanted
        elif self._subscription is None:
            # The old one is gone once the executor has let it go; until then DDS refuses the other type.
            with contextlib.suppress(RuntimeError):
                self._subscription = self._subscribe()

    def _subscribe(self) -> Any:
        # Without rclpy's own event handlers, which an executor may still wait for when their subscription has gone.
        events = SubscriptionEventCallbacks(use_default_callbacks=False)
        return self._node.create_subscription(
            self._type, self._topic, self._on_message, 10, event_callbacks=events
        )

    def _on_message(self, message: Twist | TwistStamped) -> None:
        self._callback(message.twist if isinstance(message, TwistStamped) else message)
