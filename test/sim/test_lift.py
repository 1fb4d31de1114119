"""A simulated robot that somebody lifts: where it is then, and what its odometry makes of it."""

from __future__ import annotations

import numpy as np
import pytest

from kinaema_ros import geometry
from kinaema_ros.sim import OdometryNoise, explore, generate_scene
from kinaema_ros.sim.simulated_robot import SimulatedRobot

SCENE = generate_scene(5)
WALK = explore(SCENE, np.random.default_rng(0), 60)


def robot_after_a_drive() -> SimulatedRobot:
    robot = SimulatedRobot(SCENE, 0, OdometryNoise(0.0, 0.0), "odometry", WALK[0])
    robot.command(0.3, 0.2, 10.0)
    for _ in range(20):
        robot.step(0.05)
    return robot


@pytest.mark.parametrize("odometry", ["unaware", "jump", "reset"])
def test_the_odometry_says_of_a_lift_what_its_kind_says(odometry: str) -> None:
    robot = robot_after_a_drive()
    before = robot.snapshot()
    assert robot.lift(WALK[50], odometry)
    after = robot.snapshot()
    np.testing.assert_allclose(after.map_T_base, WALK[50])
    expected = {
        "unaware": before.odom_T_base,
        "jump": geometry.between(WALK[0], WALK[50]),
        "reset": np.zeros(3),
    }[odometry]
    np.testing.assert_allclose(after.odom_T_base[:2], expected[:2], atol=1e-9)
    assert abs(geometry.wrap_angle(after.odom_T_base[2] - expected[2])) < 1e-9
    np.testing.assert_allclose(robot.step(0.05).map_T_base, WALK[50])  # it stands still


def test_a_robot_is_not_set_down_in_an_obstacle() -> None:
    robot = robot_after_a_drive()
    before = robot.snapshot().map_T_base
    wall = SCENE.boxes[SCENE.kinds.index("wall")]
    assert not robot.lift(np.array([wall[0], wall[1], 0.0]), "unaware")
    np.testing.assert_array_equal(robot.snapshot().map_T_base, before)
