"""simulator_node: its navigate_to_pose ends goals as the real Nav2 does, and leaves the place to one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from chain_support import WALK, SimulatedRobot
from geometry_msgs.msg import Twist, TwistStamped
from nav2_msgs.action import NavigateToPose
from ros_support import DISCOVERY, NodeProcess, wait_until

from kinaema_ros.nodes.support import messages
from kinaema_ros.nodes.support.spinning import SpinningNode
from kinaema_ros.sim import generate_scene

WORLD = "world:=5"


@pytest.fixture(scope="module")
def robot() -> Iterator[SimulatedRobot]:
    node = NodeProcess("simulator_node", WORLD)
    robot = SimulatedRobot(drives=False)
    robot.heard("image", "odom", "map")
    assert robot.nav2.wait_for_server(DISCOVERY)
    yield robot
    robot.close()
    assert node.stop() == 0, node.log
    assert "Traceback" not in node.log, node.log


def send(robot: SimulatedRobot, pose: np.ndarray, feedback: list[Any] | None = None) -> Any:
    goal = NavigateToPose.Goal(pose=messages.pose_stamped(pose, "map", messages.time_msg(0)))
    handle = robot.result(
        robot.nav2.send_goal_async(goal, None if feedback is None else feedback.append), DISCOVERY
    )
    assert handle.accepted
    return handle


def test_a_goal_that_another_replaces_is_aborted_without_code_or_text(robot: SimulatedRobot) -> None:
    feedback: list[Any] = []
    first = send(robot, WALK[40], feedback)
    wait_until(lambda: len(feedback) > 2)
    second = send(robot, WALK[60])
    ended = robot.result(first.get_result_async())
    assert (ended.status, ended.result.error_code, ended.result.error_msg) == (
        GoalStatus.STATUS_ABORTED,
        0,
        "",
    )
    robot.result(second.cancel_goal_async())
    assert robot.result(second.get_result_async()).status == GoalStatus.STATUS_CANCELED
    reported = feedback[-1].feedback.current_pose
    assert reported.header.frame_id == "map"
    newest = messages.stamp_ns(robot.last["odom"].header.stamp)
    assert 0 <= newest - messages.stamp_ns(reported.header.stamp) < 30e9, "the odometry's clock"


def test_a_frame_that_is_not_known_is_accepted_and_ends_with_nav2_s_tf_error(robot: SimulatedRobot) -> None:
    status, result = robot.drive_to(WALK[1], "atlantis")
    assert (status, result.error_code) == (GoalStatus.STATUS_ABORTED, 9002)
    assert "atlantis" in result.error_msg


def test_a_goal_in_an_obstacle_ends_beside_it_and_one_off_the_map_does_not_begin(
    robot: SimulatedRobot,
) -> None:
    grid = generate_scene(5).occupancy()
    centres = (np.argwhere(grid.data)[:, ::-1] + 0.5) * grid.resolution + np.array(grid.origin)
    off = np.hypot(*(centres - robot.truth[:2]).T)
    near = centres[np.argmin(off)]  # the surface of the nearest obstacle
    status, result = robot.drive_to(np.array([*near, robot.truth[2]]))
    assert status == GoalStatus.STATUS_SUCCEEDED, result.error_msg
    assert 0.1 < np.hypot(*(robot.truth[:2] - near)) < 0.6
    status, result = robot.drive_to(np.array([-50.0, 0.0, 0.0]))
    assert (status, result.error_code) == (GoalStatus.STATUS_ABORTED, 204)


@pytest.mark.parametrize("kind", [TwistStamped, Twist])
def test_velocities_are_taken_with_a_stamp_and_without(robot: SimulatedRobot, kind: type) -> None:
    publisher = NodeVelocities(kind)
    try:
        yaw = robot.truth[2]
        wait_until(
            lambda: publisher.turn() and abs(np.angle(np.exp(1j * (robot.truth[2] - yaw)))) > 0.2,
            what=f"a turn by {kind.__name__}",
        )
    finally:
        publisher.close()


class NodeVelocities:
    """Somebody who publishes cmd_vel of one type, from a participant of their own."""

    def __init__(self, kind: type):
        self._ros = SpinningNode("test_velocities")
        self._kind, self._publisher = kind, self._ros.node.create_publisher(kind, "cmd_vel", 10)

    def turn(self) -> bool:
        message = self._kind()
        (message.twist if isinstance(message, TwistStamped) else message).angular.z = 0.5
        self._publisher.publish(message)
        return True

    def close(self) -> None:
        self._ros.close()


def test_map_and_action_can_be_left_to_a_real_nav2() -> None:
    left = ("navigate_to_pose:=false", "publish_map:=false")
    node = NodeProcess("simulator_node", WORLD, *left, ros_arguments=("-r", "__node:=bare_simulator"))
    ros = SpinningNode("test_real_nav2")

    def topics() -> set[str]:
        if "bare_simulator" not in ros.node.get_node_names():
            return set()
        return {name for name, _ in ros.node.get_publisher_names_and_types_by_node("bare_simulator", "/")}

    try:
        wait_until(lambda: "/image" in topics(), DISCOVERY)
        assert [name for name in topics() if name == "/map" or "navigate_to_pose" in name] == []
    finally:
        ros.close()
        assert node.stop() == 0, node.log
