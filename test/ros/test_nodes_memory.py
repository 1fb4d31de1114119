"""memory_node over real DDS: what it remembers and what it answers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from geometry_msgs.msg import Pose, PoseWithCovarianceStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.parameter import Parameter
from rclpy.parameter_client import AsyncParameterClient
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from ros_support import DISCOVERY, NodeProcess, Robot, counts, frame, image_msg, odometry_msg, wait_until
from sensor_msgs.msg import CameraInfo, CompressedImage
from visualization_msgs.msg import Marker, MarkerArray

from kinaema_interfaces.msg import MemoryStatus
from kinaema_interfaces.srv import CompareView, LoadMemory, QueryPose, SaveMemory
from kinaema_ros import SpatialMemory, geometry
from kinaema_ros.camera import Intrinsics
from kinaema_ros.estimate import Estimate
from kinaema_ros.nodes.support import messages
from kinaema_ros.paths import default_checkpoint
from kinaema_ros.sim import Camera, SceneConfig, explore, generate_scene, ray_lengths, render


@pytest.fixture(scope="module")
def memory_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ros") / "kinaema"


@pytest.fixture(scope="module")
def node(memory_dir: Path) -> Iterator[NodeProcess]:
    process = NodeProcess(
        "memory_node",
        "keyframes.min_distance:=0.0",
        "keyframes.min_angle:=0.0",
        "keyframes.max_rate_hz:=0.0",
        f"memory_dir:={memory_dir}",
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


def look_at(robot: Robot, *seeds: int) -> list[tuple[np.ndarray, tuple[float, float, float]]]:
    """Drives 0.9 m before each of these frames; returns them with the poses in between, as the node pairs them."""
    robot.connected(robot.image)
    robot.until_heard()
    seen = []
    for seed in seeds:
        robot.show(image_msg(frame(seed), robot.drive(metres=0.9)))
        seen.append((frame(seed), (robot.x - 0.45, 0.0, 0.0)))  # the stamp is half-way
    return seen


def same_answer(response: QueryPose.Response, estimate: Estimate) -> None:
    """In the odometry's frame, in which the robot looked along x all the time."""
    np.testing.assert_allclose(answer_of(response), estimate.odom_pose, atol=1e-4)
    assert response.seen == pytest.approx(estimate.seen, abs=1e-4)
    assert response.confidence == pytest.approx(estimate.confidence, abs=1e-4)
    ahead = geometry.compose(estimate.odom_pose, geometry.inverse(estimate.pose))
    for found, other in zip(response.alternatives, estimate.alternatives, strict=True):
        expected = geometry.compose(ahead, other.pose)
        np.testing.assert_allclose(messages.planar_pose(found.pose), expected, atol=1e-3)
    confidences = [other.confidence for other in estimate.alternatives]
    np.testing.assert_allclose(response.alternative_confidences, confidences, atol=1e-4)


def test_the_node_answers_what_the_library_answers(robot: Robot) -> None:
    """Odometry interpolated at the image's stamp, images unchanged on the way: the same numbers."""
    memory = SpatialMemory.from_checkpoint(default_checkpoint())
    for rgb, pose in look_at(robot, 1, 2, 3, 4, 5, 6, 1):
        memory.update(rgb, pose)
    estimate, response = memory.locate(frame(3)), robot.where(3, "odom")
    same_answer(response, estimate)
    assert response.num_updates == 7
    twice = memory.locate(frame(1))
    assert twice.alternatives, "a frame that was seen at two places"
    same_answer(robot.where(1, "odom"), twice)
    narrower = QueryPose.Request(image=image_msg(frame(2)), frame_id="odom", hfov_deg=80.0)
    same_answer(robot.ask(narrower), memory.locate(frame(2), hfov=math.radians(80)))


