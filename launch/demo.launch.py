"""A simulated robot in a procedural building, memory, navigator and RViz; needs neither Gazebo nor Nav2.

Drive it with `ros2 run teleop_twist_keyboard teleop_twist_keyboard`, then ask for a place by a photo:
`kinaema goto photo.png`.
"""

from __future__ import annotations

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

ARGUMENTS = {
    "world": ("7", "Seed of the building: the same seed, the same building; that of `kinaema demo`"),
    "model": ("", "Network weights (.safetensors); empty: what the parameter file says"),
    "rviz": ("true", "Show the robot in RViz"),
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
                description="Parameters of memory and navigator (YAML)",
            ),
            Node(
                package="kinaema_ros",
                executable="simulator_node",
                name="kinaema_simulator",
                parameters=[{"world": ParameterValue(argument("world"), value_type=int)}],
                output="screen",
            ),
            IncludeLaunchDescription(
                shared("launch", "kinaema.launch.py"),
                launch_arguments={
                    "model": argument("model"),
                    "params_file": argument("params_file"),
                }.items(),
            ),
            Node(
                package="rviz2",
                executable="rviz2",
                arguments=["-d", shared("rviz", "kinaema.rviz")],
                condition=IfCondition(argument("rviz")),
                output="log",
            ),
        ]
    )
