"""2,000 mutated messages of each kind that memory_node takes, and as many memory files: nothing kills it.

After each kind it still takes good pictures and answers a good query, has logged no traceback, and says what was wrong in
lines that a person can read.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzz_support import STRINGS, corrupted, mutate
from PIL import Image as Pillow
from PIL.ExifTags import IFD, Base
from ros_support import NodeProcess, Robot, frame, image_msg, odometry_msg, wait_until
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from kinaema_interfaces.srv import AddPlace, ListPlaces, LoadMemory, QueryPose, RemovePlace, SaveMemory
from kinaema_ros.memory_file import FORMAT, VERSION
from kinaema_ros.model.checkpoint import read_tensors, write_tensors
from kinaema_ros.nodes.support import messages
from kinaema_ros.nodes.support.waiting import wait_for

MUTATED = 2000
AT_ONCE = 4  # images; the node's subscriptions keep five
STEP = 0.02  # seconds from message to message
LONGEST_LINE = 2000
FAULTS = ("update_failed", "load_failed", "save_failed", "place_failed")
TINY = np.ascontiguousarray(frame(1)[::3, ::4])  # 40 x 40 pixels


@pytest.fixture(scope="module")
def memory_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("memories")


@pytest.fixture(scope="module")
def node(memory_dir: Path) -> Iterator[NodeProcess]:
    process = NodeProcess(
        "memory_node",
        "keyframes.min_distance:=0.1",
        "odometry.max_gap:=60.0",
        "odometry.max_wait:=0.2",
        f"memory_dir:={memory_dir}",
    )
    yield process
    assert process.stop() == 0, process.log[-5000:]


@pytest.fixture(scope="module")
def connected(node: NodeProcess) -> Iterator[Robot]:
    robot = Robot()
    robot.now -= 5000.0
    robot.connected(robot.image)
    robot.connected(robot.camera_info)
    robot.status(lambda _: True)
    yield robot
    robot.close()


@pytest.fixture
def robot(node: NodeProcess, connected: Robot) -> Iterator[Robot]:
    """A robot that stands still, for a minute of its clock; afterwards the node must be as good as before."""
    robot = connected
    robot.reset()
    robot.drive()
    robot.odom.publish(odometry_msg((robot.x, 0.0, 0.0), robot.now + MUTATED * STEP + 10.0))
    yield robot
    assert node.process.poll() is None, node.log[-5000:]
    robot.now += 200.0
    robot.camera_info.publish(CameraInfo(width=4, height=3, k=[2.0, 0, 1.5, 0, 2.0, 1, 0, 0, 1]))
    robot.reset()
    assert robot.remember(1, 2, 3).num_updates == 3, robot.statuses[-1].last_error
    answer = robot.where(2, "odom")
    assert answer.success, answer.message
    assert "Traceback" not in node.log
    assert max(map(len, node.log.splitlines()), default=0) < LONGEST_LINE
    assert all(len(status.last_error) < LONGEST_LINE for status in robot.statuses)
    assert not set(FAULTS) & set(robot.statuses[-1].reasons)


def send_all(robot: Robot, publisher: Any, images: Iterator[Image | CompressedImage]) -> None:
    """Publishes images as fast as the node is done with them, so that each reaches it."""
    start, sent = robot.statuses[-1].frames_received, 0

    def done() -> bool:
        s = robot.statuses[-1]
        handled = s.frames_used + s.frames_skipped + s.frames_dropped
        return s.frames_received == handled == start + sent

    for message in images:
        publisher.publish(message)
        sent += 1
        if sent % AT_ONCE == 0:
            wait_until(done, what=f"image {sent} to be handled")
    wait_until(done, what="the last image to be handled")


def answered(client: Any, request: Any) -> Any:
    """A service's response, without a poll's delay."""
    return wait_for(client.call_async(request), 30.0)


def stamped(robot: Robot, message: Any) -> Any:
    """The next message of the robot's clock."""
    robot.now += STEP
    message.header.stamp = messages.time_msg(round(robot.now * 1e9))
    return message


def jpeg() -> bytes:
    """A phone's tiny photo."""
    exif, stream = Pillow.Exif(), io.BytesIO()
    exif[Base.Orientation] = 6
    exif.get_ifd(IFD.Exif)[Base.FocalLengthIn35mmFilm] = 26
    Pillow.fromarray(TINY).save(stream, "JPEG", exif=exif)
    return stream.getvalue()


def mutated(rng: np.random.Generator, message: Any) -> Any:
    mutate(rng, message)
    return message


def test_mutated_images(robot: Robot) -> None:
    rng = np.random.default_rng(1)
    send_all(robot, robot.image, (mutated(rng, stamped(robot, image_msg(TINY))) for _ in range(MUTATED)))


def test_mutated_compressed_images(robot: Robot) -> None:
    rng, data = np.random.default_rng(2), jpeg()
    topic, qos = robot.image.topic_name, robot.image.qos_profile
    robot.node.destroy_publisher(robot.image)
    wait_until(lambda: not robot.node.get_publishers_info_by_topic(topic), what="the raw images to vanish")
    photos = (
        mutated(rng, stamped(robot, CompressedImage(format="jpeg", data=corrupted(rng, data))))
        for _ in range(MUTATED)
    )
    send_all(robot, robot.compressed, photos)
    robot.image = robot.node.create_publisher(Image, topic, qos)
    robot.connected(robot.image)


