"""Does memory_node stay as it is? A robot drives to and fro at full rate, and is asked now and then.

    python benchmarks/soak.py [--minutes 20] [--json FILE]

The node is a process of its own. Every 10 s its memory, threads and descriptors are written down; in the end they are
compared with those after the warm-up, a quarter of the time that begins with many queries at once: memory within 2 %, the
others the same. Exit status 1 if not.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
from nav_msgs.msg import Odometry
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from kinaema_interfaces.msg import MemoryStatus
from kinaema_interfaces.srv import QueryPose
from kinaema_ros import geometry
from kinaema_ros.errors import KinaemaError
from kinaema_ros.nodes.client.processes import NodeProcesses, own_domain
from kinaema_ros.nodes.support import messages
from kinaema_ros.nodes.support.spinning import SpinningNode
from kinaema_ros.nodes.support.waiting import wait_until
from kinaema_ros.reporting import number, table, write_json
from kinaema_ros.sim import Camera, explore, generate_scene, render

CAMERA = Camera(640, 480)
PICTURES = 60  # of a drive, there and back
IMAGE_HZ, ODOMETRY_PER_IMAGE = 15.0, 4
QUERY_S, SAMPLE_S = 2.0, 10.0
WARM_UP = 0.25  # of the time
BURST = 30  # queries at once at each sample of the warm-up, so that the executor has made all of its threads
FLAT = 0.02


@dataclass(frozen=True)
class Sample:
    """What the node takes and has done, ``seconds`` after the first image."""

    seconds: float
    rss_mb: float
    threads: int
    descriptors: int
    frames_received: int
    updates: int
    answers: int


class Driver:
    """Publishes a drive there and back, for ever, and asks for its pictures."""

    def __init__(self, ros: SpinningNode):
        scene = generate_scene(3)
        poses = explore(scene, np.random.default_rng(3), PICTURES)
        there = [
            (messages.rgb_msg(rgb), pose)
            for rgb, pose in zip(render(scene, poses, CAMERA), poses, strict=True)
        ]
        self._drive = cycle(there + there[-2:0:-1])
        self._photos = cycle([image for image, _ in there[:: PICTURES // 10]])
        self._before = poses[0]
        self._images = ros.node.create_publisher(Image, "image", QoSProfile(depth=5))
        self._odometry = ros.node.create_publisher(Odometry, "odom", QoSProfile(depth=100))
        self._query = ros.node.create_client(
            QueryPose, "kinaema_memory/query_pose", qos_profile=QoSProfile(depth=100)
        )
        self.answers = 0

    def ready(self) -> bool:
        """Whether the node hears all of it."""
        heard = all(publisher.get_subscription_count() for publisher in (self._images, self._odometry))
        return heard and self._query.service_is_ready()

    def step(self) -> None:
        """The odometry up to the next picture, and the picture; takes as long as it does on the robot."""
        image, pose = next(self._drive)
        began, step = time.monotonic(), geometry.between(self._before, pose)
        for part in range(1, ODOMETRY_PER_IMAGE + 1):
            message = Odometry(child_frame_id="base_link")
            message.header.frame_id, message.header.stamp = "odom", messages.time_msg(time.time_ns())
            message.pose.pose = messages.pose_msg(
                geometry.compose(self._before, step * part / ODOMETRY_PER_IMAGE)
            )
            self._odometry.publish(message)
            if part == ODOMETRY_PER_IMAGE:
                image.header.stamp = message.header.stamp
                self._images.publish(image)
            time.sleep(max(0.0, began + part / ODOMETRY_PER_IMAGE / IMAGE_HZ - time.monotonic()))
        self._before = pose

    def ask(self) -> None:
        """Where was a picture of the drive taken? The answer is counted when it comes."""
        future = self._query.call_async(QueryPose.Request(image=next(self._photos), frame_id="odom"))
        future.add_done_callback(self._on_answer)

    def _on_answer(self, future: object) -> None:
        self.answers += future.result().success


def soak(minutes: float, folder: Path) -> list[Sample]:
    """Drives for so long; the node's log goes to the folder. Raises KinaemaError if the node ends."""
    with own_domain(), NodeProcesses(folder, {"memory_node": []}) as processes:
        ros = SpinningNode("soak")
        try:
            driver, statuses, samples = Driver(ros), [MemoryStatus()], []
            ros.node.create_subscription(
                MemoryStatus, "kinaema_memory/status", lambda status: statuses.__setitem__(0, status), 10
            )
            wait_until(driver.ready, 60.0, processes.check)
            began = time.monotonic()
            asked = sampled = 0.0
            while (now := time.monotonic() - began) < 60 * minutes:
                driver.step()
                if now - asked >= QUERY_S:
                    asked = now
                    driver.ask()
                if now - sampled >= SAMPLE_S:
                    sampled = now
                    for _ in range(BURST if now < 60 * minutes * WARM_UP / 2 else 0):
                        driver.ask()
                    processes.check()
                    samples.append(sample(processes.pid("memory_node"), now, statuses[0], driver.answers))
                    print(line(samples[-1]), flush=True)
            return samples
        finally:
            ros.close()


