"""Simulator, memory and navigator as a user runs them: a robot drives back to where a photo was taken."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from chain_support import STOPS, WORLD, SimulatedRobot, rviz_finds_its_topics, start_nodes, stop_nodes
from geometry_msgs.msg import Twist
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_support import DISCOVERY, NodeProcess, wait_until
from std_msgs.msg import UInt32

from kinaema_ros import geometry
from kinaema_ros.nodes.client.client import Feedback, KinaemaClient
from kinaema_ros.nodes.client.joystick import DemoRobot
from kinaema_ros.nodes.support import messages


def test_a_robot_returns_to_where_a_photo_was_taken_and_to_a_place_by_its_name(tmp_path: Path) -> None:
    nodes = start_nodes()
    robot = SimulatedRobot()
    try:
        robot.remembering()
        place, rgb = robot.look_around()[1]
        file = tmp_path / "photo.png"
        cv2.imwrite(str(file), rgb[..., ::-1])
        feedback: list[Feedback] = []
        with KinaemaClient() as kinaema:
            answer = kinaema.query(file, frame_id="odom", timeout=DISCOVERY)
            desk, _ = kinaema.add_place("desk")  # at the last stop
            sofa, _ = kinaema.add_place("sofa", file)
            arrival = kinaema.go_to(file, on_feedback=feedback.append, timeout=DISCOVERY)
            error = geometry.between(place, robot.truth)
            to_the_desk = kinaema.go_to(place="desk", timeout=DISCOVERY)
            off_the_desk = geometry.between(STOPS[-1], robot.truth)
            places = kinaema.places()
        rviz_finds_its_topics(robot)
    finally:
        robot.close()
        stop_nodes(nodes)
    assert arrival.reached, arrival.message
    assert arrival.frame_id == "odom"
    assert arrival.num_queries >= 2
    assert feedback
    assert answer.seen > 0.5
    assert np.hypot(error[0], error[1]) < 1.0
    assert abs(np.degrees(error[2])) < 30.0
    assert to_the_desk.reached, to_the_desk.message
    assert np.hypot(off_the_desk[0], off_the_desk[1]) < 1.0
    assert abs(np.degrees(off_the_desk[2])) < 30.0
    np.testing.assert_allclose(sofa.pose, answer.pose, atol=0.2)
    assert list(places) == ["desk", "sofa"]
    assert all(found.in_memory for found in places.values())
    np.testing.assert_allclose(places["desk"].pose[:2], desk.pose[:2], atol=0.5)


def test_the_simulator_counts_collisions_and_tells_whoever_asks_late() -> None:
    node = NodeProcess("simulator_node", f"world:={WORLD}", "publish_clock:=true", "real_time_factor:=0.0")
    robot, ahead, counts = SimulatedRobot(), Twist(), []
    ahead.linear.x = 0.5
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    robot.node.create_subscription(UInt32, "kinaema_simulator/collisions", counts.append, latched)

    def collided() -> bool:  # a command times out: who drives repeats it
        robot.cmd_vel.publish(ahead)
        return counts[-1].data > 0

    try:
        wait_until(lambda: bool(counts), DISCOVERY, "the count before any collision")
        wait_until(collided, DISCOVERY, "a wall")
        with DemoRobot(lambda *_: None, lambda: None) as late:
            wait_until(lambda: late.collisions == counts[-1].data, what="the count")
    finally:
        robot.close()
        assert node.stop() == 0, node.log
    assert counts[0].data == 0
    assert late.collisions > 0


def test_the_simulator_is_a_robot() -> None:
    """Without a clock of its own: wall time, cmd_vel that times out, goals that cannot be."""
    node = NodeProcess(
        "simulator_node", f"world:={WORLD}", "odometry_noise.fraction:=0.0", "odometry_noise.degrees:=0.0"
    )
    robot = SimulatedRobot()
    try:
        robot.heard("image", "camera_info", "odom", "ground_truth/pose", "map")
        info, image, grid = robot.last["camera_info"], robot.last["image"], robot.last["map"]
        assert (info.width, info.height) == (image.width, image.height) == (320, 240)
        assert info.k[0] == pytest.approx(160.0)
        assert len(grid.data) == grid.info.width * grid.info.height
        assert "clock" not in robot.last
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
        for frame_id, code in (("atlantis", 9002), ("map", 204)):
            status, result = robot.drive_to(np.array([500.0, 500.0, 0.0]), frame_id)
            assert (status, result.error_code) == (GoalStatus.STATUS_ABORTED, code)
        assert robot.drive_to(np.array([0.0, 0.0, 0.5]), "base_link")[0] == GoalStatus.STATUS_SUCCEEDED
    finally:
        robot.close()
        assert node.stop() == 0, node.log
