"""Running a node until it is told to stop, and stopping it cleanly."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import rclpy
from rclpy.executors import MultiThreadedExecutor
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.node import Node

from kinaema_ros.errors import KinaemaError
from kinaema_ros.nodes.support.parameters import ParameterError
from kinaema_ros.nodes.support.spinning import Spinner
from kinaema_ros.nodes.support.starting import start_ros

_LOG = logging.getLogger(__name__)
EXIT_FAILURE, EXIT_USAGE = 1, 2
# Seconds for which a busy thread keeps the interpreter when another wants it; Python's default is 5 ms. A
# callback changes threads several times, so that beside a busy network the executor handled only 50 odometry
# messages a second. With this value it handles hundreds.
_SWITCH_INTERVAL = 5e-4


class Closable(Protocol):
    """What ``run`` needs of a node besides what every ``Node`` has."""

    def close(self) -> None:
        """Ends the node's own work (threads, goals elsewhere); called once, while the executor spins."""


def run(create: Callable[[], Closable], args: list[str] | None = None, threads: int = 4) -> int:
    """Runs a node until SIGINT or SIGTERM; returns the process's exit status.

    0 after a signal, 1 if ROS cannot start or a callback raised; where a parameter is refused, the process ends with 2 at
    once. The executor spins in a thread of its own: Python runs signal handlers in the main thread, and ``close`` may
    need the executor (to cancel a goal) while everything ends.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL)
    with _signals() as (woken, wake):
        try:
            start_ros(args)
        except KinaemaError as error:
            _LOG.error("%s", error)
            return EXIT_FAILURE
        try:
            node = create()
        except ParameterError as error:
            _LOG.error("refused to start: %s", error)
            # Fast DDS now and then hangs or crashes where a node that was just made is taken apart. So it takes no leave:
            # others may list it until its lease ends, after 20 s.
            logging.shutdown()
            sys.stdout.flush()
            os._exit(EXIT_USAGE)
        assert isinstance(node, Node)
        spinner = Spinner(MultiThreadedExecutor(num_threads=threads), node, lambda: wake.send(b"\0"))
        try:
            if isinstance(node, LifecycleNode) and node.get_parameter("autostart").value:
                autostart(node)
            woken.recv(1)
        finally:
            node.close()
            spinner.end()
            node.destroy_node()
            rclpy.shutdown()
        return EXIT_FAILURE if spinner.failed else 0


@contextmanager
def _signals() -> Iterator[tuple[socket.socket, socket.socket]]:
    """(woken, wake): SIGINT and SIGTERM, received by whichever thread, send a byte from wake to woken.

    Waiting for a lock would not do: a signal that another thread receives, or that comes just before the main
    thread begins to wait, does not end the wait, and Python runs its handler only after it.
    """
    woken, wake = socket.socketpair()
    with woken, wake:
        wake.setblocking(False)
        signal.set_wakeup_fd(wake.fileno())
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _end_at_once_next_time)
        try:
            yield woken, wake
        finally:
            signal.set_wakeup_fd(-1)


def _end_at_once_next_time(number: int, _frame: object) -> None:
    """From now on the same signal ends the process at once: who sends it twice does not want to wait."""
    signal.signal(number, signal.SIG_DFL)


def autostart(node: LifecycleNode) -> None:
    """Configures and activates. If a step fails, the node keeps its state for a manager or a person."""
    if node.trigger_configure() == TransitionCallbackReturn.SUCCESS:
        node.trigger_activate()
