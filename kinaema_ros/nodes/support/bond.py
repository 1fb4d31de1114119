"""The bond between a managed node and Nav2's lifecycle manager, which waits for one after it has activated a node."""

from __future__ import annotations

import uuid
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

try:
    from bond.msg import Status
except ImportError:  # comes with Nav2; without it there is no manager that asks for bonds either
    Status = None

_PERIOD, _TIMEOUT = 0.5, 4.0  # seconds; the manager's bond_timeout is 4 by default


class Bond:
    """Signs of life on the topic ``bond`` between ``start`` and ``stop``.

    This is one half of the protocol of bond_core, the half that a manager watches. bondpy would also hear the
    bonds of all other nodes, some hundred messages a second, of which each costs a Python callback.
    """

    def __init__(self, node: Node, wanted: bool):
        self._node, self._wanted = node, wanted and Status is not None
        self._publisher: Any = None
        self._timer: Any = None
        self._instance = ""

    def start(self) -> None:
        """The node is active."""
        if not self._wanted:
            return
        self._instance = str(uuid.uuid4())
        if self._publisher is None:
            self._publisher = self._node.create_publisher(Status, "bond", 1)
        # A group of its own: what keeps the node's other callbacks must not look like its death.
        self._timer = self._node.create_timer(
            _PERIOD,
            lambda: self._say(True),
            callback_group=MutuallyExclusiveCallbackGroup(),
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )
        self._say(True)

    def stop(self) -> None:
        """The node is active no more, on purpose; safe to call twice."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None
            self._say(False)

    def _say(self, active: bool) -> None:
        status = Status(id=self._node.get_name(), instance_id=self._instance, active=active)
        status.header.stamp = self._node.get_clock().now().to_msg()
        status.heartbeat_timeout, status.heartbeat_period = _TIMEOUT, _PERIOD
        self._publisher.publish(status)
