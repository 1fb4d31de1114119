"""A node for a program that is not a node itself: it asks, waits and goes on."""

from __future__ import annotations

import threading

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions


class SpinningNode:
    """``node`` lives in a context of its own and is served by a thread, until ``close``.

    Ctrl-C stays Python's, so that what was begun elsewhere can be ended.
    """

    def __init__(self, name: str, namespace: str = ""):
        self._context = rclpy.Context()
        rclpy.init(args=[], context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node(name, namespace=namespace, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Leaves ROS."""
        self._executor.shutdown()
        self._thread.join()
        self.node.destroy_node()
        self._context.try_shutdown()
