"""Small rosbag2 recordings for tests, written message by message as a robot's recorder would."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from kinaema_ros import geometry

TYPES = get_typestore(Stores.ROS2_HUMBLE)
START_NS = 1_700_000_000_000_000_000
PLUGINS = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}


def ns(seconds: float) -> int:
    """A stamp so many seconds after the start of the recording."""
    return START_NS + round(seconds * 1e9)


class Recorder:
    """Writes messages of named types; a topic comes to be with its first message."""

    def __init__(self, writer: Writer):
        self._writer = writer
        self._connections: dict[str, Any] = {}

    def topic(self, name: str, msgtype: str, qos: Sequence[Any] = ()) -> Any:
        """Announce a topic, which may stay empty."""
        if name not in self._connections:
            self._connections[name] = self._writer.add_connection(
                name, msgtype, typestore=TYPES, offered_qos_profiles=qos
            )
        return self._connections[name]

    def write(self, topic: str, message: Any, recorded_ns: int) -> None:
        connection = self.topic(topic, message.__msgtype__)
        self._writer.write(connection, recorded_ns, TYPES.serialize_cdr(message, message.__msgtype__))


@contextmanager
def recording(folder: Path, storage: str = "mcap") -> Iterator[Recorder]:
    with Writer(folder, version=8, storage_plugin=PLUGINS[storage]) as writer:
        yield Recorder(writer)


def make(name: str, **fields: Any) -> Any:
    return TYPES.types[name](**fields)


def header(stamp_ns: int, frame_id: str) -> Any:
    stamp = make("builtin_interfaces/msg/Time", sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return make("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)


def pose(x: float, y: float, yaw: float, scale: float = 1.0) -> Any:
    """A planar pose; `scale` stretches the quaternion, which a valid one does not allow."""
    q = [scale * value for value in geometry.quaternion_from_yaw(yaw)]
    return make(
        "geometry_msgs/msg/Pose",
        position=make("geometry_msgs/msg/Point", x=float(x), y=float(y), z=0.3),
        orientation=make("geometry_msgs/msg/Quaternion", x=q[0], y=q[1], z=q[2], w=q[3]),
    )


def pose_stamped(stamp_ns: int, xyyaw: Any, frame_id: str = "map") -> Any:
    return make("geometry_msgs/msg/PoseStamped", header=header(stamp_ns, frame_id), pose=pose(*xyyaw))


def pose_with_covariance(stamp_ns: int, xyyaw: Any, frame_id: str = "map") -> Any:
    inner = make("geometry_msgs/msg/PoseWithCovariance", pose=pose(*xyyaw), covariance=np.zeros(36))
    return make("geometry_msgs/msg/PoseWithCovarianceStamped", header=header(stamp_ns, frame_id), pose=inner)


def odometry(stamp_ns: int, xyyaw: Any, frame_id: str = "odom", scale: float = 1.0) -> Any:
    zero = make("geometry_msgs/msg/Vector3", x=0.0, y=0.0, z=0.0)
    twist = make("geometry_msgs/msg/Twist", linear=zero, angular=zero)
    return make(
        "nav_msgs/msg/Odometry",
        header=header(stamp_ns, frame_id),
        child_frame_id="base_link",
        pose=make("geometry_msgs/msg/PoseWithCovariance", pose=pose(*xyyaw, scale), covariance=np.zeros(36)),
        twist=make("geometry_msgs/msg/TwistWithCovariance", twist=twist, covariance=np.zeros(36)),
    )


def image(stamp_ns: int, rgb: np.ndarray, encoding: str = "rgb8") -> Any:
    return make(
        "sensor_msgs/msg/Image",
        header=header(stamp_ns, "camera_optical_frame"),
        height=rgb.shape[0],
        width=rgb.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=rgb.shape[1] * 3,
        data=np.ascontiguousarray(rgb).reshape(-1),
    )


def compressed(stamp_ns: int, rgb: np.ndarray, suffix: str = "png") -> Any:
    _, data = cv2.imencode(f".{suffix}", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    return make(
        "sensor_msgs/msg/CompressedImage",
        header=header(stamp_ns, "camera_optical_frame"),
        format=suffix,
        data=data.reshape(-1),
    )


def camera_info(
    stamp_ns: int,
    width: int = 160,
    height: int = 120,
    focal: float = 80.0,
    model: str = "plumb_bob",
    lens: Sequence[float] = (0.0,) * 5,
    rectified_focal: float = 0.0,
) -> Any:
    """Of a camera whose images have the distortion of ``lens``; rectified ones have another focal length, and none."""
    p = np.zeros(12)
    p[[0, 2, 5, 6, 10]] = rectified_focal, width / 2, rectified_focal, height / 2, 1.0
    k = np.array([focal, 0, (width - 1) / 2, 0, focal, (height - 1) / 2, 0, 0, 1.0])
    region = make(
        "sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
    )
    return make(
        "sensor_msgs/msg/CameraInfo",
        header=header(stamp_ns, "camera_optical_frame"),
        height=height,
        width=width,
        distortion_model=model,
        d=np.array(lens, dtype=np.float64),
        k=k,
        r=np.eye(3).reshape(-1),
        p=p,
        binning_x=0,
        binning_y=0,
        roi=region,
    )


def static_transforms(*transforms: tuple[str, str, Sequence[float], Sequence[float]]) -> Any:
    """A message for /tf_static: parent, child, translation (3,) and quaternion (4,) x, y, z, w of each."""
    stamped = []
    for parent, child, (x, y, z), (qx, qy, qz, qw) in transforms:
        transform = make(
            "geometry_msgs/msg/Transform",
            translation=make("geometry_msgs/msg/Vector3", x=x, y=y, z=z),
            rotation=make("geometry_msgs/msg/Quaternion", x=qx, y=qy, z=qz, w=qw),
        )
        stamped.append(
            make(
                "geometry_msgs/msg/TransformStamped",
                header=header(START_NS, parent),
                child_frame_id=child,
                transform=transform,
            )
        )
    return make("tf2_msgs/msg/TFMessage", transforms=stamped)


def picture(seed: int, height: int = 120, width: int = 160) -> np.ndarray:
    """An image (H, W, 3) unlike that of any other seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST)


