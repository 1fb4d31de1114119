"""Parameters of navigator_node; config/kinaema.yaml says when to change which."""

from __future__ import annotations

from dataclasses import dataclass

from kinaema_ros.navigation.photo_drive import DriveLimits
from kinaema_ros.nodes.support.parameters import parameter


@dataclass(frozen=True)
class NavigatorParameters:
    """Metres, radians, seconds."""

    autostart: bool = parameter(
        True, "Configure and activate at start, without a lifecycle manager", read_only=True
    )
    min_seen: float = parameter(
        DriveLimits.min_seen,
        "Refuse photos less likely seen than this, where a goal names no limit",
        low=0.0,
        high=1.0,
    )
    position_tolerance: float = parameter(
        DriveLimits.position_tolerance,
        "Replace Nav2's goal when the estimate moved farther, where a goal names none",
        low=0.01,
        high=5.0,
    )
    yaw_tolerance: float = parameter(
        DriveLimits.yaw_tolerance,
        "Replace Nav2's goal when the estimate turned more, where a goal names none",
        low=0.01,
        high=3.15,
    )
    requery_period: float = parameter(
        DriveLimits.requery_period,
        "Ask the memory again so often while driving (the node's clock)",
        low=0.2,
        high=60.0,
    )
    max_corrections: int = parameter(
        DriveLimits.max_corrections,
        "How often a robot that arrived may be sent on because the estimate moved",
        low=0,
        high=20,
    )
    goal_frame: str = parameter(
        "odom",
        "Frame of the goals sent to Nav2: that of the odometry, of the base, or the map (needs TF)",
        choices=("odom", "base", "map"),
        read_only=True,
    )
    map_frame: str = parameter("map", "Name of the frame that goal_frame 'map' means", read_only=True)
    query_timeout: float = parameter(5.0, "Longest wait for the memory, wall time", low=0.1, high=60.0)
    nav2_timeout: float = parameter(
        5.0, "Longest that Nav2 may be absent, undecided or silent, wall time", low=0.5, high=120.0
    )
    goal_timeout: float = parameter(
        DriveLimits.goal_timeout, "Longest a goal may take (the node's clock)", low=1.0, high=86400.0
    )
