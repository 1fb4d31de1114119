"""What memory_node does with an image before it is decoded, and which of the camera's topics it takes: no node runs here."""

from __future__ import annotations

import math
from unittest.mock import Mock

import pytest
from memory_node_support import SECOND, a_memory, inputs_of, log_of, ros_node
from ros_support import frame, image_msg, odometry_msg
from sensor_msgs.msg import CompressedImage

from kinaema_ros.camera import Mount
from kinaema_ros.model.mount_check import MountError
from kinaema_ros.nodes.memory import image_topics
from kinaema_ros.nodes.memory.image_topics import RAW_SILENCE, ImageTopics
from kinaema_ros.nodes.memory.parameters import MemoryParameters
from kinaema_ros.nodes.support import messages
from kinaema_ros.odometry import LEVEL, OdometryLimits


def test_an_image_that_is_no_keyframe_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = Mock(side_effect=messages.image_to_rgb)
    monkeypatch.setattr(messages, "image_to_rgb", decoded)
    inputs = inputs_of(a_memory())
    for seconds in (99.2, 99.5, 99.8):  # the robot stands still
        inputs._remember(image_msg(frame(1), seconds))
    assert decoded.call_count == 1
    assert (inputs._monitor.tally.used, inputs._monitor.tally.skipped) == (1, 2)


@pytest.mark.parametrize(("pitch", "told"), [(0.2, 0.2), (-1.5, 0.0)])  # the second: axes of an optical frame
def test_an_image_goes_into_memory_with_the_tilt_that_odometry_says(pitch: float, told: float) -> None:
    memory = a_memory()
    inputs = inputs_of(memory)
    inputs.tracker.restart()
    for seconds in (99.0, 100.0):
        message = odometry_msg((1.0, 0.0, 0.0), seconds)
        message.pose.pose.orientation.y, message.pose.pose.orientation.w = (
            math.sin(pitch / 2),
            math.cos(pitch / 2),
        )
        inputs._on_odometry(message)
    inputs._remember(image_msg(frame(1), 99.5))
    assert memory.update.call_args.kwargs.get("tilt", LEVEL) == pytest.approx((0.0, told))


def test_a_camera_that_looks_beside_its_mount_is_told_whenever_that_is_known_better() -> None:
    memory = a_memory()
    inputs = inputs_of(memory, parameters=MemoryParameters(camera=Mount(yaw=0.1)))
    found = [None, 0.01, 0.05, None, 0.06]  # radians; None: no straight stretch since the last image
    memory.check_mount.side_effect = [None if yaw is None else MountError(yaw, 0.003, 30) for yaw in found]
    for step in range(5):
        inputs.tracker.restart()
        for seconds in (99.0, 100.0):
            inputs._on_odometry(odometry_msg((float(step), 0.0, 0.0), seconds - 8 + 2 * step))
        inputs._remember(image_msg(frame(1), 91.5 + 2 * step))
    assert inputs._monitor.tally.used == 5
    assert inputs._monitor._reports.counts()["camera_mount"] == 2  # 0.01 is too little to matter
    (line,) = (line for line in log_of(inputs) if line.startswith("camera_mount"))
    assert "further to the right" in line
    assert "about 0.050 rad" in line


def test_an_image_that_cannot_be_decoded_leaves_its_place_to_the_next() -> None:
    inputs = inputs_of(a_memory())
    broken = image_msg(frame(1), 99.2)
    broken.encoding = "rgb9"
    for message in (broken, image_msg(frame(1), 99.5)):
        inputs._remember(message)
    assert (inputs._monitor.tally.dropped, inputs._monitor.tally.used) == (1, 1)


