"""memory_node as the robot's localisation: TF and ~/pose, part by part (no node runs) and of a running node."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from geometry_msgs.msg import PoseWithCovarianceStamped
from memory_node_support import SECOND, a_memory, inputs_of, log_of
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_support import DISCOVERY, NodeProcess, Robot, image_msg, odometry_msg, wait_until
from tf2_msgs.msg import TFMessage

from kinaema_interfaces.srv import LoadMemory, QueryPose, SaveMemory
from kinaema_ros import geometry
from kinaema_ros.estimate import Localization, as_pose
from kinaema_ros.metrics import pose_errors
from kinaema_ros.nodes.memory.inputs import MemoryInputs
from kinaema_ros.nodes.memory.localization import MemoryLocalization
from kinaema_ros.nodes.memory.parameters import MemoryParameters, TransformConfig
from kinaema_ros.nodes.support import messages
from kinaema_ros.odometry import OdometryLimits
from kinaema_ros.sim import SceneConfig, explore, generate_scene, render

COVARIANCE = np.diag([0.04, 0.04, 0.01])
LIMITS = TransformConfig(max_speed=0.2, max_turn=0.1, rate_hz=20.0, tolerance=0.25)
PERIOD = 0.05  # seconds between two ticks


class Localized:
    """A robot that drives at 0.5 m/s, 30 m from its odometry's origin, and what is published of it."""

    def __init__(self, memory_frame: str = "map"):
        parameters = MemoryParameters(
            publish_tf=True,
            memory_frame=memory_frame,
            tf=LIMITS,
            odometry=OdometryLimits(on_jump="reanchor", on_reset="reanchor"),
        )
        self.memory = a_memory()
        self.memory.localization.return_value = None
        self.inputs = inputs_of(self.memory, MemoryInputs, parameters)
        self.node = Mock(create_publisher=lambda *_: Mock())
        self._localization = MemoryLocalization(self.node, self.inputs, self.inputs._monitor)
        self._tick = self.node.create_timer.call_args.args[1]
        self.stamp, self.x = 100 * SECOND, 30.0
        self.odom_T_origin = np.zeros(3)  # where the odometry began, by the odometry of now
        self.inputs.tracker.restart()

    @property
    def driven(self) -> np.ndarray:
        """Pose (3,) of the robot by an odometry whose origin never moves."""
        return np.array([self.x, 0.0, 0.0])

    def says(self, memory_T_odom: Any, covariance: np.ndarray = COVARIANCE) -> None:
        """As after an update: the memory says where odometry lies."""
        pose = as_pose(geometry.compose(memory_T_odom, self.driven))
        self.memory.localization.return_value = Localization(pose, covariance, as_pose(self.driven))
        self.inputs._localize(self.inputs.memory)

    def tick(self) -> tuple[np.ndarray, Any] | None:
        """Odometry of the next 50 ms, and the map_T_base (3,) that TF then has, with its transform; None: no transform."""
        self.stamp += round(PERIOD * SECOND)
        self.x += 0.5 * PERIOD
        odom_T_base = geometry.compose(self.odom_T_origin, self.driven)
        self.inputs.tracker.add(self.stamp, odom_T_base)
        publisher = self._localization._tf.publish
        publisher.reset_mock()
        self._tick()
        if not publisher.called:
            return None
        (transform,) = publisher.call_args.args[0].transforms
        return geometry.compose(planar(transform), odom_T_base), transform


def planar(transform: Any) -> np.ndarray:
    t, q = transform.transform.translation, transform.transform.rotation
    return np.array([t.x, t.y, geometry.yaw_from_quaternion(q.x, q.y, q.z, q.w)])


def test_the_transform_comes_at_the_rate_that_is_asked_for_by_the_nodes_clock() -> None:
    call = Localized().node.create_timer.call_args
    assert call.args[0] == 1.0 / LIMITS.rate_hz
    assert "clock" not in call.kwargs  # simulated time, where the node uses it


def test_before_the_first_update_nothing_is_published_and_then_it_is_stamped_as_amcl_does() -> None:
    robot = Localized()
    assert robot.tick() is None
    robot.says((1.0, 2.0, 0.5))
    found = robot.tick()
    assert found is not None
    pose, transform = found
    assert (transform.header.frame_id, transform.child_frame_id) == ("map", "odom")
    assert messages.stamp_ns(transform.header.stamp) == robot.stamp + round(LIMITS.tolerance * SECOND)
    np.testing.assert_allclose(pose, geometry.compose((1.0, 2.0, 0.5), robot.driven), atol=1e-9)


