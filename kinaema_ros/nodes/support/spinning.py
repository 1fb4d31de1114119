"""Serving a node in a thread of its own, and ending that thread for certain."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable

import rclpy
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from kinaema_ros.errors import KinaemaError


class Spinner:
    """A thread in which an executor serves a node until ``end``.

    Where a callback raises, the executor hears nothing any more: the traceback is printed, ``failed`` is true
    from then on, and ``on_failure`` is called in the thread.
    """

    def __init__(self, executor: Executor, node: Node, on_failure: Callable[[], object] = lambda: None):
        self._executor, self._on_failure = executor, on_failure
        self.failed = self._ending = False
        # rclpy destroys the executor's own guard condition as it shuts down. An executor that was just about
        # to wait would wait for ever; this one, in a group that no callback keeps busy, is still there.
        self._last_call = node.create_guard_condition(lambda: None, ReentrantCallbackGroup())
        executor.add_node(node)
        self._thread = threading.Thread(target=self._spin, name="executor", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Waits for the callbacks that have begun, in the executor's own threads too, and begins no more."""
        self._ending = True
        self._executor.shutdown()
        self._last_call.trigger()
        self._thread.join()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except Exception:  # noqa: BLE001  a node that hears nothing any more must not look alive
            if self._ending:  # rclpy's executor ends before the callbacks that it has begun
                return
            traceback.print_exc()
            self.failed = True
            self._on_failure()


def new_context() -> rclpy.Context:
    """A context of the caller's own, in which Ctrl-C stays Python's. Raises KinaemaError if ROS cannot start."""
    context = rclpy.Context()
    try:
        rclpy.init(args=[], context=context, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:  # such as a ROS_DOMAIN_ID that is not a number
        raise KinaemaError(f"ROS cannot start: {error}") from error
    return context


class SpinningNode:
    """A node for a program that is not one itself: it asks, waits and goes on.

    ``node`` lives in a context of its own and is served by a thread, until ``close``. Ctrl-C stays Python's,
    so that what was begun elsewhere can be ended.
    """

    def __init__(self, name: str, namespace: str = ""):
        self._context = new_context()
        self.node = rclpy.create_node(name, namespace=namespace, context=self._context)
        self._spinner = Spinner(SingleThreadedExecutor(context=self._context), self.node)

    def close(self) -> None:
        """Leaves ROS."""
        self._spinner.end()
        self.node.destroy_node()
        self._context.try_shutdown()
