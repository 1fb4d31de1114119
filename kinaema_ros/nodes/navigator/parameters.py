"""Parameters of navigator_node; config/kinaema.yaml says when to change which."""

from __future__ import annotations

from dataclasses import dataclass

from kinaema_ros.navigation.photo_drive import DriveLimits
from kinaema_ros.nodes.support.parameters import READ_ONLY, group
from kinaema_ros.settings import setting


@dataclass(frozen=True)
class NavigatorParameters:
    """Metres, radians, seconds."""

    autostart: bool = setting(
        True, "Configure and activate at start, without a lifecycle manager", when=READ_ONLY
    )
    bond: bool = setting(
        True,
        "Make a bond with Nav2's lifecycle manager while active, which shuts its nodes down when one falls silent",
        when=READ_ONLY,
    )
    drive: DriveLimits = group(DriveLimits(), when="for the next goal")
    goal_frame: str = setting(
        "odom",
        "Frame of the goals sent to Nav2: that of the odometry, of the base, or the map (needs TF)",
        choices=("odom", "base", "map"),
        when=READ_ONLY,
    )
    map_frame: str = setting("map", "Name of the frame that goal_frame 'map' means", when=READ_ONLY)
    query_timeout: float = setting(
        5.0, "Longest wait for the memory's answer (s of wall time)", low=0.1, high=60.0
    )
    nav2_timeout: float = setting(
        5.0,
        "Longest time that Nav2 may be absent, undecided or silent (s of wall time)",
        low=0.5,
        high=120.0,
    )
