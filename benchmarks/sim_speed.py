"""How fast the simulator is on one core: scenes, paths and viewpoints per call, images per second.

    python benchmarks/sim_speed.py [--scenes 20] [--json FILE]

CPU time of this thread, fastest of several repeats: other programs on the machine matter little.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from kinaema_ros.sim import Camera, explore, generate_scene, render, sample_viewpoints

STEPS, VIEWS = 64, 24


def best(action: Callable[[], object], repeats: int = 5) -> float:
    """CPU seconds of the fastest repeat."""
    times = []
    for _ in range(repeats):
        start = time.thread_time()
        action()
        times.append(time.thread_time() - start)
    return min(times)


def measure(scenes: int) -> list[dict[str, object]]:
    """A record for each kind of work: ``what``, ``mean_ms`` over the scenes, and ``per_second``."""
    render(generate_scene(0), explore(generate_scene(0), np.random.default_rng(0), 2))  # compile
    cameras = {
        "64x48": Camera(64, 48),
        "160x120": Camera(160, 120),
        "320x240": Camera(),
        "320x240 pitched": Camera(pitch=0.2),
        "640x480": Camera(640, 480),
    }
    sums: dict[str, list[float]] = {}
    for seed in range(scenes):
        scene = generate_scene(seed)
        poses = explore(scene, np.random.default_rng(seed), STEPS)
        actions: dict[str, Callable[[], object]] = {
            "scene": lambda seed=seed: generate_scene(seed),
            f"path of {STEPS} steps": lambda s=scene: explore(s, np.random.default_rng(0), STEPS),
            f"{VIEWS} viewpoints": lambda s=scene, p=poses: sample_viewpoints(
                s, np.random.default_rng(0), p, VIEWS
            ),
        }
        for name, action in actions.items():
            sums.setdefault(name, []).append(best(action))
        for name, camera in cameras.items():
            some = poses[:: 1 if camera.width < 640 else 16]
            seconds = best(lambda s=scene, p=some, c=camera: render(s, p, c))
            sums.setdefault(f"image {name}", []).append(seconds / len(some))
    return [
        {"what": name, "mean_ms": 1e3 * float(np.mean(t)), "per_second": 1.0 / float(np.mean(t))}
        for name, t in sums.items()
    ]


def main() -> None:
    """Measure, print a line for each kind of work, and write the records on demand."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=20, help="how many scenes to average over (default 20)")
    parser.add_argument("--json", type=Path, help="write the records here")
    arguments = parser.parse_args()
    records = measure(arguments.scenes)
    for record in records:
        print(f"{record['what']:24} {record['mean_ms']:9.3f} ms {record['per_second']:9.0f} /s")
    if arguments.json:
        arguments.json.write_text(json.dumps(records, indent=2) + "\n")


if __name__ == "__main__":
    main()
