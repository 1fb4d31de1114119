#!/usr/bin/env python3
r"""How well the memory localises the robot on a recorded drive: what memory_node with publish_tf says, against the truth.

    python benchmarks/robot_pose.py ../shared/data/gazebo_bookstore/bag --json benchmarks/results/robot_pose.json
    python benchmarks/robot_pose.py ../shared/data/second_bookstore/bag --memory bookstore.safetensors

At every message of the odometry, the robot's pose in the memory's frame as the transform has it, which follows the memory
no faster than the node's parameters let it, is compared with the truth. ``--latency``: a frame counts so long after its
stamp. Two frames can be compared only where both are known: they are laid upon each other at the first frame, as odometry
alone is, and, as is usual for trajectories, so that the drive fits best (Umeyama, without scale). The ellipse is that of
~/pose after each update, laid upon each other at the first frame.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kinaema_ros import SpatialMemory, geometry
from kinaema_ros.correction import CorrectionLimits, SmoothCorrection
from kinaema_ros.estimate import Localization
from kinaema_ros.geometry import Array
from kinaema_ros.keyframes import KeyframeSelector
from kinaema_ros.metrics import ellipse_levels, pose_errors
from kinaema_ros.paths import default_checkpoint
from kinaema_ros.replay.bag import Recording, open_recording
from kinaema_ros.reporting import progress, write_json
from kinaema_ros.stamps import NANOSECONDS


@dataclass
class Update:
    """What the memory said after a frame, and the truth (3,) at its stamp."""

    stamp_ns: int
    said: Localization
    true: Array


def remember(memory: SpatialMemory, recording: Recording) -> list[Update]:
    """Drive; those updates after which it was known where the robot is."""
    assert recording.camera is not None
    assert recording.truth is not None
    memory.set_camera(recording.camera)
    selector, updates = KeyframeSelector(), []
    for frame in progress(
        recording.frames(), total=recording.image_topic.count, desc="remembering", unit="frame"
    ):
        if selector.select(frame.stamp_ns, frame.odom_pose):
            memory.update(frame.rgb(), frame.odom_pose, frame.tilt)
            said = memory.localization()
            if said is not None:
                updates.append(Update(frame.stamp_ns, said, recording.truth.at(frame.stamp_ns)))
    return updates


def published(updates: list[Update], stamps: Array, odometry: Array, latency: float) -> Array:
    """Poses (T, 3) of the robot in the memory's frame, as the transform has them at these stamps of the odometry (T, 3)."""
    correction, limits, newest, poses = SmoothCorrection(), CorrectionLimits(), 0, []
    before = stamps[0]
    for stamp, odom_T_base in zip(stamps, odometry, strict=True):
        while newest + 1 < len(updates) and updates[newest + 1].stamp_ns + latency * NANOSECONDS <= stamp:
            newest += 1
        target = updates[newest].said.memory_T_odom
        memory_T_odom = correction.follow(limits, target, odom_T_base, (stamp - before) / NANOSECONDS)
        poses.append(geometry.compose(memory_T_odom, odom_T_base))
        before = stamp
    return np.array(poses)


def laid_upon(poses: Array, true: Array) -> Array:
    """The poses (T, 3) moved as a whole so that positions fit the true ones best, in the least squares."""
    a, b = poses[:, :2] - poses[:, :2].mean(0), true[:, :2] - true[:, :2].mean(0)
    yaw = np.arctan2((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum(), (a * b).sum())
    turned = geometry.compose(np.array([0.0, 0.0, yaw]), poses)
    return turned + np.append(true[:, :2].mean(0) - turned[:, :2].mean(0), 0.0)


def summary(poses: Array, true: Array) -> dict[str, float]:
    """Errors of poses (T, 3)."""
    off, turned = pose_errors(poses, true)
    values = {}
    for name, errors in (("m", off), ("deg", np.degrees(turned))):
        for what, percentile in (("median", 50), ("p90", 90), ("max", 100)):
            values[f"{what}_{name}"] = float(np.percentile(errors, percentile))
    return values


def ellipses(updates: list[Update]) -> dict[str, float]:
    """Shares of the true positions within the ellipses, laid upon each other at the first update."""
    true_T_memory = geometry.compose(updates[0].true, geometry.inverse(updates[0].said.pose))
    said = geometry.compose(true_T_memory, [update.said.pose for update in updates[1:]])
    covariances = geometry.rotate_covariance(
        [update.said.covariance for update in updates[1:]], true_T_memory[2]
    )
    levels = ellipse_levels(said, [update.true for update in updates[1:]], covariances)
    return {f"inside_{p}_ellipse": float(np.mean(levels <= p / 100)) for p in (50, 90)}


def evaluate(recording: Recording, updates: list[Update], latency: float) -> list[dict[str, Any]]:
    """A record of each way to localise the robot and each way to lay the frames upon each other."""
    assert recording.truth is not None
    first, last = updates[0], updates[-1]
    stamps = np.array(recording.odom.stamps_ns)
    moments = (stamps >= first.stamp_ns + latency * NANOSECONDS) & (stamps <= last.stamp_ns)
    stamps, odometry = stamps[moments], recording.odom.poses[moments]
    true = np.array([recording.truth.at(int(stamp)) for stamp in stamps])
    true_T_memory = geometry.compose(first.true, geometry.inverse(first.said.pose))
    true_T_odom = geometry.compose(first.true, geometry.inverse(first.said.odom_pose))
    records = []
    for name, poses, frame, more in (
        ("odometry", odometry, true_T_odom, {}),
        ("memory", published(updates, stamps, odometry, latency), true_T_memory, ellipses(updates)),
    ):
        at_first = summary(geometry.compose(frame, poses), true)
        records.append({"by": name, "laid": "at the first", **at_first, **more})
        records.append({"by": name, "laid": "to fit best", **summary(laid_upon(poses, true), true)})
    return records


def main() -> None:
    """Drive, compare, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bag", type=Path)
    parser.add_argument("--odom-topic")
    parser.add_argument("--memory", type=Path, help="begin with a saved memory, which localises first")
    parser.add_argument("--latency", type=float, default=0.1, help="seconds (default: %(default)s)")
    parser.add_argument("--checkpoint", type=Path, default=default_checkpoint())
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    memory = SpatialMemory.from_checkpoint(arguments.checkpoint)
    if arguments.memory:
        memory.load(arguments.memory, localize=True)
    with open_recording(arguments.bag, odom_topic=arguments.odom_topic) as recording:
        updates = remember(memory, recording)
        records = evaluate(recording, updates, arguments.latency)
    print(f"{len(updates)} updates")
    for r in records:
        errors = "  ".join(
            f"{r[f'median_{u}']:.2f} {r[f'p90_{u}']:.2f} {r[f'max_{u}']:.2f} {u}" for u in ("m", "deg")
        )
        ellipse = f"  in 90 %: {100 * r['inside_90_ellipse']:.0f}" if "inside_90_ellipse" in r else ""
        print(f"{r['by']:<9} laid {r['laid']:<13} median, 90 %, most: {errors}{ellipse}")
    if arguments.json:
        write_json(arguments.json, records)


if __name__ == "__main__":
    main()
