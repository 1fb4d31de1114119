"""From a photo on a phone to the goal sent: what web_node, memory and navigator take of it, without the Wi-Fi.

    python benchmarks/web_latency.py [--photos 50] [--megapixels 12] [--json FILE]

The simulator's robot explores a building for 40 s of its time. Then photos of where it was, of a phone's size, go to the
page's API one after the other: asked about, Go as soon as the answer is there, Stop. Times are wall time.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import socket
import tempfile
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
from PIL import Image

from kinaema_ros.nodes.client.joystick import DemoRobot
from kinaema_ros.nodes.client.processes import NodeProcesses, own_domain
from kinaema_ros.sim import Camera, generate_scene, render
from kinaema_ros.sim.tour import Tour

WORLD, EXPLORE_SECONDS = 7, 40.0


def measure(photos: int, megapixels: float) -> dict[str, float]:
    """Milliseconds, and how many photos the robot was sent to."""
    scene, rng, track = generate_scene(WORLD), np.random.default_rng(0), []
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    clock = "use_sim_time:=true"
    simulator = [f"world:={WORLD}", "publish_clock:=true", "real_time_factor:=4.0", "lockstep:=true", clock]
    nodes = {"simulator_node": simulator, "memory_node": [clock], "navigator_node": [clock]}
    nodes["web_node"] = [clock, f"port:={port}"]
    with own_domain(), tempfile.TemporaryDirectory() as logs, NodeProcesses(Path(logs), nodes) as processes:
        with DemoRobot(lambda _, pose: track.append(pose), processes.check) as robot:
            robot.wait_until_ready()
            robot.drive(Tour(scene, rng).command, EXPLORE_SECONDS, lambda: None)
        views = np.array(track)[rng.integers(0, len(track), photos)]
        files = [phone_photo(picture, megapixels) for picture in render(scene, views, Camera(640, 480))]
        times = [visit(f"http://127.0.0.1:{port}/api", file) for file in files]
    answered, sent = (np.array([t[i] for t in times if t[i] is not None]) * 1e3 for i in (0, 1))
    return {
        "photos": photos,
        "photo_mb": round(float(np.mean([len(file) for file in files])) / 1e6, 2),
        "sent": len(sent),
        **{
            f"{name}_{p}_ms": round(float(np.percentile(values, q)), 1)
            for name, values in (("photo_to_answer", answered), ("photo_to_goal_sent", sent))
            for p, q in (("p50", 50), ("p99", 99))
        },
    }


def phone_photo(picture: np.ndarray, megapixels: float) -> bytes:
    """A JPEG of a phone's size, as its camera writes it but for the EXIF data: the robot's camera took it."""
    height = round(math.sqrt(megapixels * 1e6 * 3 / 4))
    buffer = io.BytesIO()
    Image.fromarray(picture).resize((height * 4 // 3, height), Image.Resampling.BICUBIC).save(
        buffer, "JPEG", quality=92
    )
    return buffer.getvalue()


def visit(api: str, photo: bytes) -> tuple[float, float | None]:
    """Seconds to the answer, and until the navigator had taken the goal; None where something refused."""
    began = time.perf_counter()
    answer = ask(f"{api}/photos", photo)
    answered = time.perf_counter() - began
    try:
        ask(f"{api}/goal", json.dumps({"photo": answer["id"]}).encode())
    except HTTPError:
        return answered, None
    sent = time.perf_counter() - began
    ask(f"{api}/stop", b"")
    return answered, sent


def ask(url: str, body: bytes) -> dict:
    """POSTs, and returns the JSON."""
    with urlopen(Request(url, body, {"X-Kinaema": "benchmark"}, method="POST"), timeout=60) as response:
        return json.load(response)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=int, default=50)
    parser.add_argument("--megapixels", type=float, default=12.0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    result = measure(arguments.photos, arguments.megapixels)
    print(json.dumps(result, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
