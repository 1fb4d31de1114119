"""A simulated robot that is mistaken about where it is: by the map it gets stuck, by what it sees it comes through."""

from __future__ import annotations

import numpy as np
import pytest

from kinaema_ros import geometry
from kinaema_ros.sim import OdometryNoise, explore, generate_scene
from kinaema_ros.sim.simulated_robot import SimulatedRobot

SCENE = generate_scene(5)
WALK = explore(SCENE, np.random.default_rng(0), 100)
OFF = np.array([0.0, 0.4, 0.0])  # metres of the robot, as it believes


@pytest.mark.parametrize("sees_obstacles", [True, False])
@pytest.mark.parametrize("number", [40, 60, 80])
def test_a_robot_that_sees_obstacles_gets_to_where_it_takes_the_goal_to_be(
    number: int, sees_obstacles: bool
) -> None:
    goal = WALK[number]
    robot = SimulatedRobot(SCENE, 0, OdometryNoise(0.0, 0.0), "odometry", WALK[0], sees_obstacles)
    robot.localise(geometry.compose(WALK[0], OFF))
    follower = robot.go_to(goal)
    assert follower is not None
    while not (follower.done or follower.stuck):
        robot.step(0.05)
    true = robot.snapshot().map_T_base
    missed = np.hypot(*(geometry.compose(true, geometry.between(robot.believed(), goal)) - true)[:2])
    if sees_obstacles:
        assert follower.done
        assert robot.collisions == 0
        assert missed < 0.15
        assert 0.3 < np.hypot(*(true - goal)[:2]) < 0.5
    else:
        assert follower.stuck
        assert missed > 2.0
