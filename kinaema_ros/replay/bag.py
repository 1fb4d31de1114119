"""Recorded drives: any rosbag2 (MCAP or sqlite3) with a camera and an odometry topic, read without ROS.

`open_recording` finds the topics, reads odometry, ground truth and camera, and hands out the images one by one,
each with the odometry interpolated at its stamp. Poses are planar (x, y, yaw), metres and radians, REP 103.
Stamps are those of the headers, integer nanoseconds; messages of a topic that nobody stamps count from the time at which
they were recorded.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore

from kinaema_ros import geometry
from kinaema_ros.camera import Intrinsics, Mount, is_rectified_topic
from kinaema_ros.errors import InputError
from kinaema_ros.images import DEPTH, RGB, decode_compressed, decode_image
from kinaema_ros.odometry import tilt_of
from kinaema_ros.replay.reader import blame_the_bag, open_reader
from kinaema_ros.replay.topics import BagError, Picture, Topic, choose_topics, named_picture
from kinaema_ros.stamps import NANOSECONDS, pose_at

# Odometry is not interpolated across a longer hole: a robot can have turned round in it.
MAX_ODOM_GAP_S = 1.0
UNSTAMPED = 5  # messages with the stamp 0 after which a topic counts as never stamped

# The message types read here are the same in every ROS 2 distribution, so that bags without type
# definitions (sqlite3 before Iron) and with newer ones are read alike.
_TYPES = get_typestore(Stores.ROS2_KILTED)


@dataclass(frozen=True)
class Track:
    """Poses of the robot over time. stamps_ns: (T,) int64, rising; poses: (T, 3), in the frame frame_id."""

    stamps_ns: NDArray[np.int64]
    poses: geometry.Array
    frame_id: str
    rejected: int = 0  # messages left out: NaN, infinite, no rotation
    child_frame_id: str = ""  # of odometry: the robot's base
    tilts: geometry.Array = field(default_factory=lambda: np.zeros((0, 2)))  # (T, 2) roll and pitch

    def tilt_at(self, stamp_ns: int) -> tuple[float, float]:
        """Roll and pitch at a stamp that has a pose."""
        roll, pitch = (float(np.interp(stamp_ns, self.stamps_ns, column)) for column in self.tilts.T)
        return roll, pitch

    def at(self, stamp_ns: int) -> geometry.Array | None:
        """The pose (3,) at a stamp, or None before the first, after the last, or in a hole of the track."""
        return pose_at(self.stamps_ns, self.poses, stamp_ns, MAX_ODOM_GAP_S * NANOSECONDS)


@dataclass(frozen=True)
class Frame:
    """One image of a recording, with the odometry (3,) at its stamp. `serialized` is the message as recorded."""

    stamp_ns: int
    odom_pose: geometry.Array
    tilt: tuple[float, float]  # roll and pitch of the base, radians; 0 where the odometry is planar
    serialized: bytes
    _message: Any

    def rgb(self) -> RGB:
        """The pixels, (H, W, 3) uint8. Raises InputError if the image is broken or its encoding unknown."""
        m = self._message
        if hasattr(m, "format"):
            return decode_compressed(m.format, m.data)
        return decode_image(m.encoding, m.height, m.width, m.step, bool(m.is_bigendian), m.data)


@dataclass
class Recording:
    """A recorded drive, open for reading. `camera` and `truth` are None where the bag has none.

    `dropped` counts, while `frames` runs, the images that it left out, by reason.
    """

    path: Path
    topics: list[Topic]
    image_topic: Topic
    odom_topic: Topic
    truth_topic: Topic | None
    camera: Intrinsics | None
    odom: Track
    truth: Track | None
    _reader: Reader = field(repr=False)
    dropped: Counter[str] = field(default_factory=Counter)

    def mount(self) -> Mount:
        """The camera's, from the bag's /tf_static: the pose of its optical frame on the odometry's child frame.

        Raises BagError where /tf_static does not lead from one to the other.
        """
        transforms = _read_static_transforms(self._reader, self.path)
        optical = _read_optical_frame(self._reader, self.path, self.image_topic).lstrip("/")
        base = self.odom.child_frame_id.lstrip("/") or "base_link"
        translation: geometry.Array = np.zeros(3)
        quaternion: geometry.Array = np.array([0.0, 0.0, 0.0, 1.0])
        at = optical
        while at != base:
            if at not in transforms:
                known = ", ".join(sorted(transforms)) or "nothing"
                raise BagError(
                    f"/tf_static leads from the camera's frame '{optical}' to '{at}', not to the base '{base}'; it has "
                    f"{known}. Give the mount as --camera-mount X,Y,Z,ROLL,PITCH,YAW"
                )
            at, t, q = transforms.pop(at)
            translation = t + geometry.rotate_by_quaternion(q, translation)
            quaternion = geometry.multiply_quaternions(q, quaternion)
        try:
            return Mount.from_optical(translation, quaternion)
        except InputError as error:
            raise BagError(
                f"/tf_static from the base '{base}' to the camera's frame '{optical}' is of no use: {error}. Give the "
                "mount as --camera-mount X,Y,Z,ROLL,PITCH,YAW"
            ) from error

    def frames(self) -> Iterator[Frame]:
        """The images in the order of recording. Raises BagError where the bag turns out to be broken."""
        self.dropped.clear()
        last_ns = -1
        for stamp_ns, message, serialized in _messages(self._reader, self.path, self.image_topic):
            odom_pose = self.odom.at(stamp_ns)
            if stamp_ns <= last_ns:
                self.dropped["stamp not after the one before"] += 1
            elif odom_pose is None:
                self.dropped["no odometry at the image's stamp"] += 1
            else:
                last_ns = stamp_ns
                yield Frame(stamp_ns, odom_pose, self.odom.tilt_at(stamp_ns), serialized, message)


@contextmanager
def open_recording(
    path: str | Path,
    image_topic: str | None = None,
    odom_topic: str | None = None,
    truth_topic: str | None = None,
) -> Iterator[Recording]:
    """Open a bag (its folder, or a single .mcap or .db3 file) and read all but its images.

    Topics that are not named are found by type (`topics.choose_topics`). Raises BagError, with what the
    bag has, if a topic is missing or the choice is not clear; and if the bag is missing or broken.
    """
    path = Path(path)
    reader = open_reader(path)
    try:
        topics = [
            Topic(name, info.msgtype or "several types", info.msgcount)
            for name, info in sorted(reader.topics.items())
        ]
        chosen = choose_topics(
            topics, image_topic, odom_topic, truth_topic, lambda topic: _picture(reader, path, topic)
        )
        odom = _read_track(reader, path, chosen.odom)
        if not len(odom.stamps_ns):
            raise BagError(f"none of the {odom.rejected} messages of {chosen.odom.name} holds a valid pose")
        rectified = is_rectified_topic(chosen.image.name)
        camera = _read_camera(reader, path, chosen.camera, rectified) if chosen.camera else None
        truth = _read_track(reader, path, chosen.truth) if chosen.truth else None
        yield Recording(path, topics, chosen.image, chosen.odom, chosen.truth, camera, odom, truth, reader)
    finally:
        reader.close()


def _messages(reader: Reader, path: Path, topic: Topic) -> Iterator[tuple[int, Any, bytes]]:
    """(stamp in nanoseconds, message, serialized) of a topic. Of one that nobody stamps, when it was recorded."""
    records = _records(reader, path, topic)
    first = list(islice(records, UNSTAMPED))
    stamped = any(_stamp(message) for _, message, _ in first)  # a simulation's first stamp is 0
    for recorded_ns, message, serialized in chain(first, records):
        yield _stamp(message) if stamped else recorded_ns, message, serialized


def _stamp(message: Any) -> int:
    return int(message.header.stamp.sec * NANOSECONDS + message.header.stamp.nanosec)


def _records(reader: Reader, path: Path, topic: Topic) -> Iterator[tuple[int, Any, bytes]]:
    """(recorded at, message, serialized) of a topic."""
    connections: list[Connection] = [c for c in reader.connections if c.topic == topic.name]
    with blame_the_bag(path):
        source = iter(reader.messages(connections=connections))
    while True:
        with blame_the_bag(path):
            record = next(source, None)
            if record is None:
                return
            _, recorded_ns, serialized = record
            message: Any = _TYPES.deserialize_cdr(serialized, topic.type)
        yield recorded_ns, message, bytes(serialized)


def _read_track(reader: Reader, path: Path, topic: Topic) -> Track:
    stamps: list[int] = []
    poses: list[tuple[float, float, float]] = []
    tilts: list[tuple[float, float]] = []
    frame_id, child_frame_id, rejected = "", "", 0
    for stamp_ns, message, _ in _messages(reader, path, topic):
        pose = message.pose.pose if hasattr(message.pose, "pose") else message.pose
        p, q = pose.position, pose.orientation
        try:
            yaw = geometry.checked_yaw(q.x, q.y, q.z, q.w)
        except InputError:
            yaw = math.nan
        if not math.isfinite(p.x + p.y + yaw):
            rejected += 1
            continue
        frame_id = message.header.frame_id
        child_frame_id = getattr(message, "child_frame_id", "")
        stamps.append(stamp_ns)
        poses.append((p.x, p.y, yaw))
        tilts.append(tilt_of(q.x, q.y, q.z, q.w))
    # Of messages with the same stamp the first stays: one instant has one pose.
    stamps_ns, first = np.unique(np.array(stamps, dtype=np.int64), return_index=True)
    return Track(
        stamps_ns,
        np.array(poses, dtype=np.float64).reshape(-1, 3)[first],
        frame_id,
        rejected,
        child_frame_id,
        np.array(tilts, dtype=np.float64).reshape(-1, 2)[first],
    )


def _read_camera(reader: Reader, path: Path, topic: Topic, rectified: bool) -> Intrinsics | None:
    """The first camera_info; None from a camera that was never calibrated (K all zero)."""
    for _, m, _ in _messages(reader, path, topic):
        try:
            return Intrinsics.from_camera_info(m, rectified)
        except InputError:
            return None
    return None


def _picture(reader: Reader, path: Path, topic: Topic) -> Picture:
    """What the first image shows."""
    for _, message, _ in _records(reader, path, topic):
        kind = message.format if hasattr(message, "format") else message.encoding
        if "compressedDepth" in kind or kind.startswith(DEPTH):
            return Picture.DEPTH
        if kind.startswith(("mono", "8UC1")):
            return min(Picture.GREY, named_picture(topic))  # some drivers call depth mono16
        return Picture.COLOUR
    return Picture.DEPTH


def _read_optical_frame(reader: Reader, path: Path, topic: Topic) -> str:
    """Of the first image."""
    for _, message, _ in _messages(reader, path, topic):
        return str(message.header.frame_id)
    return ""


def _read_static_transforms(
    reader: Reader, path: Path
) -> dict[str, tuple[str, geometry.Array, geometry.Array]]:
    """Of /tf_static: frame -> its parent, translation (3,) and quaternion (4,) x, y, z, w."""
    found = {}
    connections = [c for c in reader.connections if c.topic == "/tf_static"]
    with blame_the_bag(path):
        for connection, _, serialized in reader.messages(connections=connections) if connections else ():
            message: Any = _TYPES.deserialize_cdr(serialized, connection.msgtype)
            for transform in message.transforms:
                t, q = transform.transform.translation, transform.transform.rotation
                found[transform.child_frame_id.lstrip("/")] = (
                    transform.header.frame_id.lstrip("/"),
                    np.array([t.x, t.y, t.z]),
                    np.array([q.x, q.y, q.z, q.w]),
                )
    return found
