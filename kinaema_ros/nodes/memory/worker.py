"""A thread that works on items in their order, each as soon as it is ready."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

Item = TypeVar("Item")

# Seconds between two looks at items that wait for something of which nobody tells, such as the end of their patience.
_TICK = 0.05


class _Waiting(NamedTuple, Generic[Item]):
    item: Item
    stamp: int
    since: float  # time.monotonic


class PatientWorker(Generic[Item]):
    """Calls ``work(item)`` in a thread of its own, one item at a time, of those that are ready the first that came.

    ``ready(item, seconds)`` says whether an item that has waited for so long can be worked on; it is asked when an
    item comes and after each ``wake``, and must be quick. At most ``limit`` items wait. Of more, the one goes that
    leaves the smallest hole in time: a robot whose odometry is late, or whose computer is slow, then remembers fewer
    places, but leaves no gap of metres. Neither function may raise: that would end the thread.
    """

    def __init__(
        self,
        work: Callable[[Item], None],
        ready: Callable[[Item, float], bool],
        name: str,
        limit: int = 8,
    ):
        self._work, self._ready, self._limit = work, ready, limit
        self._condition = threading.Condition()
        self._waiting: list[_Waiting[Item]] = []
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, item: Item, stamp: int) -> Item | None:
        """Hands over an item of a time (in any unit); returns the one that had to go for it, if there was one."""
        with self._condition:
            self._waiting.append(_Waiting(item, stamp, time.monotonic()))
            self._condition.notify()
            if len(self._waiting) <= self._limit:
                return None
            stamps = [entry.stamp for entry in self._waiting]
            inner = range(1, len(stamps) - 1)
            least_missed = min(inner, key=lambda i: stamps[i + 1] - stamps[i - 1])
            return self._waiting.pop(least_missed).item

    def wake(self) -> None:
        """An item that waits may be ready now."""
        with self._condition:
            if self._waiting:
                self._condition.notify()

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
                while (found := self._first_ready()) is None and not self._stopping:
                    self._condition.wait(_TICK if self._waiting else None)
                if self._stopping or found is None:
                    return
                item = self._waiting.pop(found).item
            self._work(item)

    def _first_ready(self) -> int | None:
        now = time.monotonic()
        return next(
            (i for i, entry in enumerate(self._waiting) if self._ready(entry.item, now - entry.since)), None
        )
