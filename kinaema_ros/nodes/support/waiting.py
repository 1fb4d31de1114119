"""Waiting for an rclpy future in a thread that is not the executor's; the caller can end the wait early."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from rclpy.task import Future

# Seconds between two calls of ``check``.
_TICK = 0.05


def go_on() -> None:
    """The ``check`` that never ends a wait."""


def wait_for(future: Future, timeout: float, check: Callable[[], None] = go_on) -> Any:
    """Returns the future's result; raises TimeoutError after ``timeout`` seconds of wall time.

    ``check`` is called every 50 ms; what it raises is passed on. The future may still complete afterwards;
    that is the caller's to handle.
    """
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    wait_until(done.is_set, timeout, check, done)
    return future.result()


def wait_until(
    condition: Callable[[], bool],
    timeout: float,
    check: Callable[[], None] = go_on,
    event: threading.Event | None = None,
) -> None:
    """Returns once ``condition`` holds; ``event``, if given, cuts a tick short. Raises as ``wait_for``."""
    deadline, event = time.monotonic() + timeout, event or threading.Event()
    while not condition():
        check()
        if time.monotonic() > deadline:
            raise TimeoutError
        event.wait(_TICK)
