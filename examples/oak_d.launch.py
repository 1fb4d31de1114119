"""Luxonis OAK-D: its colour camera, memory and navigator.

sudo apt install ros-$ROS_DISTRO-depthai-ros-driver
ros2 launch kinaema_ros oak_d.launch.py odom:=/odom

The picture is taken as the lens makes it; nothing needs to be rectified. Where the camera sits: the parameters
camera.*, or camera_mount: tf (params_file).
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription
from launch.substitutions import PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` asks for; all arguments of kinaema.launch.py can be given, too."""
    depthai = FindPackageShare("depthai_ros_driver")
    kinaema = PathJoinSubstitution([FindPackageShare("kinaema_ros"), "launch", "kinaema.launch.py"])
    settings = {
        "name": "oak",
        # The driver knows arguments of these names too: ours are not for it.
        "namespace": "",
        "params_file": PathJoinSubstitution([depthai, "config", "camera.yaml"]),
        "rectify_rgb": "false",
    }
    driver = PathJoinSubstitution([depthai, "launch", "camera.launch.py"])
    return LaunchDescription(
        [
            DeclareLaunchArgument("image", default_value="/oak/rgb/image_raw", description="Camera topic"),
            DeclareLaunchArgument(
                "camera_info", default_value="/oak/rgb/camera_info", description="Its calibration"
            ),
            GroupAction([IncludeLaunchDescription(driver, launch_arguments=settings.items())]),
            GroupAction([IncludeLaunchDescription(kinaema)]),
        ]
    )
