"""memory_node over real DDS: what it remembers, what it answers, how it starts and ends."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import numpy as np
import pytest
from kinaema_interfaces.srv import LoadMemory, QueryPose, SaveMemory
from ros_support import NodeProcess, Robot, frame, image_msg

from kinaema_ros.nodes import messages


@pytest.fixture(scope="module")
def node() -> Iterator[NodeProcess]:
    process = NodeProcess("memory_node", "min_distance:=0.0", "min_angle:=0.0", "max_rate_hz:=0.0")
    yield process
    assert process.stop() == 0, process.log


@pytest.fixture(scope="module")
def robot(node: NodeProcess) -> Iterator[Robot]:
    robot = Robot()
    yield robot
    robot.close()


@pytest.fixture(autouse=True)
def empty_memory(robot: Robot) -> None:
    robot.reset()


def test_an_image_with_odometry_becomes_an_update(robot: Robot) -> None:
    status = robot.remember(1, 2, 3)
    assert status.num_updates == 3
    answer = robot.where(1)
    assert answer.success, answer.message
    assert answer.num_updates == 3
    assert answer.pose.header.frame_id == "base_link"
    assert 0.0 <= answer.seen <= 1.0
    assert np.linalg.eigvalsh(messages.planar_covariance(answer.pose)).min() > 0
