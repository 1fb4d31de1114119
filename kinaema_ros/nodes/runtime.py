"""Running a node until it is told to stop, and stopping it cleanly."""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Protocol

import rclpy
from rclpy.executors import MultiThreadedExecutor
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from .parameters import ParameterError

EXIT_FAILURE, EXIT_USAGE = 1, 2
# Python lets a busy thread keep the interpreter for 5 ms when another wants it. A callback changes threads
# several times, so that beside a busy network the executor came to 50 odometry messages a second; with this
# to hundreds.
_SWITCH_INTERVAL = 5e-4


class Closable(Protocol):
    """What ``run`` asks of a node beside being one."""

    def close(self) -> None:
        """Ends the node's own work (threads, goals elsewhere); called once, while the executor still
        spins."""


def run(create: Callable[[], Closable], args: list[str] | None = None, threads: int = 4) -> int:
    """Runs a node until SIGINT or SIGTERM; returns the process's exit status.

    0 after a signal, 1 if a callback raised, 2 if a parameter is refused. The executor spins in a thread of
    its own: Python runs signal handlers in the main thread, and ``close`` may need the executor (to cancel
    a goal) while everything ends.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL)
    stop = threading.Event()

    def on_signal(number: int, _frame: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)  # whoever asks twice does not want to wait

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = create()
        assert isinstance(node, Node)
    except ParameterError as error:
        print(f"refused to start: {error}", file=sys.stderr)
        rclpy.shutdown()
        return EXIT_USAGE
    executor = MultiThreadedExecutor(num_threads=threads)
    executor.add_node(node)
    status = 0

    def spin() -> None:
        nonlocal status
        try:
            executor.spin()
        except Exception:  # noqa: BLE001  a node that hears nothing any more must not look alive
            if stop.is_set():  # rclpy's executor ends before the callbacks that it has begun
                return
            traceback.print_exc()
            status = EXIT_FAILURE
            stop.set()

    spinner = threading.Thread(target=spin, name="executor", daemon=True)
    spinner.start()
    try:
        if isinstance(node, LifecycleNode) and node.get_parameter("autostart").value:
            autostart(node)
        stop.wait()
    finally:
        node.close()
        executor.shutdown()
        spinner.join(timeout=5.0)
        node.destroy_node()
        rclpy.shutdown()
    return status


def autostart(node: LifecycleNode) -> None:
    """Configures and activates; a node that cannot stays where it is, for a lifecycle manager or a person."""
    if node.trigger_configure() == TransitionCallbackReturn.SUCCESS:
        node.trigger_activate()
