#!/usr/bin/env python3
"""How often the camera recognises a photo where it was taken, and takes another place for it: both errors of an arrival.

    python benchmarks/compare_views.py ../shared/data/gazebo_bookstore/bag --queries ../shared/data/gazebo_bookstore/queries.csv
    python benchmarks/compare_views.py ../shared/data/gazebo_bookstore/bag --queries ../shared/data/phone_bookstore/queries.csv

The recording is driven through the memory; at keyframes of its second half each photo is compared with what the camera
sees: where it was taken ("at": within 0.35 m and 15 degrees), nearby ("near": 1 m and 20 degrees), and elsewhere (more
than 2.5 m off or turned by 50 degrees). One view a photo of each kind.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import torch

from kinaema_ros import SpatialMemory, geometry
from kinaema_ros.camera import photo_hfov
from kinaema_ros.comparison import Verdict
from kinaema_ros.geometry import Array
from kinaema_ros.images import read_image
from kinaema_ros.keyframes import KeyframeSelector
from kinaema_ros.paths import default_checkpoint
from kinaema_ros.replay.bag import open_recording
from kinaema_ros.replay.queries import Query, read_queries
from kinaema_ros.reporting import progress, write_json

AT, NEAR = (0.35, math.radians(15.0)), (1.0, math.radians(20.0))
ELSEWHERE = (2.5, math.radians(50.0))


def keyframe_poses(bag: Path) -> Array:
    """True poses (T, 3) of the frames that become updates."""
    selector = KeyframeSelector()
    with open_recording(bag) as recording:
        assert recording.truth is not None
        used = [f for f in recording.frames() if selector.select(f.stamp_ns, f.odom_pose)]
        return np.array([recording.truth.at(frame.stamp_ns) for frame in used])


def chosen(query: Query, poses: Array, rng: np.random.Generator) -> dict[str, int]:
    """A keyframe of the second half for each kind of view that there is of a photo."""
    distance, turn = np.full(len(poses), np.inf), np.full(len(poses), np.inf)
    if query.seen:
        step = geometry.between(np.array(query.pose), poses)
        distance, turn = np.hypot(step[:, 0], step[:, 1]), np.abs(step[:, 2])
    at = (distance < AT[0]) & (turn < AT[1])
    near = (distance < NEAR[0]) & (turn < NEAR[1]) & ~at
    elsewhere = (distance > ELSEWHERE[0]) | (turn > ELSEWHERE[1])
    late = np.arange(len(poses)) > len(poses) // 2
    kinds = {"at": at, "near": near, "elsewhere": elsewhere}
    return {kind: int(rng.choice(np.flatnonzero(m & late))) for kind, m in kinds.items() if (m & late).any()}


def main() -> None:
    """Drive, compare, count."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bag", type=Path)
    parser.add_argument("--queries", type=Path, required=True, metavar="CSV")
    parser.add_argument("--checkpoint", type=Path, default=default_checkpoint())
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    poses, rng = keyframe_poses(arguments.bag), np.random.default_rng(0)
    due: dict[int, list[tuple[str, Query]]] = defaultdict(list)
    for query in read_queries(arguments.queries):
        for kind, moment in chosen(query, poses, rng).items():
            due[moment].append((kind, query))
    memory, selector, number = SpatialMemory.from_checkpoint(arguments.checkpoint), KeyframeSelector(), 0
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    with open_recording(arguments.bag) as recording:
        assert recording.camera is not None
        memory.set_camera(recording.camera)
        for frame in progress(recording.frames(), total=recording.image_topic.count, desc="driving"):
            if not selector.select(frame.stamp_ns, frame.odom_pose):
                continue
            rgb = frame.rgb()
            for kind, query in due[number]:
                photo = read_image(query.path)
                long_side = math.radians(query.hfov_deg)
                hfov = photo_hfov(photo.shape[1], photo.shape[0], long_side) if long_side else None
                counts[kind][
                    memory.compare(photo, rgb, frame.odom_pose, hfov, tilt=frame.tilt).verdict.name
                ] += 1
            memory.update(rgb, frame.odom_pose, frame.tilt)
            number += 1
    for kind in ("at", "near", "elsewhere"):
        total = sum(counts[kind].values())
        shares = ", ".join(f"{v.name.lower()} {counts[kind][v.name] / max(total, 1):.1%}" for v in Verdict)
        print(f"{kind:<10} {total:4d} views: {shares}")
    if arguments.json:
        write_json(arguments.json, counts)


if __name__ == "__main__":
    main()
