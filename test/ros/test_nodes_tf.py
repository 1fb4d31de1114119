"""memory_node and TF: with the real tf2_ros where there is one, else with the stand-in of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_support import NodeProcess, Robot, counts, frame, image_msg, tf2_where_it_is_missing, wait_until
from sensor_msgs.msg import Image
from tf2_msgs.msg import TFMessage

from kinaema_ros import geometry
from kinaema_ros.camera import optical_quaternion
from kinaema_ros.nodes.support import messages

MAP_T_ODOM = np.array([5.0, -2.0, 1.2])
BASE_T_GRIPPER = np.array([0.4, 0.1, -0.5])


class Transforms:
    """Publishes to TF on the robot's behalf."""

    def __init__(self, robot: Robot):
        latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._moving = robot.node.create_publisher(TFMessage, "/tf", 10)
        self._fixed = robot.node.create_publisher(TFMessage, "/tf_static", latched)

    def camera(self, x: float, yaw: float, pitch: float) -> None:
        """base_link -> front_optical, once."""
        transform = _transform("base_link", "front_optical", np.array([x, 0.0, 0.0]))
        q = transform.transform.rotation
        q.x, q.y, q.z, q.w = optical_quaternion(yaw, pitch)
        gripper = _transform("base_link", "gripper", BASE_T_GRIPPER)
        self._fixed.publish(TFMessage(transforms=[transform, gripper]))

    def robot(self, odom_T_base: np.ndarray) -> None:
        """map -> odom -> base_link, as a localisation and a driver publish it."""
        moving = _transform("map", "odom", MAP_T_ODOM), _transform("odom", "base_link", odom_T_base)
        self._moving.publish(TFMessage(transforms=list(moving)))


def _transform(parent: str, child: str, pose: np.ndarray) -> TransformStamped:
    transform = TransformStamped(child_frame_id=child)
    transform.header.frame_id, transform.header.stamp.sec = parent, 1
    transform.transform.translation.x, transform.transform.translation.y = pose[:2].tolist()
    transform.transform.rotation = messages.pose_msg(pose).orientation
    return transform


@pytest.fixture(scope="module")
def robot() -> Iterator[Robot]:
    with pytest.MonkeyPatch.context() as patch:
        tf2_where_it_is_missing(patch)
        node = NodeProcess("memory_node", "camera_mount:=tf")
    robot = Robot()
    yield robot
    robot.close()
    assert node.stop() == 0, node.log
    assert "Traceback" not in node.log


def image(robot: Robot, seed: int) -> Image:
    message = image_msg(frame(seed), robot.drive())
    message.header.frame_id = "front_optical"
    return message


def test_images_wait_for_the_camera_s_place_on_the_robot(robot: Robot) -> None:
    robot.connected(robot.image)
    robot.until_heard()
    robot.show(image(robot, 1))
    status = robot.statuses[-1]
    assert (status.frames_used, counts(status)["frame_unknown"]) == (0, 1)
    assert "base_link" in status.last_error
    assert "front_optical" in status.last_error
    transforms = Transforms(robot)
    transforms.camera(0.2, 0.8, 0.1)
    robot.show(image(robot, 2))
    assert robot.statuses[-1].frames_used == 1


def test_answers_come_in_any_frame_that_tf_reaches(robot: Robot) -> None:
    transforms = Transforms(robot)
    robot.show(image(robot, 3))
    odom_T_base = np.array([robot.x, 0.0, 0.0])
    in_base, in_odom = robot.where(3), robot.where(3, "odom")
    assert in_base.success, in_base.message
    assert in_odom.success, in_odom.message
    timer = robot.node.create_timer(0.05, lambda: transforms.robot(odom_T_base))
    try:
        wait_until(lambda: robot.where(3, "map").success, what="TF to be known")
        in_map, in_gripper = robot.where(3, "map"), robot.where(3, "gripper")
    finally:
        robot.node.destroy_timer(timer)
    odom_T_query = messages.planar_pose(in_odom.pose.pose.pose)
    for answer, name, frame_T_odom in (
        (in_base, "base_link", geometry.inverse(odom_T_base)),
        (in_map, "map", MAP_T_ODOM),
        (in_gripper, "gripper", geometry.inverse(geometry.compose(odom_T_base, BASE_T_GRIPPER))),
    ):
        assert answer.success, answer.message
        assert answer.pose.header.frame_id == name
        pose = messages.planar_pose(answer.pose.pose.pose)
        np.testing.assert_allclose(
            geometry.between(geometry.compose(frame_T_odom, odom_T_query), pose), 0, atol=1e-5
        )
        expected = geometry.rotate_covariance(messages.planar_covariance(in_odom.pose.pose), frame_T_odom[2])
        np.testing.assert_allclose(
            messages.planar_covariance(answer.pose.pose), expected, rtol=1e-4, atol=1e-7
        )


def test_a_frame_that_tf_does_not_know_is_named(robot: Robot) -> None:
    answer = robot.where(3, "atlantis")
    assert not answer.success
    assert answer.message.startswith("frame_unknown: TF knows no way from 'odom' to 'atlantis'")
