"""A thread that serves a node and that always ends."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.action import ActionClient
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.exceptions import InvalidHandle
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.node import Node

from kinaema_ros.nodes.support.starting import start_ros

_LOG = logging.getLogger(__name__)
_TRIES = 5  # of an executor that fails within a second of its start


class Spinner:
    """A thread in which an executor serves a node until ``end``.

    An exception in a callback ends the executor: the traceback is logged, ``failed`` becomes true, and
    ``on_failure`` is called in the thread. An InvalidHandle does so only if it comes again at once, and again: rclpy's
    executor raises it where it looks at what another thread destroys just then, and finds it gone the next time.
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
        in_a_row = 0
        while True:
            began = time.monotonic()
            try:
                self._executor.spin()
                return
            except Exception as error:  # a node that hears nothing any more must not look alive
                if self._ending:  # rclpy's executor ends before the callbacks that it has begun
                    return
                in_a_row = in_a_row + 1 if time.monotonic() - began < 1.0 else 1
                if isinstance(error, InvalidHandle) and in_a_row < _TRIES:
                    _LOG.warning("rclpy met what was being destroyed, and goes on: %s", error)
                    continue
                _LOG.exception("a callback raised; the node is no longer served")
                self.failed = True
                self._on_failure()
                return


def new_context() -> rclpy.Context:
    """A context of the caller's own, in which Ctrl-C stays Python's. Raises KinaemaError if ROS cannot start."""
    context = rclpy.Context()
    start_ros([], context)
    return context


class RestingGroup(MutuallyExclusiveCallbackGroup):
    """For messages that come faster than they are needed: a callback that calls ``rest`` gets no other until ``wake``.

    In rclpy each message that is taken costs a millisecond or two, whatever its callback does. While the group
    rests, the executor neither waits for its messages nor takes them; a queue of depth 1 then holds the newest.
    """

    def __init__(self, node: Node):
        super().__init__()
        self._node, self._resting = node, False

    def rest(self) -> None:
        """Nothing more until ``wake``."""
        self._resting = True

    def wake(self) -> None:
        """The newest message of each may come."""
        executor = self._node.executor
        if self._resting and executor is not None:
            self._resting = False
            executor.wake()

    def can_execute(self, entity: Any) -> bool:
        """Whether the executor may ask the entity anything."""
        return not self._resting and super().can_execute(entity)


class _OpenedGroup(ReentrantCallbackGroup):
    """Its entities take part in the executor's work from the moment it is ``open``."""

    open = False

    def can_execute(self, entity: Any) -> Any:
        """Whether the executor may ask the entity anything."""
        return self.open and super().can_execute(entity)


def action_client(node: Node, kind: Any, name: str) -> ActionClient:
    """An action client of a node that is being served.

    rclpy's own constructor shows the client to the executor before the client is whole; an executor that begins to
    wait just then fails, and serves nobody any more.
    """
    group = _OpenedGroup()
    client: ActionClient = ActionClient(node, kind, name, callback_group=group)
    group.open = True
    if node.executor is not None:
        node.executor.wake()
    return client


class SpinningNode:
    """A node for a program that asks other nodes and waits for their answers.

    ``node`` lives in a context of its own and is served by a thread, until ``close``. Ctrl-C still raises
    KeyboardInterrupt in the program, which can then cancel what it began.
    """

    def __init__(self, name: str, namespace: str = ""):
        self._context = new_context()
        self.node = rclpy.create_node(name, namespace=namespace, context=self._context)
        self._spinner = Spinner(SingleThreadedExecutor(context=self._context), self.node)

    def close(self) -> None:
        """Ends the thread and destroys the node and its context."""
        self._spinner.end()
        self.node.destroy_node()
        self._context.try_shutdown()