def test_the_node_is_as_sure_as_the_library(robot: Robot) -> None:
    """Of views of one room: noise fits nothing around it, so that its covariance hangs on the last digit."""
    memory = SpatialMemory.from_checkpoint(default_checkpoint())
    scene = generate_scene(3, SceneConfig(10.0, 10.0))
    x, y, _ = explore(scene, np.random.default_rng(0), 1)[0]
    headings = np.linspace(-np.pi, np.pi, 64)
    around = np.stack([np.cos(headings), np.sin(headings), np.zeros(64)], axis=-1)
    ahead = int(ray_lengths(scene, np.array([x, y, 0.5]), around).argmax())
    way = [
        [x + 0.3 * n * around[ahead, 0], y + 0.3 * n * around[ahead, 1], headings[ahead]] for n in range(6)
    ]
    views = render(scene, np.array(way), Camera(160, 120))
    robot.connected(robot.image)
    robot.until_heard()
    for rgb in views:
        robot.show(image_msg(rgb, robot.drive(metres=0.3)))
        memory.update(rgb, (robot.x - 0.15, 0.0, 0.0))  # the stamp is half-way
    estimate = memory.locate(views[3])
    response = robot.ask(QueryPose.Request(image=image_msg(views[3]), frame_id="odom"))
    same_answer(response, estimate)
    assert response.confidence > 0.8
    covariance = messages.planar_covariance(response.pose.pose)
    np.testing.assert_allclose(np.diag(covariance), np.diag(estimate.covariance), rtol=1e-3)


def test_the_node_compares_as_the_library_does(robot: Robot) -> None:
    memory = SpatialMemory.from_checkpoint(default_checkpoint())
    client = robot.node.create_client(CompareView, "kinaema_memory/compare_view")
    early = robot.call(client, CompareView.Request(image=image_msg(frame(3))))
    assert not early.success
    assert early.message.startswith("query_before_update")
    for rgb, pose in look_at(robot, 1, 2, 3):
        memory.update(rgb, pose)
    for seed in (3, 9):
        expected = memory.compare(frame(seed), rgb, pose).seen_from(np.array(pose))
        response = robot.call(client, CompareView.Request(image=image_msg(frame(seed))))
        assert response.success, response.message
        seen = messages.response_to_comparison(response)
        assert (seen.verdict, seen.why) == (expected.verdict, expected.why)
        assert (seen.pose is None) == (seed == 9)
        if seen.pose is not None:
            np.testing.assert_allclose(seen.pose, expected.pose, atol=1e-4)
            assert response.pose.header.frame_id == "odom"


def test_of_many_questions_at_once_every_one_is_answered_or_refused_as_busy(robot: Robot) -> None:
    robot.remember(1, 2)
    request = QueryPose.Request(image=image_msg(frame(2)), frame_id="odom")
    # Of the ten that a client keeps by default, the others would never be sent.
    client = robot.node.create_client(
        QueryPose, robot.query_client.srv_name, qos_profile=QoSProfile(depth=100)
    )
    assert client.wait_for_service(DISCOVERY)
    futures = [client.call_async(request) for _ in range(40)]
    answers = [robot.result(future, 60.0) for future in futures]
    refused = [answer.message for answer in answers if not answer.success]
    assert len(refused) < 40
    assert all(message.startswith("query_busy: ") and "ask again" in message for message in refused), refused
    assert robot.ask(request).success


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
    futures: list[Any] = []
    large = [cv2.resize(frame(seed), (640, 480)) for seed in range(4)]
    images = itertools.count()

    def streamed() -> bool:
        """One image more, and at every fifth a query; none is waited for."""
        n = next(images)
        robot.image.publish(image_msg(large[n % 4], robot.drive(metres=0.05)))
        if n % 5 == 0 and len(futures) < 8:
            futures.append(robot.query_client.call_async(QueryPose.Request(image=image_msg(frame(1)))))
        return len(futures) == 8 and counts(robot.statuses[-1]).get("skipped_newer_image", 0) > 3

    wait_until(streamed, 60.0, "images to give way to newer ones")
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


