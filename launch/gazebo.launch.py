"""Gazebo (gz sim Harmonic or later) with a world of `kinaema world`, Nav2 on its map, and the kinaema nodes."""

from __future__ import annotations

import os

from launch import LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.substitutions import Command, IfElseSubstitution, LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from kinaema_ros.middleware import fast_dds_settings

ARGUMENTS = {
    "model": ("", "Network weights (.safetensors); empty: what the parameter file says"),
    "headless": ("false", "Gazebo without its window"),
    "rviz": ("true", "Show robot, map and memory in RViz"),
}
FILES = {
    "world": (("worlds", "example"), "Folder that `kinaema world` has written"),
    "params_file": (("config", "kinaema.yaml"), "Parameters of memory and navigator (YAML)"),
    "nav2_params_file": (("config", "nav2.yaml"), "Parameters of Nav2 (YAML)"),
    "bridge_file": (("config", "ros_gz_bridge.yaml"), "Topics between Gazebo and ROS (YAML)"),
}
SIM_TIME = {"use_sim_time": True}


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
            *_gazebo(),
            *_nav2(),
            IncludeLaunchDescription(
                _shared("launch", "kinaema.launch.py"),
                launch_arguments={
                    "image": "camera/image",
                    "camera_info": "camera/camera_info",
                    "model": LaunchConfiguration("model"),
                    "params_file": LaunchConfiguration("params_file"),
                    "use_sim_time": "true",
                }.items(),
            ),
            Node(
                package="rviz2",
                executable="rviz2",
                arguments=["-d", _shared("rviz", "kinaema.rviz")],
                remappings=[("/image", "camera/image"), ("/camera_info", "camera/camera_info")],
                parameters=[SIM_TIME],
                condition=IfCondition(LaunchConfiguration("rviz")),
                output="log",
            ),
        ]
    )


def _gazebo() -> list[LaunchDescriptionEntity]:
    """The simulator, its topics in ROS, and the frames of the robot."""
    headless = IfElseSubstitution(LaunchConfiguration("headless"), if_value="-s ", else_value="")
    return [
        IncludeLaunchDescription(
            PathJoinSubstitution([FindPackageShare("ros_gz_sim"), "launch", "gz_sim.launch.py"]),
            launch_arguments={
                "gz_args": ["-r -v 2 ", headless, "'", _in_world("world.sdf"), "'"],
                "on_exit_shutdown": "true",
            }.items(),
        ),
        Node(
            package="ros_gz_bridge",
            executable="parameter_bridge",
            name="ros_gz_bridge",
            additional_env=fast_dds_settings(
                os.environ
            ),  # images fit through; our own nodes see to it themselves
            parameters=[{"config_file": LaunchConfiguration("bridge_file")}, SIM_TIME],
            output="screen",
        ),
        Node(
            package="robot_state_publisher",
            executable="robot_state_publisher",
            parameters=[
                {
                    "robot_description": ParameterValue(
                        Command(["cat '", _in_world("robot.urdf"), "'"]), value_type=str
                    )
                },
                SIM_TIME,
            ],
            output="screen",
        ),
    ]


def _nav2() -> list[LaunchDescriptionEntity]:
    """Nav2 with the world's map, localised by what Gazebo knows."""
    return [
        Node(
            package="kinaema_ros",
            executable="truth_localization",
            name="kinaema_truth_localization",
            parameters=[SIM_TIME],
            output="screen",
        ),
        Node(
            package="nav2_map_server",
            executable="map_server",
            name="map_server",
            parameters=[
                LaunchConfiguration("nav2_params_file"),
                {"yaml_filename": _in_world("map.yaml")},
                SIM_TIME,
            ],
            output="screen",
        ),
        Node(
            package="nav2_lifecycle_manager",
            executable="lifecycle_manager",
            name="lifecycle_manager_map",
            parameters=[{"autostart": True, "node_names": ["map_server"]}, SIM_TIME],
            output="screen",
        ),
        IncludeLaunchDescription(
            PathJoinSubstitution([FindPackageShare("nav2_bringup"), "launch", "navigation_launch.py"]),
            launch_arguments={
                "params_file": LaunchConfiguration("nav2_params_file"),
                "use_sim_time": "true",
                "autostart": "true",
            }.items(),
        ),
    ]


def _shared(*path: str) -> PathJoinSubstitution:
    return PathJoinSubstitution([FindPackageShare("kinaema_ros"), *path])


def _in_world(name: str) -> PathJoinSubstitution:
    return PathJoinSubstitution([LaunchConfiguration("world"), name])
