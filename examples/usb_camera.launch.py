"""A USB camera (V4L2), memory and navigator.

sudo apt install ros-$ROS_DISTRO-usb-cam ros-$ROS_DISTRO-camera-calibration
ros2 launch kinaema_ros usb_camera.launch.py odom:=/odom camera_info_url:=file:///home/me/camera.yaml

Without a calibration the parameter hfov_deg must be the camera's, and distances are as good as that is. To calibrate:
ros2 run camera_calibration cameracalibrator --size 8x6 --square 0.025 --ros-args -r image:=/camera/image_raw
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

ARGUMENTS = {
    "video_device": ("/dev/video0", "The camera's device"),
    "camera_info_url": ("", "Its calibration, such as file:///home/me/camera.yaml; empty: none"),
    "image": ("/camera/image_raw", "Camera topic"),
    "camera_info": ("/camera/camera_info", "Topic of its calibration"),
}


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` asks for; all arguments of kinaema.launch.py can be given, too."""

    def text(name: str) -> ParameterValue:
        return ParameterValue(LaunchConfiguration(name), value_type=str)

    kinaema = PathJoinSubstitution([FindPackageShare("kinaema_ros"), "launch", "kinaema.launch.py"])
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, (default, description) in ARGUMENTS.items()
            ),
            Node(
                package="usb_cam",
                executable="usb_cam_node_exe",
                name="usb_cam",
                parameters=[
                    {
                        "video_device": text("video_device"),
                        "camera_info_url": text("camera_info_url"),
                        "pixel_format": "mjpeg2rgb",
                        "image_width": 640,
                        "image_height": 480,
                        "framerate": 15.0,
                        "frame_id": "camera_optical_frame",
                    }
                ],
                remappings=[
                    ("image_raw", LaunchConfiguration("image")),
                    ("camera_info", LaunchConfiguration("camera_info")),
                ],
                output="screen",
            ),
            GroupAction([IncludeLaunchDescription(kinaema)]),
        ]
    )
