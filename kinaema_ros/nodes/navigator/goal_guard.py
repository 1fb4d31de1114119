"""A process that outlives its navigator for a moment, to cancel the goals that it left running in Nav2.

A navigator that is killed, or whose machine runs out of memory, cannot cancel anything, and Nav2 would
drive on. The navigator starts this module with its first goal and writes a line for each goal to its standard
input: ``+`` and the goal's id in hexadecimal before it sends the goal, ``-`` and the id when the goal has ended.
The end of the input means that the navigator is gone. Until then nothing of ROS is loaded, so the guard costs a
sleeping interpreter.

    python -m kinaema_ros.nodes.navigator.goal_guard /navigate_to_pose
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterable
from typing import Any

_PATIENCE = 15.0  # seconds for Nav2 to be discovered and to answer


class GoalGuard:
    """The navigator's end: starts the process with the first goal, reports goals to it, ends it."""

    def __init__(self, action: str):
        self._action = action
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def began(self, goal: uuid.UUID) -> None:
        """A goal is about to be sent."""
        with self._lock:
            if self._process is None:
                self._process = self._start()
            self._write(f"+{goal.hex}\n")

    def ended(self, goal: uuid.UUID) -> None:
        """A goal has a result, or was refused."""
        with self._lock:
            self._write(f"-{goal.hex}\n")

    def close(self) -> None:
        """Lets the guard go, which cancels what was never reported as ended; the next goal starts another."""
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        # With goals to cancel it takes longer, and ends by itself.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=1.0)

    def _start(self) -> subprocess.Popen[str]:
        # A session of its own: a Ctrl-C at the terminal must not take the guard along with its navigator.
        return subprocess.Popen(
            [sys.executable, "-m", "kinaema_ros.nodes.navigator.goal_guard", self._action],
            stdin=subprocess.PIPE,
            text=True,
            bufsize=1,
            start_new_session=True,
        )

    def _write(self, line: str) -> None:
        if self._process is None:  # closed: it has done its work
            return
        assert self._process.stdin is not None
        # Never fatal: a guard that somebody killed leaves goals unguarded.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(line)


def running_goals(lines: Iterable[str]) -> list[uuid.UUID]:
    """The goals that began and did not end, when the lines do."""
    goals: dict[uuid.UUID, None] = {}
    for line in lines:
        goal = uuid.UUID(hex=line[1:].strip())
        if line[0] == "+":
            goals[goal] = None
        else:
            goals.pop(goal, None)
    return list(goals)


def cancel(action: str, goals: list[uuid.UUID]) -> int:
    """Cancels the goals of an action server; returns how many it agreed to."""
    import rclpy
    from action_msgs.srv import CancelGoal

    rclpy.init(args=[])
    node = rclpy.create_node(f"kinaema_goal_guard_{uuid.uuid4().hex[:8]}")
    client: Any = node.create_client(CancelGoal, f"{action}/_action/cancel_goal")
    agreed = 0
    if client.wait_for_service(timeout_sec=_PATIENCE):
        for goal in goals:
            request = CancelGoal.Request()
            request.goal_info.goal_id.uuid = list(goal.bytes)
            future = client.call_async(request)
            rclpy.spin_until_future_complete(node, future, timeout_sec=_PATIENCE)
            agreed += bool(future.done() and future.result().goals_canceling)
    node.get_logger().warning(f"the navigator ended with {len(goals)} goals running; {agreed} canceled")
    node.destroy_node()
    rclpy.shutdown()
    return agreed


def main() -> int:
    """Waits for the end of the standard input; returns the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    goals = running_goals(sys.stdin)
    if goals:
        cancel(sys.argv[1], goals)
    return 0


if __name__ == "__main__":
    sys.exit(main())
