"""What carries ROS's messages: is it installed, and do camera images fit through it? Imports nothing of ROS itself."""

from __future__ import annotations

from collections.abc import Mapping

from kinaema_ros.paths import shipped

_PROFILE, _PROFILE_OF_FAST_DDS_2 = "FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"
# By each of these a user may have decided on the transports.
_USERS_OWN = (_PROFILE, _PROFILE_OF_FAST_DDS_2, "FASTDDS_BUILTIN_TRANSPORTS")


def fast_dds_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The variable that makes Fast DDS use config/fastdds.xml; none where the user has set any such variable.

    Other middlewares do not read it.
    """
    if any(environment.get(name) for name in _USERS_OWN):
        return {}
    name = _PROFILE_OF_FAST_DDS_2 if environment.get("ROS_DISTRO") == "jazzy" else _PROFILE
    return {name: str(shipped("config/fastdds.xml"))}


def missing_rmw(environment: Mapping[str, str]) -> str:
    """What to tell a user whose RMW_IMPLEMENTATION names one that is not installed; "" where all is well.

    ROS itself ends the process as rclpy is imported, and names no remedy.
    """
    wanted = environment.get("RMW_IMPLEMENTATION", "")
    try:
        from ament_index_python import get_resources

        installed = {name for name in get_resources("rmw_typesupport") if name != "rmw_implementation"}
    except (ImportError, OSError):  # no index, no ROS; whoever imports rclpy says so
        return ""
    if not wanted or not installed or wanted in installed:
        return ""
    package = wanted.replace("_", "-")
    return (
        f"RMW_IMPLEMENTATION is '{wanted}', which is not installed; installed: {', '.join(sorted(installed))}. Unset the "
        f"variable, or install ros-{environment.get('ROS_DISTRO', '<distribution>')}-{package}"
    )