def test_the_same_odometry_is_not_sent_twice() -> None:
    robot = Localized()
    robot.says(np.zeros(3))
    assert robot.tick() is not None
    robot._localization._tf.publish.reset_mock()
    robot._tick()
    assert not robot._localization._tf.publish.called


def test_a_correction_moves_the_robot_no_faster_than_allowed_and_gets_there() -> None:
    robot, target = Localized(), np.array([1.0, -0.5, 0.3])
    robot.says(np.zeros(3))
    before, _ = robot.tick()  # type: ignore[misc]
    robot.says(geometry.compose(geometry.compose(robot.driven, target), geometry.inverse(robot.driven)))
    for _ in range(200):
        after, _ = robot.tick()  # type: ignore[misc]
        step = geometry.between(before, after) - [0.5 * PERIOD, 0.0, 0.0]
        assert math.hypot(step[0], step[1]) <= LIMITS.max_speed * PERIOD + 1e-9
        assert abs(step[2]) <= LIMITS.max_turn * PERIOD + 1e-9
        before = after
    expected = geometry.compose(robot.inputs._localization.memory_T_odom, robot.driven)
    np.testing.assert_allclose(after, expected, atol=1e-6)


def lost_by_its_memory(robot: Localized) -> None:
    robot.memory.localized, robot.memory.missing = False, "3 of 5 agreeing views; turn or drive on"


def found_again(robot: Localized) -> None:
    robot.memory.localized, robot.memory.missing = True, ""


def deactivated(robot: Localized) -> None:
    robot.inputs._worker = None


def activated(robot: Localized) -> None:
    robot.inputs._worker = Mock()


@pytest.mark.parametrize(
    ("away", "back"), [(lost_by_its_memory, found_again), (deactivated, activated)], ids=["lost", "inactive"]
)
def test_a_robot_that_is_looked_for_has_no_transform_and_jumps_where_it_is_found(
    away: Any, back: Any
) -> None:
    robot = Localized()
    robot.says(np.zeros(3))
    assert robot.tick() is not None
    away(robot)
    assert robot.tick() is None
    assert robot.inputs.map_T_odom is None
    back(robot)
    robot.says((7.0, 7.0, 2.0))
    pose, _ = robot.tick()  # type: ignore[misc]
    np.testing.assert_allclose(pose, geometry.compose((7.0, 7.0, 2.0), robot.driven), atol=1e-9)


def test_another_memory_counts_at_once() -> None:
    robot = Localized()
    robot.says(np.zeros(3))
    robot.tick()
    robot.memory.localization.return_value = Localization((5.0, 5.0, 0.0), COVARIANCE, as_pose(robot.driven))
    robot.inputs.forget()
    pose, _ = robot.tick()  # type: ignore[misc]
    np.testing.assert_allclose(pose[:2], (5.0 + 0.5 * PERIOD, 5.0), atol=1e-9)


def test_an_origin_of_the_odometry_that_moves_under_a_standing_robot_moves_it_in_no_map() -> None:
    robot = Localized()
    robot.says((1.0, 2.0, 0.5))
    before, _ = robot.tick()  # type: ignore[misc]
    robot.odom_T_origin = geometry.inverse(robot.driven)  # the driver starts anew
    robot.x -= 0.5 * PERIOD
    after, transform = robot.tick()  # type: ignore[misc]
    np.testing.assert_allclose(after, before, atol=1e-9)
    np.testing.assert_allclose(planar(transform), before, atol=1e-9)


def test_the_pose_says_what_the_memory_says_once_an_update() -> None:
    robot = Localized()
    robot.says((1.0, 2.0, 0.5))
    for _ in range(3):
        robot.tick()
    (call,) = robot._localization._pose.publish.call_args_list
    message = call.args[0]
    assert message.header.frame_id == "map"
    np.testing.assert_allclose(messages.planar_covariance(message.pose), COVARIANCE)
    moment = (messages.stamp_ns(message.header.stamp) - 100 * SECOND) / SECOND
    expected = geometry.compose((1.0, 2.0, 0.5), (30.0 + 0.5 * moment, 0.0, 0.0))
    np.testing.assert_allclose(messages.planar_pose(message.pose.pose), expected, atol=1e-9)


def test_a_memory_frame_that_is_the_odometrys_own_is_told() -> None:
    robot = Localized("odom")
    robot.says(np.zeros(3))
    assert robot.tick() is None
    (said,) = log_of(robot.inputs)
    assert "'odom' is the odometry's own frame" in said
    assert "memory_frame" in said


# -- a running node ----------------------------------------------------------------------------------------

FRAMES, LOOKED_UP = 60, 10


