"""The launch files, run by the real launch and launch_ros; skipped where launch_ros is missing (the wheels)."""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

# Not `launch`: this repository has a folder of that name.
pytest.importorskip(
    "launch_ros", reason="launch_ros is not among the wheels; source a ROS 2 to run these tests"
)

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from chain_support import rviz_finds_its_topics
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.utilities import perform_substitutions
from launch_support import FOREIGN, LAUNCH, LaunchProcess
from lifecycle_msgs.srv import GetState
from nav_msgs.msg import Odometry
from ros_support import DISCOVERY, Ros, frame, image_msg, odometry_msg
from sensor_msgs.msg import Image

from kinaema_interfaces.msg import MemoryStatus
from kinaema_ros.commands import demo

FILES = sorted(path.name for path in LAUNCH.glob("*.launch.py"))


def load(name: str) -> LaunchDescription:
    spec = importlib.util.spec_from_file_location(name.partition(".")[0], LAUNCH / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate_launch_description()


@pytest.fixture
def ros() -> Iterator[Ros]:
    ros = Ros("test_launch")
    yield ros
    ros.close()


def state(ros: Ros, node: str) -> str:
    """The lifecycle state's label."""
    client = ros.node.create_client(GetState, f"{node}/get_state")
    try:
        return ros.call(client, GetState.Request()).current_state.label
    finally:
        ros.node.destroy_client(client)


def subscriptions(ros: Ros, name: str, namespace: str) -> set[str]:
    return {topic for topic, _ in ros.node.get_subscriber_names_and_types_by_node(name, namespace)}


def test_there_are_launch_files() -> None:
    assert FILES == ["demo.launch.py", "gazebo.launch.py", "kinaema.launch.py", "nav2.launch.py"]


@pytest.mark.parametrize("name", FILES)
def test_every_argument_is_described_and_its_default_exists(name: str) -> None:
    context = LaunchContext()
    arguments = [entity for entity in load(name).entities if isinstance(entity, DeclareLaunchArgument)]
    assert arguments
    for argument in arguments:
        assert argument.description, argument.name
        assert argument.description != "no description given", argument.name
        assert argument.default_value is not None, argument.name
        default = perform_substitutions(context, argument.default_value)
        if default.startswith("/"):
            assert Path(default).exists(), default


@pytest.mark.parametrize("package", sorted({*FOREIGN, "ros_gz_sim", "nav2_bringup"} - {"kinaema_ros"}))
def test_what_the_launch_files_start_is_installed(package: str) -> None:
    try:
        prefix = Path(get_package_prefix(package))
    except PackageNotFoundError:
        pytest.skip(f"{package} is not installed")
    for executable in FOREIGN.get(package, []):
        assert (prefix / "lib" / package / executable).exists()
    files = {"ros_gz_sim": "gz_sim.launch.py", "nav2_bringup": "navigation_launch.py"}
    if package in files:
        assert (prefix / "share" / package / "launch" / files[package]).exists()


def test_the_demo_has_one_building() -> None:
    world = next(e for e in load("demo.launch.py").entities if getattr(e, "name", "") == "world")
    parser = argparse.ArgumentParser()
    demo.add_arguments(parser.add_subparsers())
    default = perform_substitutions(LaunchContext(), world.default_value)
    assert int(default) == parser.parse_args(["demo"]).world


def test_both_nodes_become_active_under_the_names_given(ros: Ros, tmp_path: Path) -> None:
    names = ("namespace:=robot1", "image:=front/image", "camera_info:=front/info", "odom:=wheels/odom")
    parameters = tmp_path / "parameters.yaml"
    parameters.write_text("/**/kinaema_memory: {ros__parameters: {camera_mount: tf}}")
    images = ros.node.create_publisher(Image, "/robot1/front/image", 10)
    odometry = ros.node.create_publisher(Odometry, "/robot1/wheels/odom", 10)
    with LaunchProcess("kinaema.launch.py", *names, f"params_file:={parameters}") as process:
        for node in ("memory", "navigator"):
            process.says(f"{node}_node is active")
            assert state(ros, f"/robot1/kinaema_{node}") == "active"
        expected = {"/robot1/front/image", "/robot1/front/info", "/robot1/wheels/odom"}
        process.wait_for(lambda: expected <= subscriptions(ros, "kinaema_memory", "/robot1"), str(expected))
        process.wait_for(
            lambda: "/robot1/wheels/odom" in subscriptions(ros, "kinaema_navigator", "/robot1"), "odom"
        )

        def listens_to_tf() -> bool:  # once an image asks for its camera's place
            now = time.time()
            odometry.publish(odometry_msg((0.0, 0.0, 0.0), now))
            image = image_msg(frame(1), now)
            image.header.frame_id = "front_optical"
            images.publish(image)
            return {"/robot1/tf", "/robot1/tf_static"} <= subscriptions(ros, "kinaema_memory", "/robot1")

        process.wait_for(listens_to_tf, "TF in the namespace")
    assert "process has died" not in process.log, process.log


def test_without_autostart_the_nodes_wait_for_a_lifecycle_manager(ros: Ros) -> None:
    with LaunchProcess("kinaema.launch.py", "namespace:=robot2", "autostart:=false"):
        for node in ("memory", "navigator"):
            assert state(ros, f"/robot2/kinaema_{node}") == "unconfigured"


def test_a_model_that_is_missing_is_named(ros: Ros, tmp_path: Path) -> None:
    model = tmp_path / "nothing.safetensors"
    with LaunchProcess("kinaema.launch.py", "namespace:=robot3", f"model:={model}") as process:
        process.says("memory_node could not be configured")
        assert str(model) in process.log


def test_the_demo_remembers_and_rviz_shows_it(ros: Ros) -> None:
    statuses: list[MemoryStatus] = []
    ros.node.create_subscription(MemoryStatus, "/kinaema_memory/status", statuses.append, 10)
    with LaunchProcess("demo.launch.py", "world:=5", "rviz:=false") as process:
        process.wait_for(lambda: any(s.frames_received for s in statuses), "image", 2 * DISCOVERY)
        process.says("navigator_node is active")
        rviz_finds_its_topics(ros)
