"""What a memory node says about itself: MemoryStatus and /diagnostics."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from kinaema_interfaces.msg import MemoryStatus
from kinaema_ros.nodes.memory.reports import Latencies, Rate

_LEVELS = {
    MemoryStatus.INACTIVE: DiagnosticStatus.OK,
    MemoryStatus.WAITING: DiagnosticStatus.WARN,
    MemoryStatus.LOCALIZING: DiagnosticStatus.WARN,
    MemoryStatus.RUNNING: DiagnosticStatus.OK,
    MemoryStatus.HOLD: DiagnosticStatus.ERROR,
    MemoryStatus.FAILED: DiagnosticStatus.ERROR,
}
_STATES = {
    MemoryStatus.INACTIVE: "inactive",
    MemoryStatus.WAITING: "waiting",
    MemoryStatus.LOCALIZING: "localizing",
    MemoryStatus.RUNNING: "running",
    MemoryStatus.HOLD: "on hold",
    MemoryStatus.FAILED: "failed",
}


@dataclass
class Tally:
    """Numbers since activation; ``add`` is thread-safe."""

    received: int = 0
    used: int = 0
    skipped: int = 0
    dropped: int = 0
    odometry: int = 0
    odometry_rejected: int = 0
    odometry_resets: int = 0
    queries: int = 0
    queries_failed: int = 0
    image_rate: Rate = field(default_factory=Rate)
    odometry_rate: Rate = field(default_factory=Rate)
    update_rate: Rate = field(default_factory=Rate)
    update_time: Latencies = field(default_factory=Latencies)
    query_time: Latencies = field(default_factory=Latencies)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, name: str) -> None:
        """One more of ``name``."""
        with self._lock:
            setattr(self, name, getattr(self, name) + 1)

    def fill(self, status: MemoryStatus, now: float) -> None:
        """Writes the numbers into a status; ``now`` is the rates' clock in seconds."""
        with self._lock:
            status.frames_received, status.frames_used = self.received, self.used
            status.frames_skipped, status.frames_dropped = self.skipped, self.dropped
            status.odometry_received, status.odometry_rejected = self.odometry, self.odometry_rejected
            status.odometry_resets = self.odometry_resets
            status.queries, status.queries_failed = self.queries, self.queries_failed
        status.image_rate_hz = self.image_rate.per_second(now)
        status.odometry_rate_hz = self.odometry_rate.per_second(now)
        status.update_rate_hz = self.update_rate.per_second(now)
        status.update_median_ms, status.update_p99_ms = self.update_time.median_and_p99()
        status.query_median_ms, status.query_p99_ms = self.query_time.median_and_p99()


def diagnostics(status: MemoryStatus, name: str, recent_problem: bool) -> DiagnosticArray:
    """The status as /diagnostics; a problem of the last seconds makes it a warning."""
    level = _LEVELS[status.state]
    if recent_problem:
        level = max(level, DiagnosticStatus.WARN)
    message = _STATES[status.state]
    if status.waiting_for:
        message += f" for {status.waiting_for}"
    elif level != DiagnosticStatus.OK and status.last_error:
        message += f": {status.last_error}"
    values = {
        key: getattr(status, key)
        for key in status.get_fields_and_field_types()
        if key not in ("header", "reasons", "reason_counts", "last_error_stamp", "state")
    }
    values.update(zip(status.reasons, status.reason_counts, strict=True))
    entry = DiagnosticStatus(level=level, name=f"{name}: memory", message=message, hardware_id=status.device)
    entry.values = [
        KeyValue(key=key, value=f"{value:.6g}" if isinstance(value, float) else str(value))
        for key, value in values.items()
    ]
    array = DiagnosticArray(status=[entry])
    array.header.stamp = status.header.stamp
    return array
