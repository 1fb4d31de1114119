#!/usr/bin/env python3
r"""How soon a memory notices a lift that odometry does not, and how often it takes a robot for lifted that was not.

    python benchmarks/lifts.py --bag ../shared/data/gazebo_bookstore/bag
    python benchmarks/lifts.py --bag ../shared/data/real_office/holdout/bag --odom-topic /odom
    python benchmarks/lifts.py --scenes 8

The robot drives, by a recording or through procedural scenes with drifting odometry and a tenth of the furniture taken
away at half of the drive. Then, at every tenth keyframe of the second half:

- it is lifted to where it was at another time, 3 m and more away, and drives on as it did from there, while odometry goes
  on as if nothing had happened. A lift is noticed rightly where the robot is then within 1 m and 20 degrees of the truth;
- it drives on, but is made to doubt its odometry as if the view did not show what those before it did: a false alarm
  is a lift that it believes in.

Also told: how many of the keyframes begin a doubt by themselves.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from kinaema_ros import SpatialMemory, geometry
from kinaema_ros.camera import Intrinsics, Mount
from kinaema_ros.geometry import Array
from kinaema_ros.images import RGB
from kinaema_ros.keyframes import KeyframeSelector
from kinaema_ros.metrics import pose_errors
from kinaema_ros.model.seeking import PROVING, Seeking
from kinaema_ros.paths import default_checkpoint
from kinaema_ros.replay.bag import open_recording
from kinaema_ros.reporting import progress, write_json
from kinaema_ros.sim import (
    Camera,
    OdometryNoise,
    SceneConfig,
    explore,
    generate_scene,
    integrate_odometry,
    random_lighting,
    render,
)
from kinaema_ros.training.drives import intrinsics, mounted, without

STEP = 10  # keyframes between two lifts
LIFT = 3.0  # metres, at least
AFTER = 30  # keyframes that the robot drives on after it was lifted
WRONG, WRONG_TURN = 1.0, np.radians(20.0)
FIRST_SEED = 7_000_000


@dataclass
class Drive:
    """T keyframes."""

    name: str
    images: list[RGB]
    odometry: Array  # (T, 3)
    truth: Array  # (T, 3)
    camera: Intrinsics
    mount: Mount


@dataclass
class Lift:
    """What became of a lift."""

    drive: str
    noticed: bool = False
    views: int = 0  # until then
    metres: float = 0.0
    off: float = np.nan  # metres
    turned: float = np.nan  # radians

    @property
    def wrong(self) -> bool:
        """Noticed, but the robot is taken to be where it is not."""
        return self.noticed and (self.off > WRONG or self.turned > WRONG_TURN)


def recorded(bag: Path, odom_topic: str | None) -> Drive:
    """The keyframes of a recording."""
    selector = KeyframeSelector()
    images, odometry, truth = [], [], []
    with open_recording(bag, odom_topic=odom_topic) as recording:
        assert recording.camera is not None
        assert recording.truth is not None
        for frame in recording.frames():
            if selector.select(frame.stamp_ns, frame.odom_pose):
                images.append(frame.rgb())
                odometry.append(frame.odom_pose)
                truth.append(recording.truth.at(frame.stamp_ns))
        return Drive(bag.parent.name, images, np.array(odometry), np.array(truth), recording.camera, Mount())


def simulated(number: int, frames: int = 300) -> Drive:
    """A drive through a scene of 8 to 20 m, of which a tenth of the furniture is taken away at half time."""
    rng = np.random.default_rng([FIRST_SEED, number])
    scene = generate_scene(FIRST_SEED + number, SceneConfig(texture_seed=FIRST_SEED + number))
    poses = explore(scene, rng, frames)
    odometry = integrate_odometry(poses, OdometryNoise(0.02, 0.2), rng)
    camera, light = Camera(320, 240, z=float(rng.uniform(0.3, 1.0))), random_lighting(rng)
    half = frames // 2
    images = [
        *render(scene, poses[:half], camera, light),
        *render(without(scene, rng, 0.1), poses[half:], camera, light),
    ]
    return Drive(f"scene {number}", images, odometry, poses, intrinsics(camera), mounted(camera))


class Lifter:
    """A drive in memory as far as a keyframe, from which the robot is lifted or made to doubt."""

    def __init__(self, drive: Drive, checkpoint: Path):
        self.drive = drive
        self.memory = SpatialMemory.from_checkpoint(checkpoint)
        self.memory.set_camera(drive.camera, drive.mount)
        self.rng = np.random.default_rng(0)
        self.doubts = 0
        self.wrongly_lifted = 0

    def run(self) -> Iterator[tuple[Lift | None, bool]]:
        """For each place of lifts: what became of the lift, and whether a doubt was a false alarm."""
        drive, memory = self.drive, self.memory
        number = len(drive.images)
        for n in range(number):
            before = memory._seeking
            memory.update(drive.images[n], drive.odometry[n])
            self.doubts += memory._seeking is not None and memory._seeking is not before
            if n >= number // 2 and n % STEP == 0 and n + 1 < number:
                kept = memory._state, memory._seeking, memory.num_lifts
                memory._seeking = None
                lift = self._lift(n)
                memory._state, memory._seeking, memory.num_lifts = kept[0], None, 0
                alarm = self._doubt(n)
                memory._state, memory._seeking, memory.num_lifts = kept
                yield lift, alarm
        self.wrongly_lifted = memory.num_lifts

    def _lift(self, n: int) -> Lift | None:
        drive, memory = self.drive, self.memory
        last = len(drive.images) - AFTER
        far = np.hypot(*(drive.truth[:last] - drive.truth[n])[:, :2].T) >= LIFT
        if not far.any():
            return None
        to = int(self.rng.choice(np.nonzero(far)[0]))
        result, lifts = Lift(drive.name), memory.num_lifts
        # What odometry says at frame k of the drive after the lift, as if the robot stood at frame n.
        for k in range(to, to + AFTER):
            odometry = geometry.compose(
                drive.odometry[n], geometry.between(drive.odometry[to], drive.odometry[k])
            )
            if k > to:
                result.metres += float(np.hypot(*(drive.truth[k] - drive.truth[k - 1])[:2]))
            memory.update(drive.images[k], odometry)
            result.views += 1
            if memory.num_lifts > lifts:
                state = memory._state
                true = geometry.between(
                    drive.mount.camera_pose(drive.truth[0]), drive.mount.camera_pose(drive.truth[k])
                )
                off, turned = pose_errors(state.robot.numpy(), true)
                result.noticed, result.off, result.turned = True, float(off), float(turned)
                break
        return result

    def _doubt(self, n: int) -> bool:
        drive, memory = self.drive, self.memory
        memory._seeking = Seeking(memory._state, doubted=True)
        for k in range(n + 1, min(n + 1 + PROVING, len(drive.images))):
            memory.update(drive.images[k], drive.odometry[k])
            if memory.num_lifts or memory._seeking is None:
                break
        return memory.num_lifts > 0


def main() -> None:
    """Drive, lift, doubt."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bag", type=Path, action="append", default=[])
    parser.add_argument("--odom-topic", help="of the bags")
    parser.add_argument("--scenes", type=int, default=0, metavar="N", help="procedural drives")
    parser.add_argument("--checkpoint", type=Path, default=default_checkpoint())
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if not arguments.bag and not arguments.scenes:
        parser.error("nothing to drive through: give --bag BAG or --scenes N")
    torch.set_num_threads(1)
    lifts: list[Lift] = []
    alarms: list[bool] = []
    keyframes = doubts = wrongly = 0
    for source in [*arguments.bag, *range(arguments.scenes)]:
        drive = simulated(source) if isinstance(source, int) else recorded(source, arguments.odom_topic)
        lifter = Lifter(drive, arguments.checkpoint)
        for lift, alarm in progress(lifter.run(), total=len(drive.images) // 2 // STEP, desc=drive.name):
            lifts += [] if lift is None else [lift]
            alarms.append(alarm)
        keyframes, doubts = keyframes + len(drive.images), doubts + lifter.doubts
        wrongly += lifter.wrongly_lifted
    noticed = [lift for lift in lifts if lift.noticed]
    print(
        f"{len(lifts)} lifts: {len(noticed)} noticed, {sum(lift.wrong for lift in noticed)} of them wrongly; "
        f"{len(alarms)} doubts without one: {sum(alarms)} false alarms; "
        f"{keyframes} keyframes: {doubts} doubts, {wrongly} false alarms"
    )
    for name, values in (
        ("views", [lift.views for lift in noticed]),
        ("metres driven", [lift.metres for lift in noticed]),
        ("metres off", [lift.off for lift in noticed]),
        ("degrees off", np.degrees([lift.turned for lift in noticed]).tolist()),
    ):
        if values:
            median, most, worst = np.percentile(values, [50, 90, 100])
            print(f"{name:<14} median {median:.2f}, of 90 % {most:.2f}, most {worst:.2f}")
    if arguments.json:
        write_json(arguments.json, [vars(lift) for lift in lifts])


if __name__ == "__main__":
    main()