def test_a_saved_memory_is_restored_and_a_foreign_file_is_refused(robot: Robot, memory_dir: Path) -> None:
    robot.remember(1, 2, 3)
    before = answer_of(robot.where(2, "odom"))
    file = memory_dir / "home.safetensors"
    saved = robot.call(robot.save_client, SaveMemory.Request(name="home"))
    assert (saved.success, saved.message) == (True, f"saved to {file}")
    robot.remember(4, 5)
    loaded = robot.call(robot.load_client, LoadMemory.Request(name="home"))
    assert (loaded.success, loaded.message) == (True, f"loaded from {file}")
    robot.drive()
    np.testing.assert_allclose(answer_of(robot.where(2, "odom")), before, atol=1e-6)
    file.write_bytes(b"no memory at all")
    for name, why in (
        ("home", "not a safetensors file"),
        ("office", "there are: home"),
        ("../home", "no name"),
    ):
        refused = robot.call(robot.load_client, LoadMemory.Request(name=name))
        assert not refused.success
        assert refused.message.startswith("nothing was loaded, the memory is as it was: ")
        assert why in refused.message
    refused = robot.call(robot.save_client, SaveMemory.Request(name=str(memory_dir.parent / "elsewhere")))
    assert not refused.success
    assert [path.name for path in memory_dir.parent.rglob("*")] == ["kinaema", "home.safetensors"]
    np.testing.assert_allclose(answer_of(robot.where(2, "odom")), before, atol=1e-6)


def test_an_empty_memory_is_saved_and_loaded_as_one(robot: Robot) -> None:
    assert robot.call(robot.save_client, SaveMemory.Request(name="empty")).success
    robot.remember(1, 2)
    loaded = robot.call(robot.load_client, LoadMemory.Request(name="empty"))
    assert loaded.success, loaded.message
    assert robot.status(lambda s: s.num_updates == 0)
    assert robot.where(1).message.startswith("query_before_update: nothing is remembered yet")
    assert robot.remember(3).num_updates == 1
    assert robot.where(3).success


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


def test_raw_images_are_used_as_their_lens_bends_them(robot: Robot) -> None:
    lens = (-0.25, 0.0625, 0.0, 0.0, 0.0)
    k = [80.0, 0.0, 79.5, 0.0, 80.0, 59.5, 0.0, 0.0, 1.0]
    info = CameraInfo(width=160, height=120, k=k, distortion_model="plumb_bob", d=lens)
    robot.connected(robot.camera_info)
    robot.camera_info.publish(info)
    memories = [SpatialMemory.from_checkpoint(default_checkpoint()) for _ in range(2)]
    bent = Intrinsics(160, 120, 80.0, 80.0, 79.5, 59.5, "plumb_bob", lens)
    for memory, camera in zip(
        memories, (bent, replace(bent, distortion_model="none", distortion=())), strict=True
    ):
        memory.set_camera(camera)
    for rgb, pose in look_at(robot, 1, 2, 3):
        for memory in memories:
            memory.update(rgb, pose)
    with_lens, without = (memory.locate(frame(2)) for memory in memories)
    same_answer(robot.where(2, "odom"), with_lens)
    assert np.abs(with_lens.covariance - without.covariance).max() > 1e-6  # it makes a difference


def test_rviz_gets_the_last_estimate(robot: Robot) -> None:
    estimates: list[PoseWithCovarianceStamped] = []
    markers: list[MarkerArray] = []
    look_at(robot, 1, 2, 1)
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    node = robot.node
    node.create_subscription(MarkerArray, "kinaema_memory/markers", markers.append, latched)
    wait_until(lambda: bool(markers), what="markers of the status")
    answer = robot.where(1, "odom")
    node.create_subscription(PoseWithCovarianceStamped, "kinaema_memory/estimate", estimates.append, latched)
    wait_until(lambda: bool(estimates), what="the estimate, though it was published before")
    assert estimates[-1] == answer.pose
    places = [answer.pose.pose.pose, *(other.pose for other in answer.alternatives)]

    def arrows(array: MarkerArray) -> list[Pose]:
        return [m.pose for m in array.markers if m.type == Marker.ARROW and m.action == Marker.ADD]

    wait_until(lambda: places in map(arrows, markers), what="an arrow at each of the places")


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
