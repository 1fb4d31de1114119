"""What memory_node counts and says: the log, ~/status and /diagnostics."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from kinaema_interfaces.msg import MemoryStatus
from kinaema_ros.camera import Intrinsics, Mount
from kinaema_ros.errors import KinaemaError
from kinaema_ros.nodes.memory.reports import Reports, shown
from kinaema_ros.nodes.memory.status import Tally, diagnostics
from kinaema_ros.nodes.support.messages import time_msg
from kinaema_ros.odometry import Discontinuity, remedy

if TYPE_CHECKING:
    from kinaema_ros.memory import SpatialMemory
    from kinaema_ros.model.mount_check import MountError

# Seconds for which a problem makes /diagnostics a warning.
_RECENT = 10.0
_ACTIONS = {
    "hold": "Memory and answers are on hold",
    "localize": "Where the robot is now is looked for; nothing is written and no query answered until it is found. "
    "Turn or drive it where it has been, or call ~/reset to start anew",
    "continue": "Taken as a real motion of the robot, as the parameter says",
    "reanchor": "Taken as a new origin under a robot that stood still, so what is remembered stays valid; if it "
    "was moved meanwhile, call ~/reset",
    "reset": "The memory was emptied, as the parameter says",
}
_CLOCKS = {
    "clock_restart": "the odometry's stamps went back by seconds: a bag that loops or a simulation that started "
    "over. The memory is kept; call ~/reset if the place is another one",
    "clock_step": "the clock of the odometry was set back, or one message came from the future; the robot goes on "
    "from where it is. Keep the machines' clocks together (chrony)",
}


class MemoryMonitor:
    """Counters, reports and the two topics that carry them. Thread-safe."""

    def __init__(self, node: Node):
        self._node = node
        self.tally = Tally()
        self._reports = Reports(node.get_logger().warning)
        self._status = node.create_publisher(MemoryStatus, "~/status", 10)
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._memory: SpatialMemory | None = None
        self._fixed = {"checkpoint": "", "device": "", "hfov_deg": math.nan, "hfov_source": ""}
        self._progress = (0, 0)
        self.state, self.waiting_for, self.odom_frame = MemoryStatus.INACTIVE, "", ""

    # -- what happened ---------------------------------------------------------------------------------------

    def configured(self, checkpoint: str, device: str, memory: SpatialMemory | None) -> None:
        """A network was loaded, or freed (None)."""
        self._memory = memory
        self._fixed.update(checkpoint=checkpoint, device=device)

    def clear(self) -> None:
        """Counts start anew, at activation."""
        self.tally = Tally()
        self._reports.clear()

    def problem(self, reason: str, message: str) -> None:
        """Something that a person should know."""
        self._reports.problem(reason, message)

    def fault(self, reason: str, what: str, error: Exception) -> str:
        """Counts an error that no user can cause and logs its traceback. Returns it in words for the caller."""
        text = f"{what}: {type(error).__name__}: {error}"
        self._reports.problem(reason, text, error)
        return f"{shown(text)}. This is a fault of memory_node; its log has the traceback"

    def dropped(self, error: Exception) -> None:
        """An image that could not be used."""
        if isinstance(error, KinaemaError):
            self.problem(getattr(error, "reason", "image_refused"), str(error))
        else:
            self.fault("update_failed", "the memory did not take the image", error)
        self.tally.add("dropped")
        self.publish_status()

    def skipped(self, reason: str) -> None:
        """An image that was passed over on purpose."""
        self._reports.count(f"skipped_{reason}")
        self.tally.add("skipped")
        self.publish_status()

    def used(self, seconds: float) -> None:
        """An image became an update that took so long."""
        self.tally.update_time.add(seconds)
        self.tally.update_rate.tick(self._now() * 1e-9)
        self.tally.add("used")
        self.publish_status()

    def discontinuity(self, event: Discontinuity) -> None:
        """The odometry jumped, or its clock started over."""
        self.tally.add("odometry_resets")
        if event.reason in _CLOCKS:
            self.problem(event.reason, _CLOCKS[event.reason])
            return
        at_origin = event.reason == "odometry_reset"
        what, decided_by = ("its origin", "on_reset") if at_origin else ("another place", "on_jump")
        action = _ACTIONS[event.action]
        if event.action == "hold":
            action += f". {remedy(decided_by)}"
        self.problem(
            event.reason,
            f"the odometry jumped to {what}, {event.distance:.2f} m and {math.degrees(event.angle):.0f} "
            f"degrees in one message. {action}",
        )

    def lifted(self) -> None:
        """The camera has shown that the robot is elsewhere than its odometry says."""
        self.problem(
            "lift_noticed",
            "by what the camera sees the robot is elsewhere than its odometry says: it was lifted, or its wheels slipped. "
            "What was written since then is forgotten, and the memory goes on from where the robot is",
        )

    def mount(self, error: MountError, mount: Mount) -> None:
        """The camera is seen to look elsewhere than its mount says."""
        self.problem("camera_mount", error.remedy(mount))

    def camera(self, camera: Intrinsics, source: str) -> None:
        """The memory works with this camera from now on; ``source`` is "camera_info" or "parameter"."""
        degrees = math.degrees(camera.hfov)
        self._fixed.update(hfov_deg=degrees, hfov_source=source)
        if source == "parameter":
            topic = self._node.resolve_topic_name("camera_info")
            self.problem(
                "camera_info_missing",
                f"no usable camera_info on {topic}: assuming a horizontal field of view of {degrees:.1f} degrees "
                "(parameter hfov_deg); publish camera_info or set it",
            )
        if not 44.0 <= degrees <= 121.0:
            self.problem(
                "camera_field_of_view",
                f"the camera sees {degrees:.1f} degrees across; the memory was tried with 45 to 120, expect worse answers",
            )

    def query_answered(self, seconds: float) -> None:
        """A query was answered after so long."""
        self.tally.query_time.add(seconds)
        self.tally.add("queries")

    def query_failed(self, error: Exception) -> str:
        """A query has no answer; returns why, the reason first."""
        self.tally.add("queries")
        self.tally.add("queries_failed")
        if not isinstance(error, KinaemaError):
            return f"query_failed: {self.fault('query_failed', 'the memory could not answer', error)}"
        reason = getattr(error, "reason", "query_failed")
        self.problem(reason, str(error))
        return f"{reason}: {shown(str(error))}"

    # -- what is published -----------------------------------------------------------------------------------

    def publish_status(self) -> None:
        """Publishes the status: once a second, and after each image, so that a player can wait for it."""
        self._status.publish(self._message())

    def publish_all(self) -> MemoryStatus:
        """Status and diagnostics, once a second; returns the status."""
        if self.state == MemoryStatus.RUNNING and self._only_failures():
            self.state = MemoryStatus.FAILED
        status = self._message()
        self._status.publish(status)
        text, when = self._reports.last_problem
        recent = bool(text) and time.monotonic() - when < _RECENT
        self._diagnostics.publish(
            diagnostics(status, self._node.get_fully_qualified_name().lstrip("/"), recent)
        )
        return status

    def _only_failures(self) -> bool:
        """True if every image since the last call was dropped, and there were some."""
        good, bad = self.tally.used + self.tally.skipped, self.tally.dropped
        before, self._progress = self._progress, (good, bad)
        return good == before[0] and bad > before[1]

    def _message(self) -> MemoryStatus:
        status = MemoryStatus(state=self.state, waiting_for=self.waiting_for, **self._fixed)
        now = self._now()
        status.header.stamp, status.header.frame_id = time_msg(now), self.odom_frame
        self.tally.fill(status, now * 1e-9)
        counts = self._reports.counts()
        status.reasons, status.reason_counts = list(counts), list(counts.values())
        memory = self._memory  # once: a cleanup in another thread sets it to None
        if memory is not None:
            status.num_updates, status.state_bytes = memory.num_updates, memory.state_bytes
        text, when = self._reports.last_problem
        if text:
            age = int((time.monotonic() - when) * 1e9)
            status.last_error, status.last_error_stamp = text, time_msg(max(0, now - age))
        return status

    def _now(self) -> int:
        return self._node.get_clock().now().nanoseconds
