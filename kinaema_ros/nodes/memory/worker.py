"""A thread that works on the newest item and drops older ones."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class NewestWorker(Generic[Item]):
    """Calls ``work(item)`` in a thread of its own, one item at a time, never queueing more than one.

    A robot's memory should hold what the camera sees now; a queue of old images would only add delay.
    ``work`` must not raise: that would end the thread.
    """

    def __init__(self, work: Callable[[Item], None], name: str):
        self._work = work
        self._condition = threading.Condition()
        self._waiting: list[Item] = []
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, item: Item) -> Item | None:
        """Hands over an item; returns the older one that it displaced, if there was one."""
        with self._condition:
            displaced = self._waiting.pop() if self._waiting else None
            self._waiting.append(item)
            self._condition.notify()
        return displaced

    def stop(self) -> None:
        """Ends the thread after the current item; safe to call twice."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._waiting or self._stopping)
                if self._stopping:
                    return
                item = self._waiting.pop()
            self._work(item)