@pytest.mark.parametrize(
    ("newest", "reason"), [(99 * SECOND, "late_odometry"), (101 * SECOND, "newer_image")]
)
def test_an_image_that_has_to_go_is_counted_by_what_it_waited_for(newest: int, reason: str) -> None:
    inputs = inputs_of(a_memory())
    inputs.tracker.restart()
    for stamp in (98 * SECOND, newest):
        inputs.tracker.add(stamp, (1.0, 0.0, 0.0))
    inputs._worker.submit.return_value = image_msg(frame(1), 99.5)
    inputs._on_image(image_msg(frame(1), 99.9))
    assert inputs._monitor._reports.counts() == {f"skipped_{reason}": 1}


class Camera:
    """Both topics of a camera, by a clock that the test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, raw_is_advertised: bool = True):
        self.now, self.taken, self.said = 1000.0, [], []
        monkeypatch.setattr(image_topics.time, "monotonic", lambda: self.now)
        node = ros_node()
        node.get_publishers_info_by_topic.return_value = [Mock()] if raw_is_advertised else []
        self.topics = ImageTopics(
            node,
            "auto",
            lambda message: self.taken.append((type(message).__name__, message.header.stamp.sec)),
            lambda reason, message: self.said.append(reason),
            Mock(),
        )

    def publishes(self, stamp: int, raw: bool = True, compressed: bool = True) -> None:
        self.now += 1.0
        if compressed:
            message = CompressedImage(format="jpeg")
            message.header.stamp.sec = stamp
            self.topics._on_compressed(message)
        if raw:
            self.topics._on_raw(image_msg(frame(1), stamp))


def test_of_a_picture_that_comes_raw_and_compressed_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    camera = Camera(monkeypatch)
    for stamp in range(1, 6):
        camera.publishes(stamp)
    assert camera.taken == [("Image", stamp) for stamp in range(1, 6)]


def test_a_raw_topic_that_is_advertised_but_silent_gives_way_until_it_flows(monkeypatch) -> None:
    camera = Camera(monkeypatch)
    for stamp in range(1, 6):
        camera.publishes(stamp, raw=False)
    first = round(RAW_SILENCE)
    assert camera.taken == [("CompressedImage", stamp) for stamp in range(first, 6)]
    assert camera.said == ["image_raw_silent"]  # once
    for stamp in range(6, 9):
        camera.publishes(stamp)
    assert camera.taken[-3:] == [("CompressedImage", 6), ("Image", 7), ("Image", 8)]  # none twice


def test_compressed_images_are_taken_at_once_where_nobody_advertises_raw_ones(monkeypatch) -> None:
    camera = Camera(monkeypatch, raw_is_advertised=False)
    camera.publishes(1, raw=False)
    assert camera.taken == [("CompressedImage", 1)]
    assert camera.said == []


@pytest.mark.parametrize("policy", ["localize", "reanchor"])
def test_a_restarted_driver_is_told_and_the_robot_is_looked_for_or_stays_where_it_is(policy: str) -> None:
    odometry = OdometryLimits(on_reset=policy)
    inputs = inputs_of(a_memory(), parameters=MemoryParameters(odometry=odometry))
    message = Mock(child_frame_id="base_link")
    message.header.frame_id, message.header.stamp = "odom", messages.time_msg(SECOND)
    message.pose.pose = messages.pose_msg((0.0, 0.0, 0.0))
    inputs._on_odometry(message)
    assert log_of(inputs)[-1].startswith("odometry_reset: the odometry jumped to its origin, 1.00 m")
    assert inputs.memory.localize.called == (policy == "localize")
    stays = [1.0, 0.0, 0.0] if policy == "reanchor" else [0.0, 0.0, 0.0]
    assert inputs.tracker.pose_at(SECOND).tolist() == stays


def test_a_robot_is_lost_before_an_image_that_waits_for_the_jump_is_looked_at() -> None:
    inputs = inputs_of(a_memory())
    calls = Mock()
    calls.attach_mock(inputs.memory.localize, "localize")
    calls.attach_mock(inputs._worker.wake, "wake")
    inputs._on_odometry(odometry_msg((9.0, 0.0, 0.0), 100.5))
    assert [name for name, *_ in calls.mock_calls] == ["localize", "wake"]
