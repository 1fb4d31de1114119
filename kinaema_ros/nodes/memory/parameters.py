"""Parameters of memory_node; config/kinaema.yaml says when to change which."""

from __future__ import annotations

import math
from dataclasses import dataclass

from kinaema_ros.camera import Mount
from kinaema_ros.keyframes import KeyframeConfig
from kinaema_ros.nodes.support.parameters import parameter
from kinaema_ros.odometry import JUMP_POLICIES, OdometryLimits

_KEYFRAMES = KeyframeConfig()
_ODOMETRY = OdometryLimits()


@dataclass(frozen=True)
class MemoryParameters:
    """Metres, radians, seconds unless the name says otherwise."""

    autostart: bool = parameter(
        True, "Configure and activate at start, without a lifecycle manager", read_only=True
    )
    checkpoint: str = parameter(
        "", "Network weights (.safetensors); '' is the shipped one. Used at the next configure"
    )
    device: str = parameter(
        "cpu", "Device of the network: 'cpu', 'cuda', 'cuda:1'. Used at the next configure"
    )
    threads: int = parameter(1, "CPU threads of the network. Used at the next configure", low=1, high=64)

    image_transport: str = parameter(
        "auto",
        "'raw' takes image, 'compressed' image/compressed, 'auto' whichever is published, raw if both are",
        choices=("auto", "raw", "compressed"),
        read_only=True,
    )
    base_frame: str = parameter(
        "", "Name of the base frame; '' takes the odometry's child_frame_id", read_only=True
    )
    hfov_deg: float = parameter(
        90.0, "Horizontal field of view, used where camera_info is missing", low=60.0, high=110.0
    )
    query_hfov_deg: float = parameter(
        0.0,
        "Field of view of query photos across the longer side; 0: taken by the robot's camera",
        low=0.0,
        high=110.0,
    )
    camera_mount: str = parameter(
        "parameters",
        "Where the camera's pose on the base comes from: the camera_... parameters or TF",
        choices=("parameters", "tf"),
        read_only=True,
    )
    camera_x: float = parameter(0.0, "Camera ahead of the base's origin", low=-5.0, high=5.0)
    camera_y: float = parameter(0.0, "Camera left of the base's origin", low=-5.0, high=5.0)
    camera_yaw: float = parameter(
        0.0, "Heading of the camera on the base, left positive", low=-math.pi, high=math.pi
    )
    camera_pitch: float = parameter(0.0, "Tilt of the camera, down positive", low=-0.8, high=0.8)
    camera_roll: float = parameter(
        0.0, "Roll of the camera; pi for one upside down", low=-math.pi, high=math.pi
    )

    max_rate_hz: float = parameter(
        _KEYFRAMES.max_rate_hz,
        "Most memory updates a second of the images' clock; 0: no limit",
        low=0.0,
        high=1000.0,
    )
    min_distance: float = parameter(
        _KEYFRAMES.min_distance,
        "An image is used when the robot moved so far since the last ...",
        low=0.0,
        high=10.0,
    )
    min_angle: float = parameter(
        _KEYFRAMES.min_angle, "... or turned so far; both 0: every image", low=0.0, high=math.pi
    )

    odom_wait: float = parameter(
        1.0, "Longest wait for odometry as new as the image, wall time", low=0.0, high=10.0
    )
    odom_max_gap: float = parameter(
        _ODOMETRY.max_gap, "Longest silence of odometry bridged", low=0.01, high=60.0
    )
    max_odom_jump: float = parameter(
        _ODOMETRY.max_jump, "A longer step between two odometry messages is a jump", low=0.05, high=1000.0
    )
    max_odom_jump_yaw: float = parameter(
        _ODOMETRY.max_jump_yaw,
        "A larger turn between two odometry messages is a jump",
        low=0.05,
        high=math.pi,
    )
    on_odom_jump: str = parameter(
        _ODOMETRY.on_jump,
        "Odometry jumped: 'hold' until told, 'continue' (the robot was moved), 'reanchor' (it was not), "
        "'reset'",
        choices=JUMP_POLICIES,
    )
    on_odom_reset: str = parameter(
        _ODOMETRY.on_reset, "The same where the odometry jumped to its origin", choices=JUMP_POLICIES
    )
    stamp_tolerance: float = parameter(
        5.0, "How far ahead of the node's clock a stamp may be", low=0.0, high=3600.0
    )

    @property
    def hfov(self) -> float:
        """Radians."""
        return math.radians(self.hfov_deg)

    @property
    def mount(self) -> Mount:
        """The camera's pose on the base, from the parameters."""
        return Mount(self.camera_x, self.camera_y, self.camera_yaw, self.camera_pitch, self.camera_roll)

    @property
    def keyframes(self) -> KeyframeConfig:
        """Which images become updates."""
        return KeyframeConfig(self.min_distance, self.min_angle, self.max_rate_hz)

    @property
    def odometry(self) -> OdometryLimits:
        """What counts as a jump and what to do then."""
        return OdometryLimits(
            self.max_odom_jump,
            self.max_odom_jump_yaw,
            self.odom_max_gap,
            self.on_odom_jump,
            self.on_odom_reset,
        )
