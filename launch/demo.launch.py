"""A simulated robot in a procedural building, memory, navigator and RViz; needs neither Gazebo nor Nav2.

With nav2:=true a real Nav2 drives the robot, on the building's exported map (apt install ros-$ROS_DISTRO-navigation2
ros-$ROS_DISTRO-nav2-bringup). The simulated robot has no lidar: Nav2's costmaps show the map alone.

Drive it with `ros2 run teleop_twist_keyboard teleop_twist_keyboard`, then ask for a place by a photo:
`kinaema goto photo.png`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import (
    IfElseSubstitution,
    LaunchConfiguration,
    NotSubstitution,
    PathJoinSubstitution,
)
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from kinaema_ros.sim import generate_scene
from kinaema_ros.sim.export.map import export_map
from kinaema_ros.sim.export.nav2 import export_nav2

# Those that the simulator or Nav2 take, too; the others of kinaema.launch.py are declared there, and reach it as they are.
ARGUMENTS = {
    "world": ("7", "Seed of the building: the same seed, the same building; that of `kinaema demo`"),
    "nav2": ("false", "Start the real Nav2 in place of the simulator's own navigate_to_pose"),
    "publish_tf": (
        "false",
        "The memory localises the robot, not the simulator; its map then begins where the robot does",
    ),
    "rviz": ("true", "Show the robot in RViz"),
    "namespace": ("", "Namespace of all nodes, and of TF"),
    "image": ("image", "Camera topic"),
    "camera_info": ("camera_info", "Calibration of that camera"),
    "odom": ("odom", "Odometry"),
    "use_sim_time": ("false", "The simulator publishes /clock, and all nodes take the time from it"),
    "autostart": ("true", "Configure and activate the nodes, and Nav2; false: a lifecycle manager does"),
    "log_level": ("info", "debug, info, warn or error"),
}


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` asks for."""
    argument = LaunchConfiguration

    def shared(*path: str) -> PathJoinSubstitution:
        return PathJoinSubstitution([FindPackageShare("kinaema_ros"), *path])

    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, (default, description) in ARGUMENTS.items()
            ),
            DeclareLaunchArgument(
                "params_file",
                default_value=shared("config", "kinaema.yaml"),
                description="Parameters of the nodes (YAML)",
            ),
            Node(
                package="kinaema_ros",
                executable="simulator_node",
                name="kinaema_simulator",
                namespace=argument("namespace"),
                parameters=[
                    argument("params_file"),
                    {
                        "world": ParameterValue(argument("world"), value_type=int),
                        "navigate_to_pose": ParameterValue(
                            NotSubstitution(argument("nav2")), value_type=bool
                        ),
                        "publish_map": ParameterValue(NotSubstitution(argument("nav2")), value_type=bool),
                        "publish_clock": ParameterValue(argument("use_sim_time"), value_type=bool),
                        "sees_obstacles": ParameterValue(argument("publish_tf"), value_type=bool),
                        "localization": IfElseSubstitution(argument("publish_tf"), "tf", "ground_truth"),
                    },
                ],
                remappings=[
                    *((topic, argument(topic)) for topic in ("image", "camera_info", "odom")),
                    ("/tf", "tf"),
                ],
                arguments=["--ros-args", "--log-level", argument("log_level")],
                output="screen",
            ),
            OpaqueFunction(function=_nav2, condition=IfCondition(argument("nav2"))),
            _include("kinaema.launch.py", {}),
        ]
    )


def _nav2(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Nav2 on the building's map, with the parameters of config/nav2.yaml but for the lidar."""
    if LaunchConfiguration("publish_tf").perform(context).lower() in ("true", "1"):
        raise ValueError(
            "nav2:=true and publish_tf:=true exclude each other: the building's map does not begin where the robot does. "
            "gazebo.launch.py has localization:=memory"
        )
    folder = Path(tempfile.mkdtemp(prefix="kinaema_demo_"))
    map_file = export_map(generate_scene(int(LaunchConfiguration("world").perform(context))), folder)
    given = PathJoinSubstitution([FindPackageShare("kinaema_ros"), "config", "nav2.yaml"]).perform(context)
    arguments = {
        "map": str(map_file),
        "params_file": str(export_nav2(given, folder)),
        **{n: LaunchConfiguration(n) for n in ("namespace", "use_sim_time", "autostart", "log_level")},
    }
    return [_include("nav2.launch.py", arguments)]


def _include(name: str, arguments: dict[str, object]) -> GroupAction:
    """A launch file in a scope of its own: what it declares, and is given, is not to reach what comes after it."""
    path = PathJoinSubstitution([FindPackageShare("kinaema_ros"), "launch", name])
    return GroupAction([IncludeLaunchDescription(path, launch_arguments=arguments.items())])
