"""Whatever a robot publishes: memory_node lives, says once what is wrong, counts it, and remembers what it
did."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from nav_msgs.msg import Odometry
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from ros_support import NodeProcess, Robot, counts, frame, image_msg, odometry_msg, wait_until
from sensor_msgs.msg import CompressedImage, Image

from kinaema_interfaces.msg import MemoryStatus
from kinaema_interfaces.srv import QueryPose
from kinaema_ros.nodes.support import messages


@pytest.fixture(scope="module")
def node() -> Iterator[NodeProcess]:
    process = NodeProcess(
        "memory_node",
        "keyframes.min_distance:=0.0",
        "keyframes.min_angle:=0.0",
        "keyframes.max_rate_hz:=0.0",
        "odometry.max_wait:=0.2",
        "odometry.on_jump:=hold",
        "odometry.on_reset:=reanchor",
    )
    yield process
    assert process.stop() == 0, process.log


@pytest.fixture(scope="module")
def robot(node: NodeProcess) -> Iterator[Robot]:
    robot = Robot()
    yield robot
    robot.close()


class Memories:
    """What the node remembered before the bad input; ``unharmed`` compares."""

    def __init__(self, robot: Robot):
        self.robot = robot
        self.status = robot.remember(1, 2, 3)
        self.answer = robot.where(1, "odom")
        assert self.answer.success, self.answer.message

    def unharmed(self) -> None:
        """The same answer as before, and the next good image still becomes an update."""
        again = self.robot.where(1, "odom")
        assert again.num_updates == self.answer.num_updates == 3
        assert again.pose.pose == self.answer.pose.pose
        assert self.robot.remember(4).num_updates == 4


@pytest.fixture
def memories(robot: Robot) -> Memories:
    robot.reset()
    return Memories(robot)


def told(node: NodeProcess, robot: Robot, reason: str, before: MemoryStatus) -> MemoryStatus:
    """Waits until ``reason`` was counted twice more; checks that it was said once, and is in /diagnostics."""
    expected = counts(before).get(reason, 0) + 2
    status = robot.status(lambda s: counts(s).get(reason, 0) >= expected, what=f"two of {reason}")
    assert counts(status)[reason] == expected
    assert node.log.count(f"]: {reason}: ") == 1, node.log
    wait_until(
        lambda: any(
            value.key == reason and int(value.value) >= expected and entry.level != b"\x00"
            for array in robot.diagnostics
            for entry in array.status
            for value in entry.values
        ),
        what=f"{reason} in /diagnostics",
    )
    return status


def with_fields(**fields: object) -> Callable[[Image], None]:
    def change(message: Image) -> None:
        for name, value in fields.items():
            setattr(message, name, value)

    return change


def at(seconds: Callable[[float], float]) -> Callable[[Image | Odometry], None]:
    def change(message: Image | Odometry) -> None:
        stamp = messages.stamp_ns(message.header.stamp) * 1e-9
        message.header.stamp = messages.time_msg(round(seconds(stamp) * 1e9))

    return change


IMAGES = {
    "image_encoding": with_fields(encoding="rgb9"),
    "image_empty": with_fields(width=0, height=0, step=0, data=b""),
    "image_truncated": with_fields(data=b"\x00" * (160 * 3 * 120 - 1)),
    "image_step": with_fields(step=160 * 3 - 1),
    "image_endianness": with_fields(is_bigendian=7),
    "image_stamp_zero": at(lambda _: 0.0),
    "image_stamp_backwards": at(lambda stamp: stamp - 0.5),
    "image_stamp_future": at(lambda _: time.time() + 60.0),
    "image_without_odometry": at(lambda stamp: stamp + 0.1),
}


@pytest.mark.parametrize("reason", IMAGES)
def test_a_bad_image_is_dropped(node: NodeProcess, robot: Robot, memories: Memories, reason: str) -> None:
    for _ in range(2):
        message = image_msg(frame(9), robot.drive(metres=0.0))
        IMAGES[reason](message)
        robot.show(message)
    status = told(node, robot, reason, memories.status)
    assert status.frames_dropped == memories.status.frames_dropped + 2
    assert status.frames_received == status.frames_used + status.frames_skipped + status.frames_dropped
    memories.unharmed()


def test_a_broken_jpeg_is_dropped(node: NodeProcess, robot: Robot, memories: Memories) -> None:
    topic, qos = robot.image.topic_name, robot.image.qos_profile
    robot.node.destroy_publisher(
        robot.image
    )  # compressed images are only taken where no raw ones are published
    robot.connected(robot.compressed)
    wait_until(lambda: not robot.node.get_publishers_info_by_topic(topic), what="the raw images to vanish")
    for _ in range(2):
        message = CompressedImage(format="jpeg", data=b"\xff\xd8 this is no jpeg")
        message.header.stamp = messages.time_msg(round(robot.drive(metres=0.0) * 1e9))
        sent = robot.statuses[-1].frames_dropped
        robot.compressed.publish(message)
        robot.status(lambda s: s.frames_dropped > sent, what="a jpeg dropped")  # noqa: B023
    told(node, robot, "image_undecodable", memories.status)
    robot.image = robot.node.create_publisher(Image, topic, qos)
    memories.unharmed()


def broken_quaternion(message: Odometry) -> None:
    message.pose.pose.orientation.w = 0.5


def not_a_number(message: Odometry) -> None:
    message.pose.pose.position.y = math.nan


def infinite(message: Odometry) -> None:
    message.pose.pose.orientation.z = math.inf


def other_frame(message: Odometry) -> None:
    message.header.frame_id = "map"


ODOMETRY = {
    "odometry_not_finite": (not_a_number, infinite),
    "odometry_quaternion": (broken_quaternion, broken_quaternion),
    "odometry_stamp_zero": (at(lambda _: 0.0),) * 2,
    "odometry_stamp_backwards": (at(lambda stamp: stamp - 0.5),) * 2,
    "odometry_stamp_future": (at(lambda _: time.time() + 60.0),) * 2,
    "odometry_frame": (other_frame, other_frame),
}


@pytest.mark.parametrize("reason", ODOMETRY)
def test_bad_odometry_is_ignored(node: NodeProcess, robot: Robot, memories: Memories, reason: str) -> None:
    before = memories.status.odometry_rejected
    for change in ODOMETRY[reason]:
        message = odometry_msg((robot.x, 0.0, 0.0), robot.drive(metres=0.0) + 0.06)
        change(message)
        robot.odom.publish(message)
    status = told(node, robot, reason, memories.status)
    assert status.odometry_rejected == before + 2
    assert status.frames_dropped == memories.status.frames_dropped
    memories.unharmed()


def set_parameter(robot: Robot, name: str, value: str) -> None:
    client = robot.node.create_client(SetParameters, "kinaema_memory/set_parameters")
    parameter = Parameter(
        name=name, value=ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=value)
    )
    (result,) = robot.call(client, SetParameters.Request(parameters=[parameter])).results
    assert result.successful, result.reason


def jump_to(robot: Robot, x: float) -> None:
    robot.now += 0.2
    robot.odom.publish(odometry_msg((x, 0.0, 0.0), robot.now))


def test_a_kidnapped_robot_neither_learns_nor_answers_until_it_is_back(
    node: NodeProcess, robot: Robot, memories: Memories
) -> None:
    for _ in range(2):  # away and back, twice
        jump_to(robot, robot.x + 5.0)
        robot.status(lambda s: s.state == MemoryStatus.HOLD and "jump" in s.waiting_for)
        answer = robot.where(1)
        assert not answer.success
        assert "odometry.on_jump" in answer.message
        robot.image.publish(image_msg(frame(9), robot.now))
        robot.status(
            lambda s: counts(s).get("odometry_held", 0) > counts(memories.status).get("odometry_held", 0)
        )
        jump_to(robot, robot.x)
        robot.status(lambda s: not s.waiting_for.startswith("a decision"))
    status = told(node, robot, "odometry_jump", memories.status)
    assert status.odometry_resets >= 2
    memories.unharmed()


def test_a_kidnapped_robot_goes_on_when_told_that_the_odometry_is_right(
    robot: Robot, memories: Memories
) -> None:
    jump_to(robot, robot.x + 5.0)
    robot.status(lambda s: "jump" in s.waiting_for)
    set_parameter(robot, "odometry.on_jump", "continue")
    robot.x += 5.0
    memories.unharmed()
    set_parameter(robot, "odometry.on_jump", "hold")


def test_a_new_origin_of_the_odometry_leaves_the_answer_where_it_was(
    node: NodeProcess, robot: Robot, memories: Memories
) -> None:
    for _ in range(2):
        while robot.x < 1.5:
            robot.remember(5)
        here = robot.where(1)
        resets = counts(robot.statuses[-1]).get("odometry_reset", 0)
        jump_to(robot, 0.0)
        robot.x = 0.0
        robot.status(lambda s: counts(s).get("odometry_reset", 0) > resets)  # noqa: B023
        again = robot.where(1)
        assert again.success, again.message
        np.testing.assert_allclose(
            messages.planar_pose(again.pose.pose.pose), messages.planar_pose(here.pose.pose.pose), atol=1e-6
        )
    told(node, robot, "odometry_reset", memories.status)
    updates = robot.statuses[-1].num_updates
    assert robot.remember(4).num_updates == updates + 1


PHOTO = image_msg(frame(1))
JPEG = CompressedImage(format="jpeg", data=b"\xff\xd8 this is no jpeg")
QUERIES = {
    "query_empty": QueryPose.Request(),
    "query_two_images": QueryPose.Request(image=PHOTO, compressed_image=JPEG),
    "query_undecodable": QueryPose.Request(compressed_image=JPEG),
    "query_encoding": QueryPose.Request(image=Image(height=2, width=2, step=2, encoding="x", data=b"1234")),
    "query_hfov": QueryPose.Request(image=PHOTO, hfov_deg=math.nan),
    "frame_unknown": QueryPose.Request(image=PHOTO, frame_id="atlantis"),
}


@pytest.mark.parametrize("reason", QUERIES)
def test_a_bad_query_is_refused(node: NodeProcess, robot: Robot, memories: Memories, reason: str) -> None:
    before = robot.statuses[-1]
    for _ in range(2):
        answer = robot.ask(QUERIES[reason])
        assert not answer.success
        assert answer.message.startswith(f"{reason}: ")
    status = told(node, robot, reason, before)
    assert status.queries_failed >= before.queries_failed + 2
    memories.unharmed()


def test_a_query_before_any_update_says_why(node: NodeProcess, robot: Robot) -> None:
    robot.reset()
    before = robot.status(lambda s: s.num_updates == 0)
    for _ in range(2):
        answer = robot.where(1)
        assert not answer.success
        assert "nothing is remembered" in answer.message
    told(node, robot, "query_before_update", before)
