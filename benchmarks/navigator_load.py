"""How much of a core the navigator takes while Nav2 drives: real Nav2 sends about 100 feedback messages a second.

    python benchmarks/navigator_load.py [--seconds 20] [--feedback-hz 100] [--odometry-hz 50] [--json FILE]

Nav2, the memory and the odometry are played by this process; CPU time is that of navigator_node alone.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import rclpy
from nav2_msgs.action import NavigateToPose
from nav_msgs.msg import Odometry
from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node

from kinaema_interfaces.action import NavigateToImage
from kinaema_interfaces.srv import QueryPose
from kinaema_ros.estimate import Estimate
from kinaema_ros.nodes.client.processes import NodeProcesses, own_domain
from kinaema_ros.nodes.support import messages
from kinaema_ros.nodes.support.spinning import Spinner, action_client
from kinaema_ros.nodes.support.waiting import wait_for, wait_until


class Surroundings(Node):
    """What a navigator talks to: the robot stands, Nav2 drives for ever."""

    def __init__(self, feedback_hz: float, odometry_hz: float):
        super().__init__("surroundings")
        group = ReentrantCallbackGroup()
        self._period, self.feedback = 1.0 / feedback_hz, 0
        self._odometry = self.create_publisher(Odometry, "odom", 10)
        self.create_timer(1.0 / odometry_hz, self._on_timer)
        self.create_service(QueryPose, "kinaema_memory/query_pose", self._on_query, callback_group=group)
        self.server = ActionServer(
            self,
            NavigateToPose,
            "navigate_to_pose",
            self._on_goal,
            callback_group=group,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
        )

    def _on_timer(self) -> None:
        message = Odometry(child_frame_id="base_link")
        message.header.frame_id, message.header.stamp = "odom", self.get_clock().now().to_msg()
        message.pose.pose = messages.pose_msg((0.0, 0.0, 0.0))
        self._odometry.publish(message)

    def _on_query(self, request: QueryPose.Request, response: QueryPose.Response) -> QueryPose.Response:
        estimate = Estimate((3.0, 0.0, 0.0), 0.01 * np.eye(3), 0.9, 0.9, (), 1, frame_id=request.frame_id)
        messages.fill_response(response, estimate)
        return response

    def _on_goal(self, handle: ServerGoalHandle) -> NavigateToPose.Result:
        feedback = NavigateToPose.Feedback(distance_remaining=3.0)
        due = time.monotonic()
        while not handle.is_cancel_requested:
            stamp = self.get_clock().now().to_msg()
            feedback.current_pose = messages.pose_stamped((0.0, 0.0, 0.0), "map", stamp)
            handle.publish_feedback(feedback)
            self.feedback += 1
            due += self._period
            time.sleep(max(0.0, due - time.monotonic()))
        handle.canceled()
        return NavigateToPose.Result()


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def process_of(module: str) -> int:
    """The number of this process's child that runs a module."""
    for number in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        if module in Path(f"/proc/{number}/cmdline").read_text():
            return int(number)
    raise RuntimeError(f"no child runs {module}")


def measure(seconds: float, feedback_hz: float, odometry_hz: float) -> dict[str, float]:
    """Shares of a core, idle and on a drive, and the feedback's true rate."""
    with own_domain(), tempfile.TemporaryDirectory() as logs:
        rclpy.init(args=[])
        around = Surroundings(feedback_hz, odometry_hz)
        spinner = Spinner(MultiThreadedExecutor(6), around)
        with NodeProcesses(Path(logs), {"navigator_node": []}):
            pid = process_of("navigator.node")
            client = action_client(around, NavigateToImage, "navigate_to_image")
            wait_until(client.server_is_ready, 60.0)
            time.sleep(2.0)
            shares = [share_of_a_core(pid, seconds)]
            photo = messages.rgb_msg(np.zeros((48, 64, 3), np.uint8))
            handle = wait_for(client.send_goal_async(NavigateToImage.Goal(image=photo)), 20.0)
            wait_until(lambda: around.feedback > 0, 20.0)
            sent = around.feedback
            shares.append(share_of_a_core(pid, seconds))
            rate = (around.feedback - sent) / seconds
            wait_for(handle.cancel_goal_async(), 20.0)
            wait_for(handle.get_result_async(), 20.0)
        spinner.end()
        around.destroy_node()
        rclpy.shutdown()
    idle, driving = (round(share, 3) for share in shares)
    return {
        "feedback_hz": round(rate, 1),
        "odometry_hz": odometry_hz,
        "idle_cores": idle,
        "driving_cores": driving,
    }


def share_of_a_core(pid: int, seconds: float) -> float:
    """CPU time of a process for each second of the next few."""
    before, started = cpu_seconds(pid), time.monotonic()
    time.sleep(seconds)
    return (cpu_seconds(pid) - before) / (time.monotonic() - started)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--feedback-hz", type=float, default=100.0)
    parser.add_argument("--odometry-hz", type=float, default=50.0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    record = measure(arguments.seconds, arguments.feedback_hz, arguments.odometry_hz)
    print(record)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([record], indent=1) + "\n")


if __name__ == "__main__":
    main()
