"""memory_node over real DDS: what it remembers and what it answers."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from geometry_msgs.msg import PoseWithCovarianceStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.parameter import Parameter
from rclpy.parameter_client import AsyncParameterClient
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from ros_support import DISCOVERY, NodeProcess, Robot, counts, frame, image_msg, odometry_msg, wait_until
from sensor_msgs.msg import CameraInfo, CompressedImage
from visualization_msgs.msg import MarkerArray

from kinaema_interfaces.msg import MemoryStatus
from kinaema_interfaces.srv import LoadMemory, QueryPose, SaveMemory
from kinaema_ros import SpatialMemory, geometry
from kinaema_ros.nodes.support import messages
from kinaema_ros.paths import default_checkpoint


@pytest.fixture(scope="module")
def node() -> Iterator[NodeProcess]:
    process = NodeProcess(
        "memory_node", "keyframes.min_distance:=0.0", "keyframes.min_angle:=0.0", "keyframes.max_rate_hz:=0.0"
    )
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


def answer_of(response: QueryPose.Response) -> np.ndarray:
    assert response.success, response.message
    return messages.planar_pose(response.pose.pose.pose)


def test_the_node_answers_what_the_library_answers(robot: Robot) -> None:
    """Odometry interpolated at the image's stamp, images unchanged on the way: the same numbers."""
    memory = SpatialMemory.from_checkpoint(default_checkpoint())
    for n, seed in enumerate((1, 2, 3)):
        robot.remember(seed)
        memory.update(frame(seed), (0.3 * n + 0.15, 0.0, 0.0))  # drive() steps 0.3 m, the stamp is half-way
    estimate, response = memory.locate(frame(2)), robot.where(2, "odom")
    np.testing.assert_allclose(answer_of(response), estimate.odom_pose, atol=1e-4)
    assert response.seen == pytest.approx(estimate.seen, abs=1e-4)
    assert response.num_updates == 3
    variances = np.diag(messages.planar_covariance(response.pose))
    np.testing.assert_allclose(variances, np.diag(estimate.covariance), rtol=1e-3)


def test_an_answer_in_the_base_frame_is_relative_to_where_the_robot_is_now(robot: Robot) -> None:
    robot.remember(1, 2)
    in_odom, in_base = robot.where(1, "odom"), robot.where(1)
    assert (in_odom.pose.header.frame_id, in_base.pose.header.frame_id) == ("odom", "base_link")
    here = np.array([robot.x, 0.0, 0.0])
    np.testing.assert_allclose(answer_of(in_base), geometry.between(here, answer_of(in_odom)), atol=1e-6)
    received = robot.status(lambda s: True).odometry_received
    robot.now += 0.1
    robot.odom.publish(odometry_msg((robot.x, 0.4, 1.0), robot.now))
    robot.status(lambda s: s.odometry_received > received)
    moved = np.array([robot.x, 0.4, 1.0])
    np.testing.assert_allclose(
        answer_of(robot.where(1)), geometry.between(moved, answer_of(in_odom)), atol=1e-6
    )


def test_queries_are_answered_while_the_memory_updates(robot: Robot) -> None:
    """A stream much faster than the memory: it takes the newest, and every query is answered meanwhile."""
    robot.remember(1)
    before = robot.statuses[-1]
    futures = []
    large = [cv2.resize(frame(seed), (640, 480)) for seed in range(4)]
    for n in range(40):
        robot.image.publish(image_msg(large[n % 4], robot.drive(metres=0.05)))
        if n % 5 == 0:
            futures.append(robot.query_client.call_async(QueryPose.Request(image=image_msg(frame(1)))))
        time.sleep(0.025)  # the rate of the stream; nothing is waited for
    answers = [robot.result(future) for future in futures]
    assert all(answer.success for answer in answers)
    status = robot.quiet()
    assert status.frames_used > before.frames_used
    assert counts(status)["skipped_newer_image"] > 3


def test_a_robot_that_stands_still_fills_no_memory(node: NodeProcess, robot: Robot) -> None:
    parameters = AsyncParameterClient(robot.node, "kinaema_memory")
    assert parameters.wait_for_services(DISCOVERY)
    robot.result(
        parameters.set_parameters(
            [Parameter("keyframes.min_distance", value=0.2), Parameter("keyframes.min_angle", value=0.2)]
        )
    )
    robot.remember(1)
    for _ in range(3):
        robot.show(image_msg(frame(2), robot.drive(metres=0.0)))
    assert robot.remember(3).num_updates == 2
    assert counts(robot.statuses[-1])["skipped_motion"] >= 3
    (refused,) = robot.result(
        parameters.set_parameters([Parameter("keyframes.min_angle", value=9.0)])
    ).results
    assert not refused.successful
    robot.result(
        parameters.set_parameters(
            [Parameter("keyframes.min_distance", value=0.0), Parameter("keyframes.min_angle", value=0.0)]
        )
    )


