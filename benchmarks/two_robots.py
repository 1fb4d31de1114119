#!/usr/bin/env python3
"""How soon one robot finds itself in the memory of another one, with another camera at another height.

    python benchmarks/two_robots.py --scenes 8 --json two_robots.json

In procedural scenes of 8 to 20 m one robot explores (300 frames, about 60 m, drifting odometry) and saves; another one loads, is
switched on at twelve places of a way of its own through the same scene, and drives on until it is localized, for 40 frames at
most. A robot is localized wrongly if it is taken to be more than 0.5 m or 10 degrees from where it is.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from kinaema_ros import SpatialMemory, geometry
from kinaema_ros.camera import Mount
from kinaema_ros.metrics import pose_errors
from kinaema_ros.paths import default_checkpoint
from kinaema_ros.reporting import progress, write_json
from kinaema_ros.sim import (
    Camera,
    OdometryNoise,
    Scene,
    SceneConfig,
    explore,
    generate_scene,
    integrate_odometry,
    render,
)
from kinaema_ros.training.drives import intrinsics

LOW = Camera(320, 240, math.radians(90.0), z=0.3)
HIGH = Camera(640, 360, math.radians(69.0), z=1.0)
FRAMES, STARTS, DRIVEN = 300, 12, 40
NOISE = OdometryNoise(0.02, 0.2)
WRONG, WRONG_TURN = 0.5, np.radians(10.0)
FIRST_SEED = 8_000_000


@dataclass
class Start:
    """What became of a beginning; NaN where the robot was not localized."""

    pair: str
    scene: int
    frames: int = 0
    metres: float = np.nan
    off: float = np.nan  # metres
    turned: float = np.nan  # radians


def new_memory(camera: Camera) -> SpatialMemory:
    """An empty one of a robot with this camera."""
    memory = SpatialMemory.from_checkpoint(default_checkpoint())
    memory.set_camera(intrinsics(camera), Mount(z=camera.z))
    return memory


def explored(scene: Scene, camera: Camera, rng: np.random.Generator, path: Path) -> np.ndarray:
    """Saves what the first robot remembers; returns the true pose (3,) of its beginning."""
    memory = new_memory(camera)
    poses = explore(scene, rng, FRAMES)
    for pose, odometry in zip(poses, integrate_odometry(poses, NOISE, rng), strict=True):
        memory.update(render(scene, pose[None], camera)[0], odometry)
    memory.save(path)
    return poses[0]


def begun(
    start: Start,
    scene: Scene,
    camera: Camera,
    way: np.ndarray,
    odometry: np.ndarray,
    path: Path,
    origin: np.ndarray,
) -> Start:
    """The second robot, switched on at the first pose of a way (T, 3)."""
    memory = new_memory(camera)
    memory.load(path, localize=True)
    metres = 0.0
    for k, pose in enumerate(way):
        metres += float(np.hypot(*(pose - way[max(k - 1, 0)])[:2]))
        memory.update(render(scene, pose[None], camera)[0], geometry.between(odometry[0], odometry[k]))
        if memory.localized:
            off, turned = pose_errors(memory._state.robot.numpy(), geometry.between(origin, pose))
            return Start(start.pair, start.scene, k + 1, metres, float(off), float(turned))
    return start


def main() -> None:
    """Explore, begin."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    pairs = {
        "90 deg 0.3 m, the same": (LOW, LOW),
        "69 deg 1.0 m, then 90 deg 0.3 m": (HIGH, LOW),
        "90 deg 0.3 m, then 69 deg 1.0 m": (LOW, HIGH),
    }
    starts: list[Start] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "memory.safetensors"
        for number in progress(range(arguments.scenes), desc="scenes"):
            scene = generate_scene(FIRST_SEED + number, SceneConfig(texture_seed=FIRST_SEED + number))
            for name, (first, second) in pairs.items():
                rng = np.random.default_rng([FIRST_SEED, number])
                origin = explored(scene, first, rng, path)
                other = np.random.default_rng([FIRST_SEED + 1, number])
                way = explore(scene, other, STARTS * 10 + DRIVEN)
                odometry = integrate_odometry(way, NOISE, other)
                for at in range(0, STARTS * 10, 10):
                    part = slice(at, at + DRIVEN)
                    starts.append(
                        begun(Start(name, number), scene, second, way[part], odometry[part], path, origin)
                    )
    for name in pairs:
        of_pair = [start for start in starts if start.pair == name]
        found = [start for start in of_pair if start.frames]
        wrong = [start for start in found if start.off > WRONG or start.turned > WRONG_TURN]
        print(
            f"{name}: {len(of_pair)} beginnings, {len(found) - len(wrong)} localized, {len(wrong)} wrongly, "
            f"{len(of_pair) - len(found)} not within {DRIVEN} frames"
        )
        for what, values in (
            ("frames", [start.frames for start in found]),
            ("metres driven", [start.metres for start in found]),
            ("metres off", [start.off for start in found]),
            ("degrees off", np.degrees([start.turned for start in found]).tolist()),
        ):
            if values:
                median, most, worst = np.percentile(values, [50, 90, 100])
                print(f"  {what:<14} median {median:.2f}, of 90 % {most:.2f}, most {worst:.2f}")
    if arguments.json:
        write_json(arguments.json, [vars(start) for start in starts])


if __name__ == "__main__":
    main()
