"""TurtleBot 4: memory and navigator beside the robot's own bring-up, which has its OAK-D and odometry.

sudo apt install ros-$ROS_DISTRO-turtlebot4-navigation      # Nav2: ros2 launch turtlebot4_navigation nav2.launch.py
ros2 launch kinaema_ros turtlebot4.launch.py                # namespace:=robot1 for a robot that has one

On the robot set rgb.i_publish_topic: true in turtlebot4_bringup/config/oakd_pro.yaml (oakd_lite.yaml) and restart its
service: as delivered, only a square preview is published, which sees 40 degrees. Over Wi-Fi set image_transport:
compressed (params_file), or run this on the robot (docs/small-machines.md).
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription
from launch.substitutions import PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` asks for; all arguments of kinaema.launch.py can be given, too."""
    kinaema = PathJoinSubstitution([FindPackageShare("kinaema_ros"), "launch", "kinaema.launch.py"])
    return LaunchDescription(
        [
            DeclareLaunchArgument("image", default_value="oakd/rgb/image_raw", description="Camera topic"),
            DeclareLaunchArgument(
                "camera_info", default_value="oakd/rgb/camera_info", description="Its calibration"
            ),
            GroupAction([IncludeLaunchDescription(kinaema)]),
        ]
    )