def test_a_saved_memory_is_restored_and_a_foreign_file_is_refused(robot: Robot, tmp_path: Path) -> None:
    robot.remember(1, 2, 3)
    before = answer_of(robot.where(2, "odom"))
    file = tmp_path / "memory.safetensors"
    saved = robot.call(robot.save_client, SaveMemory.Request(path=str(file)))
    assert saved.success, saved.message
    robot.remember(4, 5)
    loaded = robot.call(robot.load_client, LoadMemory.Request(path=str(file)))
    assert loaded.success, loaded.message
    robot.drive()
    np.testing.assert_allclose(answer_of(robot.where(2, "odom")), before, atol=1e-6)
    file.write_bytes(b"no memory at all")
    for request in (LoadMemory.Request(path=str(file)), LoadMemory.Request(path=str(tmp_path / "no"))):
        refused = robot.call(robot.load_client, request)
        assert not refused.success
        assert request.path in refused.message
    nowhere = SaveMemory.Request(path=str(file / "below a file"))
    assert not robot.call(robot.save_client, nowhere).success
    np.testing.assert_allclose(answer_of(robot.where(2, "odom")), before, atol=1e-6)


def test_a_deactivated_node_keeps_what_it_remembers_and_says_that_it_sleeps(robot: Robot) -> None:
    robot.remember(1, 2)
    before = answer_of(robot.where(1, "odom"))
    client = robot.node.create_client(ChangeState, "kinaema_memory/change_state")
    for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVATE):
        request = ChangeState.Request(transition=Transition(id=transition))
        assert robot.call(client, request).success
        if transition == Transition.TRANSITION_DEACTIVATE:
            robot.status(lambda s: s.state == MemoryStatus.INACTIVE)
            assert "not active" in robot.where(1).message
    np.testing.assert_allclose(answer_of(robot.where(1, "odom")), before, atol=1e-6)
    assert robot.remember(3).num_updates == 3


def test_camera_info_gives_the_field_of_view(node: NodeProcess, robot: Robot) -> None:
    robot.remember(1)
    assert robot.statuses[-1].hfov_source == "parameter"
    assert node.log.count("]: camera_info_missing: ") == 1
    fx = 80.0 / math.tan(math.radians(35))
    info = CameraInfo(width=160, height=120, k=[fx, 0.0, 79.5, 0.0, fx, 59.5, 0.0, 0.0, 1.0])
    robot.connected(robot.camera_info)
    robot.camera_info.publish(info)
    status = robot.remember(2)
    assert status.hfov_source == "camera_info"
    assert status.hfov_deg == pytest.approx(70.0, abs=0.01)


def test_rviz_gets_the_last_estimate(robot: Robot) -> None:
    estimates: list[PoseWithCovarianceStamped] = []
    markers: list[MarkerArray] = []
    robot.remember(1)
    answer = robot.where(1, "odom")
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    node = robot.node
    node.create_subscription(PoseWithCovarianceStamped, "kinaema_memory/estimate", estimates.append, latched)
    node.create_subscription(MarkerArray, "kinaema_memory/markers", markers.append, latched)
    wait_until(lambda: bool(estimates and markers), what="estimate and markers")
    assert estimates[-1] == answer.pose


def test_a_best_effort_camera_in_a_namespace_is_heard() -> None:
    """Published before the node starts and with another reliability than the node's first guess."""
    robot = Robot("/robot7", ReliabilityPolicy.BEST_EFFORT)
    # The raw publisher stays silent but exists: the node must not wait for compressed images then.
    process = NodeProcess(
        "memory_node", ros_arguments=["-r", "__ns:=/robot7", "-p", "image_transport:=compressed"]
    )
    try:
        robot.connected(robot.compressed)
        robot.connected(robot.odom)
        stamp = robot.drive()
        _, data = cv2.imencode(".jpg", frame(1))
        message = CompressedImage(format="jpeg", data=data.tobytes())
        message.header.stamp = messages.time_msg(round(stamp * 1e9))
        robot.compressed.publish(message)
        assert robot.status(lambda s: s.frames_used > 0, DISCOVERY).num_updates == 1
        assert robot.where(1).success
    finally:
        assert process.stop() == 0, process.log
        robot.close()
