"""Queries that come at once: one after the other, and none that waits longer than whoever asks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

from kinaema_ros.errors import BadInput

Result = TypeVar("Result")


class Turns:
    """Does the work of many threads in one thread of its own, in the order in which it comes.

    PyTorch keeps memory for each thread that ever used the network: in the executor's threads the process grew by 200 MB.
    At most ``places`` callers wait, for up to ``patience`` seconds of wall time, below the navigator's query_timeout.
    """

    def __init__(self, places: int, patience: float = 4.0):
        self.places, self._patience = places, patience
        self._free = threading.BoundedSemaphore(places)
        self._worker = ThreadPoolExecutor(1, "memory query")

    def take(self, work: Callable[[], Result]) -> Result:
        """What ``work`` returns or raises, once its turn has come. Raises ``BadInput`` where that would take too long."""
        if not self._free.acquire(blocking=False):
            raise _busy(f"{self.places} others wait already")
        try:
            answer = self._worker.submit(work)
            wait([answer], self._patience)
            if answer.cancel():  # it has not begun
                raise _busy(f"its turn did not come within {self._patience:g} s")
            return answer.result()
        finally:
            self._free.release()


def _busy(why: str) -> BadInput:
    return BadInput(
        "query_busy",
        f"the query was not answered, for {why}: ask again in a second, and have fewer queries on their way at once",
    )
