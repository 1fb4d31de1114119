"""A simulated robot in a procedural building, memory, navigator and RViz; needs neither Gazebo nor Nav2.

Drive it with `ros2 run teleop_twist_keyboard teleop_twist_keyboard`, then ask for a place by a photo:
`kinaema goto photo.png`.
"""

from __future__ import annotations

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

# Those that the simulator takes, too; the others of kinaema.launch.py are declared there, and reach it as they are.
ARGUMENTS = {
    "world": ("7", "Seed of the building: the same seed, the same building; that of `kinaema demo`"),
    "rviz": ("true", "Show the robot in RViz"),
    "namespace": ("", "Namespace of all nodes, and of TF"),
    "image": ("image", "Camera topic"),
    "camera_info": ("camera_info", "Calibration of that camera"),
    "odom": ("odom", "Odometry"),
    "use_sim_time": ("false", "The simulator publishes /clock, and all nodes take the time from it"),
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
                        "publish_clock": ParameterValue(argument("use_sim_time"), value_type=bool),
                    },
                ],
                remappings=[
                    *((topic, argument(topic)) for topic in ("image", "camera_info", "odom")),
                    ("/tf", "tf"),
                ],
                arguments=["--ros-args", "--log-level", argument("log_level")],
                output="screen",
            ),
            # In a scope of its own: what an included file declares is not to reach what comes after it.
            GroupAction([IncludeLaunchDescription(shared("launch", "kinaema.launch.py"))]),
        ]
    )
