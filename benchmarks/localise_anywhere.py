#!/usr/bin/env python3
r"""How soon, and how well, a saved memory finds a robot whose odometry begins anew, from many places of a second drive.

    python benchmarks/localise_anywhere.py ../shared/data/gazebo_bookstore/bag ../shared/data/second_bookstore/bag --json starts.json
    python benchmarks/localise_anywhere.py ../shared/data/gazebo_bookstore/bag ../shared/data/real_office/second_pass/bag \\
        --odom-topic /ground_truth/pose --foreign

The first recording fills the memory. Of the second one every keyframe is asked once; then each fifth keyframe is a
beginning, from which the robot drives on until it is localized. A robot is localized wrongly if it is taken to be more than
0.5 m or 10 degrees from where it is. ``--foreign``: the second recording is of another place, where every localisation is
wrong. Both must have their ground truth in one frame, but for ``--foreign``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from kinaema_ros import SpatialMemory, geometry
from kinaema_ros.anchoring import Anchoring, View
from kinaema_ros.geometry import Array
from kinaema_ros.images import RGB
from kinaema_ros.keyframes import KeyframeSelector
from kinaema_ros.metrics import pose_errors
from kinaema_ros.paths import default_checkpoint
from kinaema_ros.replay.bag import Frame, Recording, open_recording
from kinaema_ros.reporting import progress, write_json

STEP = 5  # keyframes between two beginnings
LEAST = 5  # keyframes that are left at the last beginning
WRONG, WRONG_TURN = 0.5, np.radians(10.0)


@dataclass
class Start:
    """What became of a beginning; NaN where the robot was not localized before the recording ended."""

    seconds: float = np.nan
    metres: float = np.nan
    off: float = np.nan  # metres
    turned: float = np.nan  # radians


def keyframes(recording: Recording, what: str) -> Iterator[tuple[Frame, RGB]]:
    """The frames that become updates."""
    selector = KeyframeSelector()
    for frame in progress(recording.frames(), total=recording.image_topic.count, desc=what, unit="frame"):
        if selector.select(frame.stamp_ns, frame.odom_pose):
            yield frame, frame.rgb()


def remember(memory: SpatialMemory, bag: Path) -> Array:
    """Fill the memory; returns the true pose (3,) of the robot at the last update."""
    with open_recording(bag) as recording:
        assert recording.camera is not None
        assert recording.truth is not None
        memory.set_camera(recording.camera)
        for frame, rgb in keyframes(recording, "remembering"):
            memory.update(rgb, frame.odom_pose, frame.tilt)
        return recording.truth.at(frame.stamp_ns)


def ask(
    memory: SpatialMemory, map_T_robot: Array, bag: Path, odom_topic: str | None
) -> list[tuple[int, View, Array]]:
    """Stamp, answer and true pose (3,) of each keyframe, poses in the robot's frame at the memory's last update."""
    asked = []
    with open_recording(bag, odom_topic=odom_topic) as recording:
        assert recording.camera is not None
        assert recording.truth is not None
        memory.set_camera(recording.camera)
        for frame, rgb in keyframes(recording, "asking"):
            answer = memory.locate(rgb)
            view = View(frame.odom_pose, np.array(answer.pose), answer.confidence)
            asked.append(
                (frame.stamp_ns, view, geometry.between(map_T_robot, recording.truth.at(frame.stamp_ns)))
            )
    return asked


def drive_on(places: Array, asked: list[tuple[int, View, Array]]) -> Start:
    """From the first keyframe until the robot is localized."""
    anchoring, metres = Anchoring(places), 0.0
    before = asked[0][1].odom_T_view
    for stamp, view, true in asked:
        metres += float(np.hypot(*(view.odom_T_view - before)[:2]))
        before = view.odom_T_view
        if anchoring.wants(view.odom_T_view):
            anchoring.add(view)
        if anchoring.memory_T_odom is not None:
            off, turned = pose_errors(geometry.compose(anchoring.memory_T_odom, view.odom_T_view), true)
            return Start((stamp - asked[0][0]) * 1e-9, metres, float(off), float(turned))
    return Start()


def main() -> None:
    """Fill, ask, begin everywhere."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("first", type=Path, metavar="BAG", help="that the memory is made of")
    parser.add_argument("second", type=Path, metavar="BAG", help="that the robot is lost in")
    parser.add_argument("--odom-topic", help="of the second")
    parser.add_argument("--foreign", action="store_true", help="the second is of another place")
    parser.add_argument("--checkpoint", type=Path, default=default_checkpoint())
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    memory = SpatialMemory.from_checkpoint(arguments.checkpoint)
    map_T_robot = remember(memory, arguments.first)
    asked = ask(memory, map_T_robot, arguments.second, arguments.odom_topic)
    starts = [drive_on(memory.viewpoints, asked[n:]) for n in range(0, len(asked) - LEAST, STEP)]
    found = [start for start in starts if not np.isnan(start.seconds)]
    wrong = [start for start in found if arguments.foreign or start.off > WRONG or start.turned > WRONG_TURN]
    print(
        f"{len(starts)} beginnings: {len(found) - len(wrong)} localized, {len(wrong)} localized wrongly, "
        f"{len(starts) - len(found)} still looking at the end"
    )
    for name, values in (
        ("seconds", [start.seconds for start in found]),
        ("metres driven", [start.metres for start in found]),
        ("metres off", [start.off for start in found]),
        ("degrees off", np.degrees([start.turned for start in found]).tolist()),
    ):
        if values:
            median, most, worst = np.percentile(values, [50, 90, 100])
            print(f"{name:<14} median {median:.2f}, of 90 % {most:.2f}, most {worst:.2f}")
    if arguments.json:
        write_json(arguments.json, [vars(start) for start in starts])


if __name__ == "__main__":
    main()
