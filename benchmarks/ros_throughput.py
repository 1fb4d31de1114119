"""Do camera images reach the memory? What memory_node uses, passes over and loses, and how long each takes.

    python benchmarks/ros_throughput.py [--size 640x480 ...] [--rate 15 ...] [--processes 1 2] [--profile with without]
                                        [--seconds 30] [--json FILE]

For each combination a memory_node with its default parameters is started, and one process that publishes raw images and
odometry, or one for each. Odometry comes with every image, with its stamp, as from a simulator or a bag; the robot drives
1 m/s, so that about every fifth image of 15 Hz is a keyframe. With or without config/fastdds.xml.

lost: images that were published and neither used nor passed over as no keyframes. Latency: from an image's stamp to the end
of the update that it became, in milliseconds; an update itself takes ``update_ms``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from kinaema_ros.nodes.client.processes import own_domain
from kinaema_ros.reporting import table

SPEED = 1.0  # m/s
VIEWS = 16  # rendered ones, shown in turn
COLUMNS = (
    "size",
    "rate",
    "processes",
    "profile",
    "published",
    "used",
    "skipped",
    "lost",
    "p50_ms",
    "p99_ms",
    "cpu_ms",
)


# -- what runs in processes of its own -----------------------------------------------------------------------


def remember(result: Path) -> int:
    """memory_node, whose latencies and counts are written to a file when it has been stopped."""
    from kinaema_ros.nodes.memory import inputs, node
    from kinaema_ros.nodes.support.messages import stamp_ns

    latencies: list[float] = []
    costs: list[float] = []
    made: list[TimedInputs] = []

    class TimedInputs(inputs.MemoryInputs):
        def __init__(self, *arguments: Any):
            super().__init__(*arguments)
            made.append(self)

        def _update(self, message: inputs.AnyImage) -> None:
            used, started = self._monitor.tally.used, time.thread_time()
            super()._update(message)
            if self._monitor.tally.used > used:
                latencies.append((time.time_ns() - stamp_ns(message.header.stamp)) * 1e-6)
                costs.append((time.thread_time() - started) * 1e3)

    node.MemoryInputs = TimedInputs  # type: ignore[misc]
    status = node.main([])
    monitor = made[0]._monitor
    counts = {name: getattr(monitor.tally, name) for name in ("received", "used", "skipped", "dropped")}
    record = {**counts, "reasons": monitor._reports.counts(), "latencies": latencies}
    record["cpu_ms"] = float(np.median(costs)) if costs else None
    result.write_text(json.dumps(record))
    return status


def publish(result: Path, what: list[str], size: str, rate: float, seconds: float) -> int:
    """Images, odometry or both, at the ticks of a clock that both processes share."""
    import rclpy
    from nav_msgs.msg import Odometry
    from sensor_msgs.msg import Image

    from kinaema_ros.nodes.support import messages
    from kinaema_ros.nodes.support.starting import start_ros
    from kinaema_ros.sim import Camera, explore, generate_scene, render

    start_ros([])
    node = rclpy.create_node(f"throughput_{what[0]}")
    publishers: dict[str, Any] = {}
    if "images" in what:
        width, height = map(int, size.split("x"))
        scene = generate_scene(0)
        poses = explore(scene, np.random.default_rng(0), VIEWS)
        shown = [messages.rgb_msg(rgb) for rgb in render(scene, poses, Camera(width, height))]
        publishers["images"] = node.create_publisher(Image, "image", 5)
    if "odometry" in what:
        publishers["odometry"] = node.create_publisher(Odometry, "odom", 50)
    while not all(publisher.get_subscription_count() for publisher in publishers.values()):
        time.sleep(0.05)
    # The node follows the publishers' quality of service, and odometry begins before the images.
    time.sleep(1.0 if "odometry" in what else 2.0)
    tick = round(1e9 / rate)
    first = time.time_ns() // tick + 1
    # Of two processes the one with the odometry is ready first, and goes on until the last image has come.
    ticks = round((seconds + (0.0 if "images" in what else 5.0)) * rate)
    for number in range(first, first + ticks):
        stamp = number * tick
        time.sleep(max(0.0, (stamp - time.time_ns()) * 1e-9))
        for name, publisher in publishers.items():
            if name == "images":
                message = shown[number % VIEWS]
            else:
                message = Odometry(child_frame_id="base_link")
                message.pose.pose = messages.pose_msg((SPEED * (stamp - first * tick) * 1e-9, 0.0, 0.0))
            message.header.stamp, message.header.frame_id = messages.time_msg(stamp), "odom"
            publisher.publish(message)
    time.sleep(1.0)  # a message that was just published may still be on its way
    node.destroy_node()
    rclpy.shutdown()
    result.write_text(json.dumps({"published": ticks}))
    return 0


# -- one case ------------------------------------------------------------------------------------------------


def measure(size: str, rate: float, processes: int, profile: str, seconds: float) -> dict[str, Any]:
    """A record of one case."""
    roles = [["images", "odometry"]] if processes == 1 else [["odometry"], ["images"]]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if profile == "without":  # a user's own choice, which is what Fast DDS does by default
        environment["FASTDDS_BUILTIN_TRANSPORTS"] = "DEFAULT"
    with tempfile.TemporaryDirectory() as folder, own_domain() as domain:
        environment |= {"ROS_DOMAIN_ID": str(domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}

        def start(name: str, *role: str) -> subprocess.Popen[bytes]:
            command = [sys.executable, __file__, "--result", f"{folder}/{name}", *role]
            return subprocess.Popen(command, env=environment)

        node = start("node", "--role", "memory")
        options = ("--size", size, "--rate", str(rate), "--seconds", str(seconds))
        publishers = [start(role[0], "--role", *role, *options) for role in roles]
        try:
            for publisher in publishers:
                publisher.wait(seconds + 180.0)
            node.send_signal(signal.SIGINT)
            node.wait(60.0)
        finally:
            for process in (node, *publishers):
                process.kill()
                process.wait()
        counted = json.loads(Path(folder, "node").read_text())
        published = json.loads(Path(folder, "images").read_text())["published"]
    passed_over = sum(counted["reasons"].get(f"skipped_{reason}", 0) for reason in ("motion", "rate"))
    latencies = counted.pop("latencies")
    return {
        "size": size,
        "rate": rate,
        "processes": processes,
        "profile": profile,
        "published": published,
        **counted,
        "skipped": passed_over,
        "lost": published - counted["used"] - passed_over,
        "p50_ms": float(np.percentile(latencies, 50)) if latencies else None,
        "p99_ms": float(np.percentile(latencies, 99)) if latencies else None,
    }


def main() -> int:
    """Measure, print a table, and write the records on demand."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", nargs="+", default=["320x240", "640x480", "1280x720"])
    parser.add_argument("--rate", nargs="+", type=float, default=[15.0, 30.0], help="images a second")
    parser.add_argument(
        "--processes", nargs="+", type=int, choices=[1, 2], default=[1, 2], help="that publish"
    )
    parser.add_argument("--profile", nargs="+", choices=["with", "without"], default=["with", "without"])
    parser.add_argument("--seconds", type=float, default=30.0, help="of each case (default 30)")
    parser.add_argument("--json", type=Path, help="write the records here")
    parser.add_argument("--role", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.role == ["memory"]:
        return remember(arguments.result)
    if arguments.role:
        return publish(
            arguments.result, arguments.role, arguments.size[0], arguments.rate[0], arguments.seconds
        )
    cases = itertools.product(arguments.size, arguments.rate, arguments.processes, arguments.profile)
    records = []
    for case in cases:
        records.append(measure(*case, arguments.seconds))
        print(json.dumps(records[-1]), flush=True)
    rows = [
        tuple(f"{record[c]:.0f}" if isinstance(record[c], float) else str(record[c]) for c in COLUMNS)
        for record in records
    ]
    print("\n" + table(rows, COLUMNS))
    if arguments.json:
        arguments.json.write_text(json.dumps(records, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