def test_mutated_odometry(robot: Robot) -> None:
    rng = np.random.default_rng(3)
    robot.reset()  # of the odometry that is ahead
    for n in range(MUTATED):
        robot.x += 0.01
        robot.odom.publish(mutated(rng, stamped(robot, odometry_msg((robot.x, 0.0, 0.0), 0.0))))
        if n % 20 == 19:  # none is lost that the node has no time for
            send_all(robot, robot.image, iter([stamped(robot, Image())]))
    robot.status(lambda _: True)  # the last of it has come, and is none after the reset


def test_mutated_camera_infos(robot: Robot) -> None:
    """Every twentieth is that of a picture, every two-hundredth that of an update and of a query."""
    rng, k = np.random.default_rng(4), [20.0, 0.0, 19.5, 0.0, 20.0, 19.5, 0.0, 0.0, 1.0]
    robot.reset()
    for n in range(MUTATED):
        info = CameraInfo(
            width=40, height=40, k=k, distortion_model="plumb_bob", d=[0.1, 0.01, 0.0, 0.0, 0.0]
        )
        info.p = [20.0, 0.0, 19.5, 0.0, 0.0, 20.0, 19.5, 0.0, 0.0, 0.0, 1.0, 0.0]
        info.distortion_model = str(rng.choice(["plumb_bob", "equidistant", "rational_polynomial"]))
        info.d = [0.1] * {"plumb_bob": 5, "equidistant": 4, "rational_polynomial": 8}[info.distortion_model]
        robot.camera_info.publish(mutated(rng, info))
        if n % 200 == 199:
            robot.show(image_msg(TINY, robot.drive()))
            robot.ask(QueryPose.Request(image=image_msg(TINY)))
        elif n % 20 == 19:
            robot.show(image_msg(TINY, robot.drive(metres=0.0)))


def test_mutated_queries(robot: Robot) -> None:
    """Most to an empty memory, which looks at the photo first; the others to one that answers."""
    rng, data = np.random.default_rng(5), jpeg()
    for n in range(MUTATED):
        if n == MUTATED - 40:
            robot.reset()
            robot.remember(1, 2)
        request = QueryPose.Request(image=image_msg(TINY), hfov_deg=69.0)
        if rng.random() < 0.5:
            photo = CompressedImage(format="jpeg", data=corrupted(rng, data))
            request = QueryPose.Request(compressed_image=photo)
        answer = answered(robot.query_client, mutated(rng, request))
        assert answer.success or len(answer.message) < LONGEST_LINE
        if answer.success:
            assert all(map(math.isfinite, messages.planar_pose(answer.pose.pose.pose)))


def test_mutated_requests_about_places(robot: Robot) -> None:
    """Here, at a pose, and now and then by a photo; what is added has a name that can be shown, and can be removed."""
    rng = np.random.default_rng(7)
    services = (AddPlace, "add_place"), (RemovePlace, "remove_place"), (ListPlaces, "list_places")
    add, remove, show = (robot.node.create_client(kind, f"kinaema_memory/{name}") for kind, name in services)
    robot.now += MUTATED * STEP + 20.0  # after the odometry that is ahead
    robot.remember(1, 2)
    for n in range(MUTATED // 2):
        request = AddPlace.Request(name=str(rng.choice(["desk", "Küche", "台所"])))
        if n % 2:
            request.pose = messages.pose_stamped((robot.x, 0.5, 1.0), "odom", messages.time_msg(0))
        elif n % 50 == 0:
            request.image = image_msg(TINY)
        client, request = (remove, RemovePlace.Request(name="desk")) if n % 4 == 3 else (add, request)
        assert len(answered(client, mutated(rng, request)).message) < LONGEST_LINE
        if n % 100 == 99:
            listed = answered(show, ListPlaces.Request())
            assert listed.success, listed.message
            for place in listed.places:
                assert 1 <= len(place.name) <= 64
                assert math.isfinite(place.pose.position.x)
                assert answered(remove, RemovePlace.Request(name=place.name)).success
    assert listed.places, "some were taken"


def test_mutated_memory_files(robot: Robot, memory_dir: Path) -> None:
    """Bytes at random, which the hash gives away, and values at random with a hash that fits."""
    rng, path = np.random.default_rng(6), memory_dir / "home.safetensors"
    robot.reset()
    robot.remember(1, 2)
    assert robot.call(robot.save_client, SaveMemory.Request(name="home")).success
    whole = path.read_bytes()
    tensors, metadata = read_tensors(path, FORMAT, VERSION)
    del metadata["sha256"]
    accepted = 0
    for n in range(MUTATED):
        name = str(rng.choice(STRINGS)) if n % 10 == 0 else "home"
        if n % 160 == 1:
            crafted = {key: tensor.clone() for key, tensor in tensors.items()}
            for key in rng.choice(sorted(crafted), 2):
                values = crafted[key].view(-1).numpy()
                values[rng.integers(0, max(1, values.size), 3)] = rng.integers(-2, 100, 3)
            write_tensors(path, crafted, metadata)
        else:
            path.write_bytes(corrupted(rng, whole))
        loaded = answered(robot.load_client, LoadMemory.Request(name=name))
        assert len(loaded.message) < LONGEST_LINE
        if loaded.success:  # it may be asked, and the drive goes on
            accepted += 1
            robot.where(1)
            robot.remember(3)
    assert 0 < accepted < MUTATED / 20
    path.unlink()
