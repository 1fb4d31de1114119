"""A start that fails says in one line what is wrong and what to do: nodes and commands, in a crafted environment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ros_support import DISCOVERY, OTHER_DOMAIN, ROOT, NodeProcess, Robot, wait_until

from kinaema_interfaces.msg import MemoryStatus
from kinaema_ros.nodes.client.processes import NODE_MODULES
from kinaema_ros.nodes.support import frames

PHOTO = ROOT / "docs" / "demo.png"


def started(*command: str, without: str = "", **variables: str) -> tuple[int, str]:
    """Exit status of a Python program and all that it said."""
    environment = {name: value for name, value in os.environ.items() if name != without}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**environment, "OMP_NUM_THREADS": "1", "ROS_DOMAIN_ID": OTHER_DOMAIN, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DISCOVERY,
    )
    return done.returncode, done.stdout


def node(name: str, *arguments: str, **environment: str) -> tuple[int, str]:
    return started("-m", NODE_MODULES[name], *arguments, **environment)


def query(**environment: str) -> tuple[int, str]:
    return started("-m", "kinaema_ros.cli", "query", "--timeout", "1", str(PHOTO), **environment)


def one_line(outcome: tuple[int, str], status: int, *words: str) -> None:
    """What ROS's own libraries log comes before it."""
    assert outcome[0] == status, outcome[1]
    assert "Traceback" not in outcome[1]
    ours = [line for line in outcome[1].splitlines() if "cannot start" in line or "refused to start" in line]
    assert len(ours) == 1, outcome[1]
    assert [word for word in words if word not in ours[0]] == []


EVERY_NODE = pytest.mark.parametrize("name", NODE_MODULES)


@EVERY_NODE
def test_a_middleware_that_is_not_installed_is_named_with_what_is(name: str) -> None:
    said = ("'rmw_nonsense'", "rmw_fastrtps_cpp", "rmw-nonsense")
    one_line(node(name, RMW_IMPLEMENTATION="rmw_nonsense"), 1, *said)


def test_a_command_tells_a_middleware_that_is_not_installed() -> None:
    one_line(query(RMW_IMPLEMENTATION="rmw_nonsense"), 1, "'rmw_nonsense'", "rmw_fastrtps_cpp")


def test_without_a_home_there_is_no_place_for_logs() -> None:
    for outcome in (node("navigator_node", without="HOME"), query(without="HOME")):
        one_line(outcome, 1, "set HOME, or ROS_LOG_DIR")


@pytest.mark.parametrize("text", ["a: [b", "a:\n  ros__parameters:\n    x: [1, b]\n", None])
def test_a_broken_parameter_file_is_named(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "parameters.yaml"
    if text is not None:
        file.write_text(text)
    outcome = node("navigator_node", "--ros-args", "--params-file", str(file))
    one_line(outcome, 1, str(file), "correct the file")


def test_a_domain_that_is_no_number_is_told() -> None:
    one_line(node("navigator_node", ROS_DOMAIN_ID="seven"), 1, "ROS_DOMAIN_ID")


@pytest.mark.skipif(frames.tf2_ros is not None, reason="tf2_ros is installed")
def test_a_mount_from_tf_without_tf2_ros_is_refused_at_the_start() -> None:
    outcome = node("memory_node", "--ros-args", "-p", "camera_mount:=tf")
    one_line(outcome, 2, "'camera_mount' is 'tf'", "tf2_ros is not installed", "camera.x")


@pytest.fixture
def robot() -> Iterator[Robot]:
    robot = Robot()
    yield robot
    robot.close()


def test_a_device_that_is_not_there_is_told_on_the_log_and_in_the_status(robot: Robot) -> None:
    """It can be configured again, as after a missing checkpoint."""
    memory = NodeProcess("memory_node", "device:=cuda:7")
    try:
        wait_until(lambda: "cannot be used" in memory.log, DISCOVERY, "the node to complain")
        status = robot.status(lambda s: "'cuda:7' cannot be used" in s.last_error)
        assert status.state == MemoryStatus.INACTIVE
        assert "device" in status.last_error
        assert "configure again" in status.last_error
    finally:
        assert memory.stop() == 0, memory.log
    assert "Traceback" not in memory.log


STARTED = """
import os
from kinaema_ros.nodes.support.starting import start_ros
start_ros([])
print(os.environ["FASTDDS_DEFAULT_PROFILES_FILE"])
"""


def test_whatever_is_started_here_lets_images_through_fast_dds() -> None:
    status, said = started("-c", STARTED, without="FASTDDS_DEFAULT_PROFILES_FILE", ROS_DISTRO="")
    assert (status, Path(said.strip()).name) == (0, "fastdds.xml")
    assert started("-c", STARTED, FASTDDS_DEFAULT_PROFILES_FILE="/dev/null") == (0, "/dev/null\n")


NO_CACHE = """
from numba.core import caching
for kind in vars(caching).values():
    if hasattr(kind, "_locator_classes"):
        kind._locator_classes = []
from kinaema_ros.sim.jit import kernel, fast_kernel
double, half = kernel(lambda x: x * 2), fast_kernel(lambda x: x / 2)
print(double(21), half(84.0))
"""


def test_where_numba_has_no_place_for_its_cache_it_works_and_says_so_once() -> None:
    status, said = started("-c", NO_CACHE)
    assert status == 0, said
    assert said.splitlines()[-1] == "42 42.0"
    assert said.count("NUMBA_CACHE_DIR") == 1
    assert "Traceback" not in said
