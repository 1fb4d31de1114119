"""memory_node whose robot is lost: it looks for it in what it remembers, and neither writes nor answers meanwhile."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ros_support import NodeProcess, Robot, counts, image_msg, odometry_msg, wait_until

from kinaema_interfaces.msg import MemoryStatus
from kinaema_interfaces.srv import LoadMemory, QueryPose, SaveMemory
from kinaema_ros import geometry
from kinaema_ros.metrics import pose_errors
from kinaema_ros.nodes.support import messages
from kinaema_ros.sim import SceneConfig, explore, generate_scene, render

FRAMES = 60
LOOKED_UP = 10  # the frame that is asked for; the robot is lost at later ones
Drive = tuple[np.ndarray, np.ndarray]  # true poses (T, 3), images (T, H, W, 3)


@pytest.fixture(scope="module")
def house() -> Drive:
    scene = generate_scene(20261122, SceneConfig(size_min=8, size_max=10, texture_seed=4242))
    poses = explore(scene, np.random.default_rng(20261122), FRAMES)
    return poses, render(scene, poses)


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    """A robot of a memory_node that takes every image, with the default answer to a jump."""
    folder = tmp_path_factory.mktemp("kinaema")
    always = ("keyframes.min_distance:=0.0", "keyframes.min_angle:=0.0", "keyframes.max_rate_hz:=0.0")
    node = NodeProcess("memory_node", *always, f"memory_dir:={folder}")
    robot = Robot()
    yield robot
    robot.close()
    assert node.stop() == 0, node.log


@pytest.fixture(scope="module")
def saved(robot: Robot, house: Drive) -> str:
    """The name of a memory of the whole drive."""
    robot.connected(robot.odom)
    robot.connected(robot.image)
    for pose, rgb in zip(*house, strict=True):
        see(robot, pose, rgb)
    answer = robot.call(robot.save_client, SaveMemory.Request(name="house"))
    assert answer.success, answer.message
    assert Path(answer.message.removeprefix("saved to ")).is_file()
    return "house"


def see(robot: Robot, odom_pose: np.ndarray, rgb: np.ndarray) -> MemoryStatus:
    """Stands at a pose of the odometry and sees an image; returns the status after it."""
    robot.now += 0.5
    for offset in (-0.05, 0.05):
        robot.odom.publish(odometry_msg(odom_pose, robot.now + offset))
    robot.show(image_msg(rgb, robot.now))
    return robot.statuses[-1]


def load(robot: Robot, name: str, localize: bool) -> str:
    """As after a restart, with odometry that is yet to come; returns the node's words."""
    robot.reset()
    answer = robot.call(robot.load_client, LoadMemory.Request(name=name, localize=localize))
    assert answer.success, answer.message
    return answer.message


def ask(robot: Robot, rgb: np.ndarray) -> QueryPose.Response:
    return robot.ask(QueryPose.Request(image=image_msg(rgb), frame_id="odom"))


def drive_until_found(robot: Robot, house: Drive, odom_T_map: np.ndarray, first: int) -> None:
    """Nothing is written and no query answered, until the robot is found; then answers are in its new odometry."""
    poses, images = house
    place = geometry.compose(odom_T_map, poses)
    before = see(robot, place[first], images[first])
    lost = robot.status(lambda s: s.state == MemoryStatus.LOCALIZING, what="LOCALIZING")
    assert "agreeing views; turn or drive on" in lost.waiting_for
    refused = ask(robot, images[LOOKED_UP])
    assert not refused.success
    assert refused.message.startswith("query_localizing: ")
    for number in range(first + 1, FRAMES):
        status = see(robot, place[number], images[number])
        if status.num_updates != before.num_updates:
            break
        assert counts(status)["skipped_localizing"] == counts(before)["skipped_localizing"] + number - first
    assert status.num_updates == before.num_updates + 1, "never found"
    robot.status(lambda s: s.state == MemoryStatus.RUNNING and s.waiting_for == "", what="RUNNING")
    answer = ask(robot, images[LOOKED_UP])
    assert answer.success, answer.message
    error, turn = pose_errors(messages.planar_pose(answer.pose.pose.pose), place[LOOKED_UP])
    assert error < 0.4
    assert turn < math.radians(6.0)


def test_a_loaded_memory_is_used_once_the_robot_was_found_in_it(
    robot: Robot, house: Drive, saved: str
) -> None:
    message = load(robot, saved, localize=True)
    assert "where the robot is in it is looked for: 0 of 5 agreeing views" in message
    drive_until_found(robot, house, geometry.inverse(house[0][20]), first=20)  # the odometry begins at zero


@pytest.mark.parametrize("jump", [(7.0, -4.0, 2.0), None], ids=["elsewhere", "to the origin"])
def test_a_robot_whose_odometry_jumps_is_found_again(
    robot: Robot, house: Drive, saved: str, jump: tuple[float, float, float] | None
) -> None:
    load(robot, saved, localize=False)
    before = robot.status(
        lambda s: s.num_updates > 0
    ).num_updates  # the first image of all may have come too early
    status = see(robot, house[0][19], house[1][19])
    assert status.num_updates == before + 1
    odom_T_map = geometry.inverse(house[0][20]) if jump is None else np.array(jump)
    drive_until_found(robot, house, odom_T_map, first=20)
    reason = "odometry_reset" if jump is None else "odometry_jump"
    assert counts(robot.statuses[-1])[reason] == 1
    assert robot.statuses[-1].num_updates == before + 2


def test_a_memory_of_another_odometry_is_refused_and_if_that_comes_later_the_robot_is_looked_for(
    robot: Robot, house: Drive, saved: str
) -> None:
    robot.reset()
    robot.connected(robot.odom)
    robot.odom.publish(odometry_msg(house[0][20], robot.now + 1.0, "wheel_odom"))
    robot.now += 2.0

    def load_it() -> LoadMemory.Response:
        return robot.call(robot.load_client, LoadMemory.Request(name=saved))

    wait_until(lambda: not load_it().success, what="the odometry's frame to be known")
    refused = load_it()
    assert "in the frame 'odom', and now it comes in 'wheel_odom'" in refused.message
    assert "load it with localize" in refused.message
    robot.reset()  # from here on no odometry has come yet
    assert load_it().success
    robot.odom.publish(odometry_msg(house[0][20], robot.now, "wheel_odom"))
    status = robot.status(lambda s: "odometry_frame" in s.reasons, what="the other frame to be told")
    assert "saved with odometry in frame 'odom', and now it comes in 'wheel_odom'" in status.last_error
    see_in = [odometry_msg(house[0][20], robot.now + 0.5 + offset, "wheel_odom") for offset in (-0.05, 0.05)]
    for message in see_in:
        robot.odom.publish(message)
    robot.now += 0.5
    robot.show(image_msg(house[1][20], robot.now))
    robot.status(lambda s: s.state == MemoryStatus.LOCALIZING, what="LOCALIZING")
