"""Parameters of memory_node; config/kinaema.yaml says when to change which."""

from __future__ import annotations

import math
from dataclasses import dataclass

from kinaema_ros.camera import MAX_HFOV_DEG, MIN_HFOV_DEG, Mount
from kinaema_ros.correction import CorrectionLimits
from kinaema_ros.errors import InputError
from kinaema_ros.keyframes import KeyframeConfig
from kinaema_ros.model.config import MAX_EMBEDDINGS, MIN_EMBEDDINGS
from kinaema_ros.nodes.support.parameters import AT_CONFIGURE, READ_ONLY, group
from kinaema_ros.odometry import OdometryLimits
from kinaema_ros.settings import setting


@dataclass(frozen=True)
class TransformConfig(CorrectionLimits):
    """How the memory's localisation is published, where ``publish_tf`` asks for it."""

    rate_hz: float = setting(
        20.0, "Transforms a second of the node's clock", low=1.0, high=100.0, when=READ_ONLY
    )
    tolerance: float = setting(
        0.2,
        "A transform is valid so long after the odometry that it was made with (s); AMCL's transform_tolerance",
        low=0.0,
        high=10.0,
    )


@dataclass(frozen=True)
class MemoryParameters:
    """Metres, radians, seconds unless the name says otherwise."""

    autostart: bool = setting(
        True, "Configure and activate at start, without a lifecycle manager", when=READ_ONLY
    )
    bond: bool = setting(
        True,
        "Make a bond with Nav2's lifecycle manager while active, which shuts its nodes down when one falls silent",
        when=READ_ONLY,
    )
    checkpoint: str = setting("", "Network weights (.safetensors); '' is the shipped one", when=AT_CONFIGURE)
    device: str = setting("cpu", "Device of the network: 'cpu', 'cuda', 'cuda:1'", when=AT_CONFIGURE)
    num_embeddings: int = setting(
        0,
        f"Places that the memory holds, about one for each square metre (at least {MIN_EMBEDDINGS}); 0: the checkpoint's",
        low=0,
        high=MAX_EMBEDDINGS,
        when=AT_CONFIGURE,
    )
    threads: int = setting(1, "CPU threads of the network", low=1, high=64, when=AT_CONFIGURE)
    memory_dir: str = setting(
        "",
        "Folder of the files of ~/save and ~/load; '' is kinaema in $ROS_HOME, or in ~/.ros",
        when=READ_ONLY,
    )

    load_at_start: str = setting(
        "",
        "Name of the memory with which the node begins: it finds out where the robot is, and goes on; '' is an empty one",
        when=AT_CONFIGURE,
    )
    autosave_period: float = setting(
        0.0,
        "Time between two saves to the memory of load_at_start or of the last ~/load, or to 'autosave' (s of wall time), "
        "and one at the end; 0: none",
        low=0.0,
        high=86400.0,
    )

    image_transport: str = setting(
        "auto",
        "'raw' takes image, 'compressed' image/compressed, 'auto' raw images, the compressed ones while none come",
        choices=("auto", "raw", "compressed"),
        when=READ_ONLY,
    )
    base_frame: str = setting(
        "", "Name of the base frame; '' takes the odometry's child_frame_id", when=READ_ONLY
    )
    image_is_rectified: str = setting(
        "auto",
        "Whether the images are rectified: 'auto' takes those of a topic such as image_rect for it; of others the "
        "distortion in camera_info is used",
        choices=("auto", "always", "never"),
        when=READ_ONLY,
    )
    hfov_deg: float = setting(
        90.0,
        "Horizontal field of view (degrees), used where camera_info is missing",
        low=MIN_HFOV_DEG,
        high=MAX_HFOV_DEG,
    )
    query_hfov_deg: float = setting(
        0.0,
        f"Field of view of query photos across the longer side (degrees, at least {MIN_HFOV_DEG:g}), where "
        "neither a query nor the photo's EXIF data names one; 0: taken by the robot's camera",
        low=0.0,
        high=MAX_HFOV_DEG,
    )
    camera_mount: str = setting(
        "parameters",
        "Where the camera's pose on the base comes from: the parameters camera.* or TF",
        choices=("parameters", "tf"),
        when=READ_ONLY,
    )
    camera: Mount = group(Mount())
    keyframes: KeyframeConfig = group(KeyframeConfig())
    odometry: OdometryLimits = group(OdometryLimits())
    publish_tf: bool = setting(
        False,
        "Localise the robot: publish the transform from memory_frame to the odometry's frame, and ~/pose",
        when=READ_ONLY,
    )
    memory_frame: str = setting("map", "Name of the memory's frame, of publish_tf", when=READ_ONLY)
    tf: TransformConfig = group(TransformConfig())
    stamp_tolerance: float = setting(
        5.0, "How far ahead of the node's clock a stamp may be (s)", low=0.0, high=3600.0
    )

    def __post_init__(self) -> None:
        if 0.0 < self.query_hfov_deg < MIN_HFOV_DEG:
            raise InputError(f"query_hfov_deg is {self.query_hfov_deg}, must be 0 or at least {MIN_HFOV_DEG}")
        if 0 < self.num_embeddings < MIN_EMBEDDINGS:
            raise InputError(
                f"num_embeddings is {self.num_embeddings}, must be 0 or at least {MIN_EMBEDDINGS}"
            )

    @property
    def hfov(self) -> float:
        """Radians."""
        return math.radians(self.hfov_deg)