def sample(pid: int, seconds: float, status: MemoryStatus, answers: int) -> Sample:
    """By /proc."""
    process = Path("/proc") / str(pid)
    words = dict(entry.split(":", 1) for entry in (process / "status").read_text().splitlines())
    return Sample(
        seconds=round(seconds, 1),
        rss_mb=int(words["VmRSS"].split()[0]) / 1024,
        threads=int(words["Threads"]),
        descriptors=len(list((process / "fd").iterdir())),
        frames_received=status.frames_received,
        updates=status.frames_used,
        answers=answers,
    )


def line(at: Sample) -> str:
    """For people."""
    return (
        f"{at.seconds:6.0f} s {at.rss_mb:7.1f} MB, {at.threads} threads, {at.descriptors} descriptors, "
        f"{at.frames_received} images, {at.updates} updates, {at.answers} answers"
    )


def judge(samples: list[Sample]) -> dict[str, object]:
    """The minute after the warm-up against the last: medians of memory, and all threads and descriptors since."""
    steady = samples[int(len(samples) * WARM_UP) :]
    few = max(1, min(6, len(steady) // 2))
    start, end = (statistics.median(s.rss_mb for s in part) for part in (steady[:few], steady[-few:]))
    summary = {"rss_start_mb": start, "rss_end_mb": end, "growth": end / start - 1.0}
    for name in ("threads", "descriptors"):
        values = [getattr(s, name) for s in steady]
        summary[f"{name}_least"], summary[f"{name}_most"] = min(values), max(values)
    steady_counts = all(summary[f"{n}_least"] == summary[f"{n}_most"] for n in ("threads", "descriptors"))
    return {**summary, "flat": abs(summary["growth"]) <= FLAT and steady_counts}


def main() -> int:
    """Run the command line; the exit status says whether the node stayed as it was."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=20.0, help="how long to drive (default 20)")
    parser.add_argument("--json", type=Path, help="write samples and summary here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            samples = soak(arguments.minutes, Path(folder))
        except (KinaemaError, TimeoutError) as error:
            print(f"soak: {error or 'memory_node does not come up'}", file=sys.stderr)
            return 1
    if len(samples) < 8:
        print("soak: too short to judge; drive for 2 minutes or more", file=sys.stderr)
        return 1
    summary = judge(samples)
    print(table([[key, number(value, 3)] for key, value in summary.items() if key != "flat"], ("", "")))
    print("flat" if summary["flat"] else "NOT flat")
    if arguments.json:
        write_json(arguments.json, {"summary": summary, "samples": [asdict(each) for each in samples]})
    return 0 if summary["flat"] else 1


if __name__ == "__main__":
    sys.exit(main())
