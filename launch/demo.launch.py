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
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, NotSubstitution, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from kinaema_ros.sim import generate_scene
from kinaema_ros.sim.export.map import export_map
from kinaema_ros.sim.export.nav2 import export_nav2

ARGUMENTS = {
    "world": ("7", "Seed of the building: the same seed, the same building; that of `kinaema demo`"),
    "model": ("", "Network weights (.safetensors); empty: what the parameter file says"),
    "nav2": ("false", "Start the real Nav2 in place of the simulator's own navigate_to_pose"),
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
                parameters=[
                    {
                        "world": ParameterValue(argument("world"), value_type=int),
                        "navigate_to_pose": ParameterValue(
                            NotSubstitution(argument("nav2")), value_type=bool
                        ),
                        "publish_map": ParameterValue(NotSubstitution(argument("nav2")), value_type=bool),
                    }
                ],
                output="screen",
            ),
            OpaqueFunction(function=_nav2, condition=IfCondition(argument("nav2"))),
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


def _nav2(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Nav2 on the building's map, with the parameters of config/nav2.yaml but for the lidar."""
    folder = Path(tempfile.mkdtemp(prefix="kinaema_demo_"))
    map_file = export_map(generate_scene(int(LaunchConfiguration("world").perform(context))), folder)
    given = PathJoinSubstitution([FindPackageShare("kinaema_ros"), "config", "nav2.yaml"]).perform(context)
    parameters = export_nav2(given, folder)
    return [
        Node(
            package="nav2_map_server",
            executable="map_server",
            name="map_server",
            parameters=[str(parameters), {"yaml_filename": str(map_file)}],
            output="screen",
        ),
        Node(
            package="nav2_lifecycle_manager",
            executable="lifecycle_manager",
            name="lifecycle_manager_map",
            parameters=[{"autostart": True, "node_names": ["map_server"]}],
            output="screen",
        ),
        IncludeLaunchDescription(
            PathJoinSubstitution([FindPackageShare("nav2_bringup"), "launch", "navigation_launch.py"]),
            launch_arguments={
                "params_file": str(parameters),
                "use_sim_time": "false",
                "autostart": "true",
            }.items(),
        ),
    ]