@pytest.fixture(scope="module")
def house() -> tuple[np.ndarray, np.ndarray]:
    """True poses (T, 3), images (T, H, W, 3)."""
    scene = generate_scene(20261122, SceneConfig(size_min=8, size_max=10, texture_seed=4242))
    poses = explore(scene, np.random.default_rng(20261122), FRAMES)
    return poses, render(scene, poses)


class Listener(Robot):
    """A robot that hears how it is localised."""

    def __init__(self) -> None:
        super().__init__("ant")
        self.transforms: list[Any] = []
        self.poses: list[PoseWithCovarianceStamped] = []
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.node.create_subscription(TFMessage, "tf", self._on_tf, 100)
        self.node.create_subscription(
            PoseWithCovarianceStamped, "kinaema_memory/pose", self.poses.append, latched
        )

    def _on_tf(self, message: TFMessage) -> None:
        self.transforms += message.transforms

    def see(self, odom_pose: np.ndarray, rgb: np.ndarray) -> None:
        self.now += 0.5
        for offset in (-0.05, 0.05):
            self.odom.publish(odometry_msg(odom_pose, self.now + offset, "ant/odom"))
        self.show(image_msg(rgb, self.now))

    def newest(self, odom_pose: np.ndarray) -> np.ndarray:
        """map_T_base (3,) by a transform from now on, while the robot stands there."""
        self.transforms.clear()

        def heard() -> bool:
            self.now += 0.05
            self.odom.publish(odometry_msg(odom_pose, self.now, "ant/odom"))
            return len(self.transforms) >= 3

        wait_until(heard, DISCOVERY, "transforms")
        return geometry.compose(planar(self.transforms[-1]), odom_pose)


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listener]:
    """Of /ant: a TF tree, and frames, of its own."""
    always = ("keyframes.min_distance:=0.0", "keyframes.min_angle:=0.0", "keyframes.max_rate_hz:=0.0")
    own = ("__ns:=/ant", "/tf:=tf")
    node = NodeProcess(
        "memory_node",
        *always,
        "publish_tf:=true",
        "memory_frame:=ant/map",
        f"memory_dir:={tmp_path_factory.mktemp('kinaema')}",
        ros_arguments=[word for rule in own for word in ("-r", rule)],
    )
    robot = Listener()
    yield robot
    robot.close()
    assert node.stop() == 0, node.log
    assert "Traceback" not in node.log


def test_a_robot_is_where_the_memory_began_and_answers_come_in_its_frame(robot: Listener, house: Any) -> None:
    poses, images = house
    robot.connected(robot.image)
    robot.until_heard(poses[0], "ant/odom")
    robot.see(poses[0], images[0])
    np.testing.assert_allclose(robot.newest(poses[0]), 0.0, atol=1e-6)
    assert (robot.transforms[-1].header.frame_id, robot.transforms[-1].child_frame_id) == (
        "ant/map",
        "ant/odom",
    )
    for pose, rgb in zip(poses[1:], images[1:], strict=True):
        robot.see(pose, rgb)
    request = QueryPose.Request(image=image_msg(images[LOOKED_UP]), frame_id="ant/map")
    answer = robot.ask(request)  # no tf2_ros is needed for it
    assert answer.success, answer.message
    error, turn = pose_errors(
        messages.planar_pose(answer.pose.pose.pose), geometry.between(poses[0], poses[LOOKED_UP])
    )
    assert error < 0.3
    assert turn < math.radians(5.0)
    wait_until(lambda: bool(robot.poses), what="a pose")
    assert robot.poses[-1].header.frame_id == "ant/map"
    assert messages.planar_covariance(robot.poses[-1].pose)[0, 0] > 0.0


def test_a_restarted_robot_has_no_transform_until_it_is_found(robot: Listener, house: Any) -> None:
    poses, images = house
    assert robot.call(robot.save_client, SaveMemory.Request(name="house")).success
    robot.reset()
    robot.now += 1.0
    answer = robot.call(robot.load_client, LoadMemory.Request(name="house", localize=True))
    assert answer.success, answer.message
    updates = robot.status(lambda s: s.num_updates > 0).num_updates
    odom_T_map = geometry.inverse(poses[20])
    place = geometry.compose(odom_T_map, poses)
    robot.transforms.clear()
    for number in range(20, FRAMES):
        if robot.statuses[-1].num_updates > updates:
            break
        assert not robot.transforms
        robot.see(place[number], images[number])
    at = number - 1
    found = robot.newest(place[at])
    error, turn = pose_errors(found, geometry.between(poses[0], poses[at]))
    assert error < 0.4
    assert turn < math.radians(6.0)
