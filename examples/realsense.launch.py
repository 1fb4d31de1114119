"""Intel RealSense (D435, D455 and the like): its colour camera, memory and navigator.

sudo apt install ros-$ROS_DISTRO-realsense2-camera
ros2 launch kinaema_ros realsense.launch.py odom:=/odom

Only the colour camera is started. Where the camera sits: the parameters camera.*, or camera_mount: tf (params_file).
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription
from launch.substitutions import PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` asks for; all arguments of kinaema.launch.py can be given, too."""
    driver = PathJoinSubstitution([FindPackageShare("realsense2_camera"), "launch", "rs_launch.py"])
    kinaema = PathJoinSubstitution([FindPackageShare("kinaema_ros"), "launch", "kinaema.launch.py"])
    settings = {
        "camera_namespace": "camera",
        "camera_name": "camera",
        "enable_color": "true",
        "enable_depth": "false",
        "enable_infra1": "false",
        "enable_infra2": "false",
        "rgb_camera.color_profile": "640x480x15",
    }
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "image", default_value="/camera/camera/color/image_raw", description="Camera topic"
            ),
            DeclareLaunchArgument(
                "camera_info", default_value="/camera/camera/color/camera_info", description="Its calibration"
            ),
            GroupAction([IncludeLaunchDescription(driver, launch_arguments=settings.items())]),
            GroupAction([IncludeLaunchDescription(kinaema)]),
        ]
    )
