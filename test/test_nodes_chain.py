"""Simulator, memory and navigator as a user runs them: a robot drives back to where a photo was taken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from geometry_msgs.msg import PoseStamped, Twist
from nav2_msgs.action import NavigateToPose
from nav_msgs.msg import OccupancyGrid, Odometry
from rclpy.action import ActionClient
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_support import DISCOVERY, NodeProcess, Ros, wait_until
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image

from kinaema_interfaces.msg import MemoryStatus
from kinaema_ros import geometry
from kinaema_ros.nodes import messages
from kinaema_ros.nodes.client import Feedback, KinaemaClient
from kinaema_ros.sim import explore, generate_scene

WORLD = 5
SIM = (f"world:={WORLD}", "publish_clock:=true", "real_time_factor:=0.0", "lockstep:=true")
# A camera ahead of the base, looking left and a little down; and as the memory is told of it.
MOUNT = ("camera_x:=0.15", "camera_yaw:=1.2", "camera_pitch:=0.12")


class Robot(Ros):
    """Hears the simulator and sends it to poses."""

    def __init__(self) -> None:
        super().__init__("test_chain")
        self.last: dict[str, Any] = {}
        node = self.node
        for kind, topic, qos in (
            (Image, "image", 5),
            (CameraInfo, "camera_info", 5),
            (Odometry, "odom", 10),
            (PoseStamped, "ground_truth/pose", 10),
            (Clock, "/clock", 10),
            (MemoryStatus, "kinaema_memory/status", 10),
            (OccupancyGrid, "map", QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)),
        ):
            node.create_subscription(kind, topic, lambda m, t=topic: self.last.__setitem__(t, m), qos)
        self.cmd_vel = node.create_publisher(Twist, "cmd_vel", 10)
        self.nav2 = ActionClient(node, NavigateToPose, "navigate_to_pose")

    @property
    def truth(self) -> np.ndarray:
        return messages.planar_pose(self.last["ground_truth/pose"].pose)

    def distance_to(self, pose: np.ndarray) -> float:
        return float(np.hypot(*(self.truth - pose)[:2]))

    def heard(self, *topics: str) -> None:
        wait_until(lambda: all(topic in self.last for topic in topics), DISCOVERY, f"{topics}")

    def drive_to(self, pose: np.ndarray, frame_id: str = "map") -> tuple[int, NavigateToPose.Result]:
        assert self.nav2.wait_for_server(DISCOVERY)
        goal = NavigateToPose.Goal(pose=messages.pose_stamped(pose, frame_id, messages.time_msg(0)))
        handle = self.result(self.nav2.send_goal_async(goal))
        response = self.result(handle.get_result_async(), 60.0)
        return response.status, response.result


@pytest.fixture(params=[(), MOUNT], ids=["central camera", "camera aside"])
def robot(request: pytest.FixtureRequest) -> Iterator[Robot]:
    nodes = [
        NodeProcess("simulator_node", *SIM, *request.param),
        NodeProcess("memory_node", "use_sim_time:=true", *request.param),
        NodeProcess("navigator_node", "use_sim_time:=true"),
    ]
    robot = Robot()
    yield robot
    robot.close()
    ends = [(node.stop(), node.log) for node in nodes]  # all of them, before any complaint
    assert [log for status, log in ends if status != 0 or "Traceback" in log] == []


def test_a_robot_returns_to_where_a_photo_was_taken(robot: Robot, tmp_path: Path) -> None:
    robot.heard("image", "ground_truth/pose", "kinaema_memory/status", "/clock", "map")
    walk = explore(generate_scene(WORLD), np.random.default_rng(0), 120)
    np.testing.assert_allclose(robot.truth, walk[0], atol=1e-6)  # the simulator starts where explore does
    wait_until(lambda: robot.last["kinaema_memory/status"].num_updates > 0, DISCOVERY, "a first update")
    photos = []
    for pose in walk[[12, 24, 40, 60, 80, 100]]:
        status, result = robot.drive_to(pose)
        assert status == GoalStatus.STATUS_SUCCEEDED, result.error_msg
        wait_until(lambda: robot.distance_to(pose) < 0.1, what="the truth to show it")  # noqa: B023
        image = robot.last["image"]
        photos.append((robot.truth, messages.image_to_rgb(image)))
    place, rgb = photos[1]
    file = tmp_path / "photo.png"
    cv2.imwrite(str(file), rgb[..., ::-1])
    feedback: list[Feedback] = []
    with KinaemaClient() as kinaema:
        answer = kinaema.query(file, frame_id="odom")
        arrival = kinaema.go_to(file, on_feedback=feedback.append)
    assert arrival.reached, arrival.message
    assert arrival.frame_id == "odom"
    assert arrival.num_queries >= 2
    assert feedback
    assert answer.seen > 0.5
    error = geometry.between(place, robot.truth)
    assert np.hypot(error[0], error[1]) < 1.0
    assert abs(np.degrees(error[2])) < 30.0


def test_the_simulator_is_a_robot() -> None:
    """Without a clock of its own: wall time, cmd_vel that times out, goals that cannot be."""
    node = NodeProcess("simulator_node", f"world:={WORLD}", "odom_noise_fraction:=0.0", "odom_noise_deg:=0.0")
    robot = Robot()
    try:
        robot.heard("image", "camera_info", "odom", "ground_truth/pose", "map")
        info, image, grid = robot.last["camera_info"], robot.last["image"], robot.last["map"]
        assert (info.width, info.height) == (image.width, image.height) == (320, 240)
        assert info.k[0] == pytest.approx(160.0)
        assert len(grid.data) == grid.info.width * grid.info.height
        assert "/clock" not in robot.last
        start = robot.truth
        robot.cmd_vel.publish(Twist())
        turn = Twist()
        turn.angular.z = 1.0
        robot.cmd_vel.publish(turn)
        wait_until(
            lambda: abs(geometry.wrap_angle(robot.truth[2] - start[2])) > 0.2, what="the robot to turn"
        )
        wait_until(lambda: robot.last["odom"].twist.twist.angular.z == 0.0, what="the command to time out")
        driven = geometry.between(start, robot.truth)
        measured = messages.planar_pose(robot.last["odom"].pose.pose)
        assert abs(geometry.wrap_angle(measured[2] - driven[2])) < 0.1  # two messages, some steps apart
        for frame_id, code in (("atlantis", 9002), ("map", 9000)):
            status, result = robot.drive_to(np.array([500.0, 500.0, 0.0]), frame_id)
            assert (status, result.error_code) == (GoalStatus.STATUS_ABORTED, code)
        assert robot.drive_to(np.array([0.0, 0.0, 0.5]), "base_link")[0] == GoalStatus.STATUS_SUCCEEDED
    finally:
        robot.close()
        assert node.stop() == 0, node.log