def drive_poses(count: int) -> np.ndarray:
    """True poses (count, 3) of a robot that drives a curve of 0.25 m steps."""
    poses = [np.array([2.0, -1.0, 0.5])]
    for index in range(count - 1):
        poses.append(geometry.compose(poses[-1], [0.25, 0.0, 0.3 * np.sin(0.7 * index)]))
    return np.array(poses)


def write_drive(
    folder: Path,
    storage: str = "mcap",
    frames: int = 12,
    map_T_odom: Any = (4.0, 3.0, 1.0),
    lens: Sequence[float] = (0.0,) * 5,
) -> None:
    """A drive with the topics of a usual robot: images at 1 Hz, odometry and truth at 10 Hz in two frames.

    Image i is picture(i), taken at ns(i) from drive_poses(frames)[i]; the odometry is exact.
    """
    true = drive_poses(frames)
    with recording(folder, storage) as recorder:
        for tick in range(10 * (frames - 1) + 1):
            index, stamp_ns = min(tick // 10, frames - 2), ns(tick / 10)
            here = geometry.interpolate(true[index], true[index + 1], tick / 10 - index)
            recorder.write("/odom", odometry(stamp_ns, geometry.between(map_T_odom, here)), stamp_ns)
            recorder.write("/ground_truth/pose", pose_stamped(stamp_ns, here), stamp_ns)
            if tick % 10 == 0:
                recorder.write("/camera/camera_info", camera_info(stamp_ns, lens=lens), stamp_ns)
                rgb = picture(tick // 10)
                recorder.write("/camera/image_raw/compressed", compressed(stamp_ns, rgb), stamp_ns)


def write_queries(folder: Path, frames: int, wanted: list[int], unseen: list[int] | None = None) -> Path:
    """queries.csv and queries/ for a drive of write_drive: the pictures of some of its frames, and others."""
    (folder / "queries").mkdir(parents=True)
    rows = ["file,x,y,yaw,seen"]
    true = drive_poses(frames)
    for index in [*wanted, *(unseen or [])]:
        seen = index in wanted
        x, y, yaw = true[index] if seen else (0.0, 0.0, 0.0)
        cv2.imwrite(str(folder / "queries" / f"{index}.png"), cv2.cvtColor(picture(index), cv2.COLOR_RGB2BGR))
        rows.append(f"{index}.png,{x:.9f},{y:.9f},{yaw:.9f},{str(seen).lower()}")
    (folder / "queries.csv").write_text("\n".join(rows) + "\n")
    return folder / "queries.csv"
