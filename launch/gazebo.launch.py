"""Gazebo (gz sim Harmonic or later) with a world of `kinaema world`, Nav2, and the kinaema nodes.

Nav2 has the world's map and a perfect localisation; with localization:=memory it has neither, and the memory localises the
robot (docs/nav2-without-a-map.md).
"""

from __future__ import annotations

import os
import tempfile

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription, OpaqueFunction
from launch.substitutions import Command, IfElseSubstitution, LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from kinaema_ros.middleware import fast_dds_settings
from kinaema_ros.sim.export.nav2 import export_overlaid

ARGUMENTS = {
    "namespace": ("", "Namespace of all nodes, and of TF; Gazebo's own topics are not concerned"),
    "model": ("", "Network weights (.safetensors); empty: what the parameter file says"),
    "autostart": (
        "true",
        "Configure and activate the kinaema nodes and Nav2; false: a lifecycle manager does",
    ),
    "log_level": ("info", "Of the kinaema nodes and Nav2: debug, info, warn or error"),
    "localization": (
        "truth",
        "truth: Nav2 on the world's map, localised by Gazebo; memory: Nav2 without a map, localised by the memory",
    ),
    "headless": ("false", "Gazebo without its window"),
    "rviz": ("true", "Show robot, map and memory in RViz"),
    "web": ("false", "Serve the page for phones"),
}
FILES = {
    "world": (("worlds", "example"), "Folder that `kinaema world` has written"),
    "params_file": (("config", "kinaema.yaml"), "Parameters of memory and navigator (YAML)"),
    "nav2_params_file": (("config", "nav2.yaml"), "Parameters of Nav2 (YAML)"),
    "nav2_overlay_file": (
        ("config", "nav2_without_map.yaml"),
        "What is different of them where Nav2 has no map (YAML)",
    ),
    "bridge_file": (("config", "ros_gz_bridge.yaml"), "Topics between Gazebo and ROS (YAML)"),
}
SIM_TIME = {"use_sim_time": True}
TF = [("/tf", "tf"), ("/tf_static", "tf_static")]


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` asks for."""
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=_shared(*path), description=description)
                for name, (path, description) in FILES.items()
            ),
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, (default, description) in ARGUMENTS.items()
            ),
            # The files included there have arguments that are fixed here: `--show-args` is to list none that do nothing.
            OpaqueFunction(function=_everything),
        ]
    )


def _everything(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    said = LaunchConfiguration("localization").perform(context)
    if said not in ("truth", "memory"):
        raise ValueError(f"localization is '{said}': it must be truth or memory")
    by_memory = said == "memory"
    return [*_gazebo(), *(_nav2_without_map(context) if by_memory else _nav2_on_map()), _kinaema(by_memory)]


def _kinaema(by_memory: bool) -> LaunchDescriptionEntity:
    return _include(
        "kinaema_ros",
        "kinaema.launch.py",
        namespace=LaunchConfiguration("namespace"),
        image="camera/image",
        camera_info="camera/camera_info",
        odom="odom",
        model=LaunchConfiguration("model"),
        params_file=LaunchConfiguration("params_file"),
        publish_tf="true" if by_memory else "",
        use_sim_time="true",
        autostart=LaunchConfiguration("autostart"),
        rviz=LaunchConfiguration("rviz"),
        web=LaunchConfiguration("web"),
        log_level=LaunchConfiguration("log_level"),
    )


def _gazebo() -> list[LaunchDescriptionEntity]:
    """The simulator, its topics in ROS, and the frames of the robot."""
    headless = IfElseSubstitution(LaunchConfiguration("headless"), if_value="-s ", else_value="")
    description = Command(["cat '", _in_world("robot.urdf"), "'"])
    return [
        _include(
            "ros_gz_sim",
            "gz_sim.launch.py",
            gz_args=["-r -v 2 ", headless, "'", _in_world("world.sdf"), "'"],
            on_exit_shutdown="true",
        ),
        _node(
            "ros_gz_bridge",
            "parameter_bridge",
            "ros_gz_bridge",
            {"config_file": LaunchConfiguration("bridge_file")},
            # Images fit through; our own nodes see to it themselves.
            additional_env=fast_dds_settings(os.environ),
        ),
        _node(
            "robot_state_publisher",
            "robot_state_publisher",
            "robot_state_publisher",
            {"robot_description": ParameterValue(description, value_type=str)},
        ),
    ]


def _nav2_on_map() -> list[LaunchDescriptionEntity]:
    """Nav2 with the world's map, localised by what Gazebo knows."""
    return [
        _node(
            "kinaema_ros",
            "truth_localization",
            "kinaema_truth_localization",
            arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
        ),
        _nav2(_in_world("map.yaml"), LaunchConfiguration("nav2_params_file")),
    ]


def _nav2_without_map(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Nav2 that knows what the robot has seen, localised by the memory."""
    given, overlay = (
        LaunchConfiguration(name).perform(context) for name in ("nav2_params_file", "nav2_overlay_file")
    )
    return [_nav2("", str(export_overlaid(given, overlay, tempfile.mkdtemp(prefix="kinaema_gazebo_"))))]


def _nav2(map_file: object, params_file: object) -> LaunchDescriptionEntity:
    return _include(
        "kinaema_ros",
        "nav2.launch.py",
        namespace=LaunchConfiguration("namespace"),
        map=map_file,
        params_file=params_file,
        use_sim_time="true",
        autostart=LaunchConfiguration("autostart"),
        log_level=LaunchConfiguration("log_level"),
    )


def _node(
    package: str, executable: str, name: str, parameters: dict | None = None, **options: object
) -> Node:
    """A node in the robot's namespace and TF tree, and in simulated time."""
    return Node(
        package=package,
        executable=executable,
        name=name,
        namespace=LaunchConfiguration("namespace"),
        parameters=[{**(parameters or {}), **SIM_TIME}],
        remappings=TF,
        output="screen",
        **options,
    )


def _include(package: str, name: str, **arguments: object) -> GroupAction:
    """A launch file in a scope of its own: what it declares, and is given, is not to reach what comes after it."""
    path = PathJoinSubstitution([FindPackageShare(package), "launch", name])
    return GroupAction([IncludeLaunchDescription(path, launch_arguments=arguments.items())])


def _shared(*path: str) -> PathJoinSubstitution:
    return PathJoinSubstitution([FindPackageShare("kinaema_ros"), *path])


def _in_world(name: str) -> PathJoinSubstitution:
    return PathJoinSubstitution([LaunchConfiguration("world"), name])
