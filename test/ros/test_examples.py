"""The examples do what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import launch_stand_in
import pytest
from bag_support import write_drive, write_queries
from launch_support import Started

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
# The drivers' launch files, and those of their arguments that have the name of one of ours.
DRIVERS = {
    "rs_launch.py": {"camera_name": "camera", "camera_namespace": "camera", "enable_depth": "true", "log_level": "info"},
    "camera.launch.py": {"name": "oak", "namespace": "", "params_file": "/theirs.yaml", "rectify_rgb": "true"},
}  # fmt: skip
CAMERAS = {
    "realsense": ("/camera/camera/color", "rs_launch"),
    "oak_d": ("/oak/rgb", "camera"),
    "usb_camera": ("/camera", "usb_cam_node_exe"),
    "turtlebot4": ("/oakd/rgb", None),
}


def started(name: str, **arguments: str) -> dict[str, Started]:
    context = launch_stand_in.run(EXAMPLES / f"{name}.launch.py", arguments, DRIVERS)
    return {name: Started.from_call(name, call) for name, call in context.calls.items()}


def test_every_launch_file_is_tried_here() -> None:
    assert {path.name.partition(".")[0] for path in EXAMPLES.glob("*.launch.py")} == set(CAMERAS)


@pytest.mark.parametrize("name", CAMERAS)
def test_the_memory_gets_the_camera_and_the_user_the_rest(name: str, tmp_path: Path) -> None:
    camera, driver = CAMERAS[name]
    parameters = tmp_path / "mine.yaml"
    parameters.write_text("/**/kinaema_memory: {ros__parameters: {camera_mount: tf}}")
    found = started(name, odom="/wheels/odom", params_file=str(parameters))
    assert set(found) == {"memory_node", "navigator_node", *filter(None, [driver])}
    memory = found["memory_node"]
    assert memory.topic("image") == f"{camera}/image_raw"
    assert memory.topic("camera_info") == f"{camera}/camera_info"
    assert memory.topic("odom") == "/wheels/odom"
    assert memory.parameters["camera_mount"] == "tf"


def test_the_drivers_get_what_they_know() -> None:
    usb = started("usb_camera", video_device="/dev/video2", camera_info_url="file:///c.yaml")[
        "usb_cam_node_exe"
    ]
    assert usb.parameters["video_device"] == "/dev/video2"
    assert usb.parameters["camera_info_url"] == "file:///c.yaml"
    assert usb.topic("image_raw") == "/camera/image_raw"
    oak = started("oak_d", namespace="ant", params_file=str(EXAMPLES.parent / "config/kinaema.yaml"))[
        "camera"
    ]
    assert oak.values["namespace"] == ""
    assert oak.values["params_file"].startswith("/share/depthai_ros_driver/")
    assert started("realsense")["rs_launch"].values["enable_depth"] == "false"


def test_the_memory_remembers_a_recorded_drive(tmp_path: Path) -> None:
    write_drive(tmp_path / "bag", frames=3)
    write_queries(tmp_path, 3, wanted=[1])
    command = [sys.executable, EXAMPLES / "library.py", tmp_path / "bag", tmp_path / "queries/1.png"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "m to the left" in done.stdout
    assert "seen before with probability" in done.stdout


def test_the_client_in_cpp_compiles_against_the_interfaces(tmp_path: Path) -> None:
    prefixes = map(Path, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep))
    if not any((prefix / "share/rclcpp_action/cmake").is_dir() for prefix in prefixes):
        pytest.skip("rclcpp is not installed (the wheels of ROS are for Python alone)")
    command = [sys.executable, "-m", "colcon", "build", "--base-paths", str(EXAMPLES / "cpp")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    program = tmp_path / "install/kinaema_example_client/lib/kinaema_example_client/go_to"
    assert subprocess.run([program], capture_output=True, text=True).returncode == 2  # says how it is used
