"""Nav2 without its localisation, on a map or without one: the map's server and Nav2's own navigation_launch.py."""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node, PushROSNamespace, SetRemap
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

FILES = {
    "map": (
        ("worlds", "example", "map.yaml"),
        "The map, as `kinaema world` or Nav2's map_saver has written it; empty: none",
    ),
    "params_file": (("config", "nav2.yaml"), "Parameters of Nav2 (YAML)"),
}
ARGUMENTS = {
    "namespace": ("", "Namespace of all nodes, and of TF"),
    "use_sim_time": ("false", "Time comes from /clock"),
    "autostart": ("true", "Configure and activate Nav2; false: a lifecycle manager does"),
    "log_level": ("info", "Of Nav2: debug, info, warn or error"),
}


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` asks for."""
    share = FindPackageShare("kinaema_ros")
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(
                    name, default_value=PathJoinSubstitution([share, *path]), description=description
                )
                for name, (path, description) in FILES.items()
            ),
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, (default, description) in ARGUMENTS.items()
            ),
            OpaqueFunction(function=_nav2),
        ]
    )


def _nav2(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    argument = LaunchConfiguration
    namespace = argument("namespace").perform(context).strip("/")
    prefix = f"/{namespace}" if namespace else ""
    autostart = {"autostart": ParameterValue(argument("autostart"), value_type=bool)}
    map_server = [
        _node("nav2_map_server", "map_server", "map_server", {"yaml_filename": argument("map")}),
        _node(
            "nav2_lifecycle_manager",
            "lifecycle_manager",
            "lifecycle_manager_map",
            {"node_names": ["map_server"], **autostart},
        ),
    ]
    return [
        *(map_server if argument("map").perform(context) else ()),
        GroupAction(
            [
                # Before Lyrical, Nav2's file only looks for its parameters in the namespace that it is given.
                PushROSNamespace(prefix),
                # The costmaps have namespaces of their own, so that nav2.yaml names these topics from the root.
                SetRemap("/scan", f"{prefix}/scan"),
                SetRemap("/map", f"{prefix}/map"),
                IncludeLaunchDescription(
                    PathJoinSubstitution(
                        [FindPackageShare("nav2_bringup"), "launch", "navigation_launch.py"]
                    ),
                    launch_arguments={
                        "namespace": prefix,
                        **{n: argument(n) for n in ("params_file", "use_sim_time", "autostart", "log_level")},
                    }.items(),
                ),
            ]
        ),
    ]


def _node(package: str, executable: str, name: str, parameters: dict) -> Node:
    """A node in the robot's namespace and TF tree."""
    clock = {"use_sim_time": ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool)}
    return Node(
        package=package,
        executable=executable,
        name=name,
        namespace=LaunchConfiguration("namespace"),
        parameters=[{**parameters, **clock}],
        remappings=[("/tf", "tf"), ("/tf_static", "tf_static")],
        output="screen",
    )
