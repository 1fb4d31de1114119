"""Asking a memory_node where a photo was taken, and whether its camera sees that place; used by the navigator and by the command line's client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.client import Client
from rclpy.node import Node

from kinaema_interfaces.srv import CompareView, QueryPose
from kinaema_ros.comparison import Comparison
from kinaema_ros.errors import KinaemaError
from kinaema_ros.estimate import Estimate
from kinaema_ros.nodes.support import messages
from kinaema_ros.nodes.support.waiting import go_on, wait_for, wait_until


class MemoryUnavailable(KinaemaError, RuntimeError):
    """No memory_node answers; the message says what to do."""


class QueryRefused(KinaemaError, RuntimeError):
    """memory_node answered that it has no pose; ``reason`` is its key, such as "query_before_update"."""

    def __init__(self, message: str):
        super().__init__(message)
        self.reason = message.partition(":")[0]


class MemoryClient:
    """A client of ``kinaema_memory/query_pose`` and ``compare_view`` in the node's namespace."""

    def __init__(self, node: Node, group: CallbackGroup | None = None, memory: str = "kinaema_memory"):
        self._query: Client = node.create_client(QueryPose, f"{memory}/query_pose", callback_group=group)
        self._compare: Client = node.create_client(
            CompareView, f"{memory}/compare_view", callback_group=group
        )

    def ask(self, request: QueryPose.Request, timeout: float, check: Callable[[], None] = go_on) -> Estimate:
        """Blocks for up to ``timeout`` seconds. Raises MemoryUnavailable, QueryRefused, and as ``check``."""
        return messages.response_to_estimate(_answer(self._query, request, timeout, check))

    def compare(
        self, request: CompareView.Request, timeout: float, check: Callable[[], None] = go_on
    ) -> Comparison:
        """Whether the camera sees now what a photo shows; blocks and raises as ``ask``."""
        response = _answer(self._compare, request, timeout, check)
        return messages.response_to_comparison(response)


def _answer(client: Client, request: Any, timeout: float, check: Callable[[], None]) -> Any:
    response = call(client, request, timeout, check)
    if not response.success:
        raise QueryRefused(response.message)
    return response


def call(client: Client, request: Any, timeout: float, check: Callable[[], None] = go_on) -> Any:
    """The response of one of memory_node's services. Raises MemoryUnavailable, and as ``check``."""
    name = client.service_name
    try:
        wait_until(client.service_is_ready, timeout, check)
    except TimeoutError:
        raise MemoryUnavailable(
            f"no service {name} within {timeout:g} s; start memory_node, or remap the service"
        ) from None
    future = client.call_async(request)
    try:
        return wait_for(future, timeout, check)
    except TimeoutError:
        client.remove_pending_request(future)
        raise MemoryUnavailable(
            f"{name} did not answer within {timeout:g} s; is memory_node alive?"
        ) from None
