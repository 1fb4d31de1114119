"""Real nodes in processes of their own, and the robot that the tests play towards them."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from rclpy.executors import MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_srvs.srv import Trigger

from kinaema_interfaces.msg import MemoryStatus
from kinaema_interfaces.srv import LoadMemory, QueryPose, SaveMemory
from kinaema_ros.nodes.client.processes import NODE_MODULES
from kinaema_ros.nodes.support import messages
from kinaema_ros.nodes.support.spinning import Spinner

ROOT = Path(__file__).resolve().parents[1]
# For nodes that no other test should hear. One that is refused or killed takes no leave: for 20 s its services seem to be
# there, and whoever asks for the name asks them.
OTHER_DOMAIN = str(50 + os.getpid() % 10)
DISCOVERY = 120.0  # seconds for a node to come up: importing torch on a busy machine is most of it


class NodeProcess:
    """One of our nodes, as a user starts it; its log is read from ``log``."""

    def __init__(self, executable: str, *arguments: str, ros_arguments: Sequence[str] = ()):
        self._log = tempfile.NamedTemporaryFile("w+", suffix=".log")  # noqa: SIM115  lives on
        command = [sys.executable, "-u", "-m", NODE_MODULES[executable]]
        self.process = subprocess.Popen(
            [*command, "--ros-args", *(a for p in arguments for a in ("-p", p)), *ros_arguments],
            cwd=ROOT,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "RCUTILS_LOGGING_USE_STDOUT": "1", "OMP_NUM_THREADS": "1"},
        )

    @property
    def log(self) -> str:
        """What the node has said so far."""
        return Path(self._log.name).read_text()

    def stop(self, number: int = signal.SIGINT, timeout: float = 60.0) -> int:
        """Sends a signal; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait(timeout)

    def wait(self, timeout: float = 60.0) -> int:
        """The exit status of a process that ends by itself."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the node did not end within {timeout} s:\n{self.log}") from None


class Ros:
    """A node in this process whose callbacks run in a thread; the base of what the tests play."""

    def __init__(self, name: str, namespace: str = "", threads: int = 1):
        if not rclpy.ok():
            # Signals are pytest's: rclpy's handler would swallow a time limit's SIGTERM.
            rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node(name, namespace=namespace)
        executor = SingleThreadedExecutor() if threads == 1 else MultiThreadedExecutor(threads)
        self._spinner = Spinner(executor, self.node)

    def close(self) -> None:
        """Ends the thread and the node."""
        self._spinner.end()
        self.node.destroy_node()

    def call(self, client: Any, request: Any, timeout: float = 30.0) -> Any:
        """Calls a service and returns its response."""
        assert client.wait_for_service(timeout_sec=DISCOVERY), f"no service {client.srv_name}"
        return self.result(client.call_async(request), timeout)

    def result(self, future: Any, timeout: float = 30.0) -> Any:
        """Waits for a future."""
        wait_until(future.done, timeout, "a future")
        return future.result()


def wait_until(condition: Callable[[], bool], timeout: float = 30.0, what: str = "") -> None:
    """Polls, quickly, until ``condition`` holds; fails the test after ``timeout`` seconds.

    A condition may be about another process, its log or the graph of nodes, which notify nobody: so all are polled.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout} s in vain for {what or condition}"
        time.sleep(0.005)


def tf2_where_it_is_missing(patch: pytest.MonkeyPatch) -> None:
    """Processes that are started from now on find a tf2_ros: the real one, else the stand-in."""
    if importlib.util.find_spec("tf2_ros") is None:
        patch.setenv("PYTHONPATH", str(ROOT / "test" / "stand_ins"), prepend=os.pathsep)


def frame(seed: int, height: int = 120, width: int = 160) -> np.ndarray:
    """An image (H, W, 3) unlike that of any other seed: 6 x 8 fields, which no motion of a camera lays on those of another.

    Corners on one grid would fit each other whatever the fields' colours.
    """
    rng = np.random.default_rng(seed)
    fields = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    rows, columns = (np.sort(rng.integers(0, n, size)) for n, size in ((6, height), (8, width)))
    return fields[rows][:, columns]


def image_msg(rgb: np.ndarray, seconds: float = 0.0) -> Image:
    """An rgb8 message of an array (H, W, 3), stamped."""
    message = messages.rgb_msg(rgb)
    message.header.stamp = messages.time_msg(round(seconds * 1e9))
    return message


def odometry_msg(pose: Sequence[float], seconds: float, frame_id: str = "odom") -> Odometry:
    """Odometry of base_link."""
    message = Odometry(child_frame_id="base_link")
    message.header.frame_id, message.header.stamp = frame_id, messages.time_msg(round(seconds * 1e9))
    message.pose.pose = messages.pose_msg(pose)
    return message


