"""Counting what could not be used, and saying so without flooding the log."""

from __future__ import annotations

import statistics
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable

_MOST = 1000  # characters of a message


def shown(text: str) -> str:
    """A message as one line of bounded length that no terminal obeys: names in it come from other programs."""
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:_MOST])
    return line + "..." if len(text) > _MOST else line


class Reports:
    """Counts by reason; says each kind at once when it is new and then at most every ``period`` seconds.

    ``say(text)`` is the logger's function. Thread-safe.
    """

    def __init__(self, say: Callable[[str], object], period: float = 30.0):
        self._say = say
        self._period = period
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._last_said: dict[str, float] = {}
        self._last_problem = ("", 0.0)

    def count(self, reason: str) -> None:
        """Counts something that is no problem (an image skipped on purpose)."""
        with self._lock:
            self._counts[reason] += 1

    def problem(self, reason: str, message: str, error: Exception | None = None) -> None:
        """Counts a problem and says it, unless its kind was said a short while ago.

        ``error``: a fault of the program, said with its traceback; each of its types is a kind of its own.
        """
        message = shown(message)
        kind = reason if error is None else f"{reason}: {type(error).__name__}"
        now = time.monotonic()
        with self._lock:
            self._counts[reason] += 1
            count = self._counts[reason]
            self._last_problem = (f"{reason}: {message}", now)
            due = now - self._last_said.get(kind, -float("inf")) >= self._period
            if due:
                self._last_said[kind] = now
        if due:
            times = f" ({count} times so far)" if count > 1 else ""
            trace = "" if error is None else "\n" + "".join(traceback.format_exception(error))
            self._say(f"{reason}: {message}{times}{trace}")

    def counts(self) -> dict[str, int]:
        """A copy of the counts, sorted by reason."""
        with self._lock:
            return dict(sorted(self._counts.items()))

    @property
    def last_problem(self) -> tuple[str, float]:
        """Text of the newest problem ("" if there was none) and when it happened (``time.monotonic``)."""
        return self._last_problem

    def clear(self) -> None:
        """Sets all counts to zero. What was said a short while ago is still not said again."""
        with self._lock:
            self._counts.clear()


class Latencies:
    """Durations of the last ``size`` calls. Thread-safe."""

    def __init__(self, size: int = 300):
        self._lock = threading.Lock()
        self._milliseconds: deque[float] = deque(maxlen=size)

    def add(self, seconds: float) -> None:
        """Takes the duration of one call."""
        with self._lock:
            self._milliseconds.append(seconds * 1e3)

    def median_and_p99(self) -> tuple[float, float]:
        """In milliseconds; NaN before the first call."""
        with self._lock:
            values = sorted(self._milliseconds)
        if not values:
            return float("nan"), float("nan")
        return statistics.median(values), values[min(len(values) - 1, int(0.99 * len(values)))]


class Rate:
    """Events per second over a window, by whatever clock the caller passes. Thread-safe."""

    def __init__(self, window: float = 5.0):
        self._window = window
        self._lock = threading.Lock()
        self._times: deque[float] = deque(maxlen=2000)

    def tick(self, now: float) -> None:
        """One event at ``now`` seconds."""
        with self._lock:
            self._times.append(now)

    def per_second(self, now: float) -> float:
        """Rate over the window that ends at ``now``; a clock that was set back starts it anew."""
        with self._lock:
            if self._times and self._times[-1] > now + self._window:
                self._times.clear()
            while self._times and self._times[0] < now - self._window:
                self._times.popleft()
            return len(self._times) / self._window