class Robot(Ros):
    """Publishes what a robot publishes, hears what memory_node says, and asks it."""

    def __init__(self, namespace: str = "", reliability: ReliabilityPolicy = ReliabilityPolicy.RELIABLE):
        super().__init__("test_robot", namespace)
        qos = QoSProfile(depth=50, reliability=reliability)
        node = self.node
        self.image = node.create_publisher(Image, "image", qos)
        self.compressed = node.create_publisher(CompressedImage, "image/compressed", qos)
        self.odom = node.create_publisher(Odometry, "odom", qos)
        self.camera_info = node.create_publisher(CameraInfo, "camera_info", qos)
        self.statuses: list[MemoryStatus] = []
        self.diagnostics: list[DiagnosticArray] = []
        node.create_subscription(MemoryStatus, "kinaema_memory/status", self.statuses.append, 100)
        node.create_subscription(DiagnosticArray, "/diagnostics", self.diagnostics.append, 100)
        self.query_client = node.create_client(QueryPose, "kinaema_memory/query_pose")
        self.reset_client = node.create_client(Trigger, "kinaema_memory/reset")
        self.save_client = node.create_client(SaveMemory, "kinaema_memory/save")
        self.load_client = node.create_client(LoadMemory, "kinaema_memory/load")
        # The robot's clock: stamps only ever grow, in whatever test, and stay behind the node's clock.
        self.now = time.time() - 1000.0
        self.x = 0.0

    def status(
        self, condition: Callable[[MemoryStatus], bool], timeout: float = 30.0, what: str = ""
    ) -> MemoryStatus:
        """Waits for a status from now on that meets a condition."""
        seen = len(self.statuses)
        wait_until(lambda: any(map(condition, self.statuses[seen:])), timeout, what or "a status")
        return next(s for s in self.statuses[seen:] if condition(s))

    def connected(self, publisher: Any) -> None:
        """Waits until somebody subscribes."""
        wait_until(
            lambda: publisher.get_subscription_count() > 0, DISCOVERY, f"a subscriber of {publisher.topic}"
        )

    def drive(self, metres: float = 0.3) -> float:
        """Odometry of a step ahead, around a stamp that is returned: an image of that stamp can be paired."""
        self.connected(self.odom)
        self.now += 0.2
        self.odom.publish(odometry_msg((self.x, 0.0, 0.0), self.now - 0.05))
        self.x += metres
        self.odom.publish(odometry_msg((self.x, 0.0, 0.0), self.now + 0.05))
        return self.now

    def until_heard(self, odom_pose: Sequence[float] | None = None, frame_id: str = "odom") -> None:
        """Stands there, or where it is, until the node has heard odometry: DDS may lose what is sent while the two sides meet."""
        pose = (self.x, 0.0, 0.0) if odom_pose is None else odom_pose

        def heard() -> bool:
            if self.statuses and self.statuses[-1].odometry_received:
                return True
            self.now += 0.05
            self.odom.publish(odometry_msg(pose, self.now, frame_id))
            return False

        wait_until(heard, DISCOVERY, "odometry to be heard")

    def remember(self, *seeds: int) -> MemoryStatus:
        """Drives and sees the frames of these seeds, each of which becomes an update."""
        self.connected(self.image)
        self.until_heard()
        for seed in seeds:
            self.show(image_msg(frame(seed), self.drive()))
        return self.statuses[-1]

    def show(self, message: Image) -> None:
        """Publishes an image and waits until the node is done with it."""
        wait_until(lambda: bool(self.statuses), DISCOVERY, "a first status")
        before = self.statuses[-1].frames_received
        self.image.publish(message)

        def done() -> bool:
            s = self.statuses[-1]
            return s.frames_received != before and (
                s.frames_received == s.frames_used + s.frames_skipped + s.frames_dropped
            )

        wait_until(done, what="the image to be handled")

    def quiet(self) -> MemoryStatus:
        """Waits until no image has come for a second, and all are done with."""

        def still() -> bool:
            now = self.statuses[-1]
            done = now.frames_received == now.frames_used + now.frames_skipped + now.frames_dropped
            before = [s for s in self.statuses if now.header.stamp.sec - s.header.stamp.sec >= 2]
            return done and bool(before) and before[-1].frames_received == now.frames_received

        wait_until(still, what="the images to end")
        return self.statuses[-1]

    def reset(self) -> None:
        """Empties the memory."""
        assert self.call(self.reset_client, Trigger.Request()).success
        self.x = 0.0

    def ask(self, request: QueryPose.Request) -> QueryPose.Response:
        """Asks where a photo was taken."""
        return self.call(self.query_client, request)

    def where(self, seed: int, frame_id: str = "") -> QueryPose.Response:
        """Asks for the frame of a seed."""
        return self.ask(QueryPose.Request(image=image_msg(frame(seed)), frame_id=frame_id))


def counts(status: MemoryStatus) -> dict[str, int]:
    """Reasons and their counts."""
    return dict(zip(status.reasons, status.reason_counts, strict=True))
