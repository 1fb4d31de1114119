"""Robot motion: feasible paths, viewpoints near and far from them, odometry, driving, planning."""

import itertools
import math

import numpy as np
import pytest
from test_sim_scene import exact_clearance, obstacles_of

from kinaema_ros import geometry
from kinaema_ros.sim import (
    OccupancyGrid,
    OdometryNoise,
    PathFollower,
    explore,
    generate_scene,
    integrate_odometry,
    plan_path,
    sample_unseen_viewpoints,
    sample_viewpoints,
    step_robot,
)
from kinaema_ros.sim.space import line_of_sight, ray_distance


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("seed", range(12))
def test_exploration_is_feasible_for_a_differential_drive_and_keeps_clear(seed):
    scene = generate_scene(seed)
    poses = explore(scene, rng(seed), 300)
    steps = geometry.between(poses[:-1], poses[1:])
    distance, turn = np.hypot(steps[:, 0], steps[:, 1]), np.abs(steps[:, 2])
    assert distance.max() <= 0.3 + 1e-9
    assert turn.max() <= math.radians(25) + 1e-9
    driving = distance > 1e-9
    assert np.mean(distance[driving] >= 0.2 - 1e-9) > 0.9  # shorter on arrival only
    # No sideways motion: the robot drives where it looks after the turn.
    assert np.allclose(np.arctan2(steps[driving, 1], steps[driving, 0]), steps[driving, 2], atol=1e-6)
    assert exact_clearance(obstacles_of(scene), poses[:, :2]).min() >= 0.25
    assert exact_clearance(obstacles_of(scene), (poses[1:, :2] + poses[:-1, :2]) / 2).min() >= 0.25


def rooms_of(scene, poses):
    return {
        int(k)
        for x, y, _ in poses
        for k in np.flatnonzero(
            (scene.rooms[:, 0] < x)
            & (x < scene.rooms[:, 2])
            & (scene.rooms[:, 1] < y)
            & (y < scene.rooms[:, 3])
        )
    }


def test_exploration_covers_most_rooms_and_comes_back():
    covered, revisits = [], 0
    for seed in range(10):
        scene = generate_scene(seed)
        poses = explore(scene, rng(seed), 400)
        covered.append(len(rooms_of(scene, poses)) / len(scene.rooms))
        gaps = np.hypot(*(poses[:, None, :2] - poses[None, :, :2]).transpose(2, 0, 1))
        revisits += bool((gaps[np.abs(np.subtract.outer(np.arange(400), np.arange(400))) > 60] < 0.5).any())
    assert np.mean(covered) > 0.65
    assert revisits == 10


@pytest.mark.parametrize("steps", [1, 16, 2000])
def test_exploration_gives_as_many_poses_as_asked(steps):
    assert explore(generate_scene(1), rng(), steps).shape == (steps, 3)


def test_exploration_refuses_zero_steps():
    with pytest.raises(ValueError, match="steps"):
        explore(generate_scene(1), rng(), 0)


@pytest.mark.parametrize("seed", range(6))
def test_viewpoints_are_near_their_pose_free_and_in_sight(seed):
    scene = generate_scene(seed)
    poses = explore(scene, rng(seed), 100)
    views, source = sample_viewpoints(scene, rng(1), poses, 200, max_distance=0.8, max_angle=0.5)
    assert views.shape == (200, 3)
    assert source.shape == (200,)
    offset = views - poses[source]
    distance = np.hypot(offset[:, 0], offset[:, 1])
    assert distance.max() <= 0.8
    assert distance.mean() > 0.3
    assert np.abs(geometry.wrap_angle(offset[:, 2])).max() <= 0.5
    assert exact_clearance(obstacles_of(scene), views[:, :2]).min() >= 0.2
    for (x, y, yaw), k in zip(views, source, strict=True):
        assert line_of_sight(scene.boxes, scene.sight_blockers, *poses[k, :2], x, y)
        assert ray_distance(scene.boxes, scene.sight_blockers, x, y, yaw, 1.0) >= 0.5
    assert len(np.unique(source)) > 50


def test_unseen_viewpoints_are_out_of_reach_of_the_path():
    found = 0
    for seed in range(5):
        scene = generate_scene(seed)
        poses = explore(scene, rng(seed), 30)
        views = sample_unseen_viewpoints(scene, rng(2), poses, 20)
        found += len(views)
        for x, y, _ in views:
            assert scene.free(x, y, 0.2)
            near = poses[np.hypot(poses[:, 0] - x, poses[:, 1] - y) <= 3.0]
            assert not any(line_of_sight(scene.boxes, scene.sight_blockers, *p[:2], x, y) for p in near)
    assert found >= 80


def test_unseen_viewpoints_run_out_when_the_path_was_everywhere():
    scene = generate_scene(0)
    cells = np.argwhere(scene.reachable)[:, ::-1] * 0.1 - 0.25
    assert (
        len(sample_unseen_viewpoints(scene, rng(), np.column_stack([cells, np.zeros(len(cells))]), 10)) == 0
    )


def test_odometry_without_noise_is_the_path_seen_from_its_start():
    poses = explore(generate_scene(0), rng(), 200)
    odom = integrate_odometry(poses, OdometryNoise(0.0, 0.0), rng())
    assert np.array_equal(odom[0], np.zeros(3))
    error = geometry.between(odom, geometry.between(poses[0], poses))
    assert np.abs(error).max() < 1e-9


def test_odometry_errors_per_step_have_the_stated_size():
    poses = np.column_stack([np.arange(5000) * 0.25, np.zeros(5000), np.zeros(5000)])
    odom = integrate_odometry(poses, OdometryNoise(fraction=0.1, degrees=1.0), rng(3))
    steps = geometry.between(odom[:-1], odom[1:])
    assert np.std(steps[:, 0]) == pytest.approx(0.025, rel=0.05)
    assert np.std(steps[:, 1]) == pytest.approx(0.025, rel=0.05)
    assert np.degrees(np.std(steps[:, 2])) == pytest.approx(1.0, rel=0.05)
    assert np.mean(steps[:, 0]) == pytest.approx(0.25, abs=0.002)


def test_odometry_of_a_robot_at_rest_does_not_drift():
    odom = integrate_odometry(np.tile([3.0, 4.0, 1.0], (50, 1)), OdometryNoise(0.1, 5.0), rng())
    assert not odom.any()


def test_driving_follows_the_exact_arc():
    scene = generate_scene(0)
    i, j = np.unravel_index(np.argmax(scene.clearance * scene.reachable), scene.clearance.shape)
    start = (j * 0.1 - 0.25, i * 0.1 - 0.25, 0.7)
    pose, collided = step_robot(scene, start, 0.4, 0.9, 0.5)
    yaw = 0.7 + 0.45
    r = 0.4 / 0.9
    expected = (
        start[0] + r * (math.sin(yaw) - math.sin(0.7)),
        start[1] - r * (math.cos(yaw) - math.cos(0.7)),
        yaw,
    )
    assert not collided
    assert pose == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("seed", range(6))
def test_driving_stops_at_obstacles_and_gets_away_again(seed):
    scene = generate_scene(seed)
    pose = tuple(explore(scene, rng(seed), 1)[0])
    visited, collided = [], False
    while not collided and len(visited) < 1000:
        pose, collided = step_robot(scene, pose, 0.6, 0.0, 0.1)
        visited.append(pose[:2])
    assert collided
    assert exact_clearance(obstacles_of(scene), np.array(visited)).min() >= 0.2 - 1e-9
    assert step_robot(scene, pose, 0.6, 0.0, 0.1)[0][:2] == pytest.approx(pose[:2], abs=0.021)
    turned, collided = step_robot(scene, pose, 0.0, 1.0, 0.1)
    assert not collided
    assert turned[2] != pose[2]
    back, collided = step_robot(scene, pose, -0.3, 0.0, 0.1)
    assert not collided
    assert math.hypot(back[0] - pose[0], back[1] - pose[1]) == pytest.approx(0.03, abs=1e-6)


def test_driving_refuses_what_is_not_finite():
    with pytest.raises(ValueError, match="finite"):
        step_robot(generate_scene(0), (1.0, 1.0, math.nan), 0.1, 0.0, 0.1)


def wall_with_gap() -> OccupancyGrid:
    data = np.zeros((80, 80), bool)
    data[40:42] = True
    data[40:42, 60:70] = False  # a door of 0.5 m at x = 3.0 to 3.5
    return OccupancyGrid(data, 0.05, (0.0, 0.0))


def test_a_plan_leads_through_the_gap_it_fits_through():
    path = plan_path(wall_with_gap(), (0.5, 0.5), (0.6, 3.5), 0.2)
    assert path[0] == pytest.approx((0.5, 0.5))
    assert path[-1] == pytest.approx((0.6, 3.5))
    dense = np.concatenate([np.linspace(a, b, 50) for a, b in itertools.pairwise(path)])
    inside = dense[(dense[:, 1] > 2.0) & (dense[:, 1] < 2.1)]
    assert len(inside)
    assert inside[:, 0].min() > 3.15
    assert inside[:, 0].max() < 3.35
    assert plan_path(wall_with_gap(), (0.5, 0.5), (0.6, 3.5), 0.3) is None


def test_a_goal_in_an_obstacle_is_moved_within_its_tolerance():
    path = plan_path(wall_with_gap(), (0.5, 0.5), (1.0, 2.02), 0.2)
    assert 0.2 <= 2.0 - path[-1, 1] <= 0.3
    assert abs(path[-1, 0] - 1.0) < 0.06
    assert plan_path(wall_with_gap(), (0.5, 0.5), (1.0, 2.02), 0.2, tolerance=0.1) is None
    assert plan_path(wall_with_gap(), (0.5, 0.5), (9.0, 9.0), 0.2) is None


def test_a_goal_that_cannot_be_reached_is_moved_to_where_the_robot_can_get():
    walled = wall_with_gap()
    walled.data[40:42] = True
    path = plan_path(walled, (0.5, 0.5), (1.0, 2.3), 0.1)
    assert path[-1] == pytest.approx((1.0, 1.87), abs=0.06)
    assert plan_path(walled, (0.5, 0.5), (1.0, 2.6), 0.1) is None


@pytest.mark.parametrize("seed", range(8))
def test_planning_and_following_reach_viewpoints_without_collision(seed):
    scene = generate_scene(seed)
    poses = explore(scene, rng(seed), 200)
    pose, grid = tuple(poses[0]), scene.occupancy()
    for goal in sample_viewpoints(scene, rng(seed), poses, 2)[0]:
        path = plan_path(grid, pose[:2], goal[:2], 0.25)
        follower = PathFollower(path, goal[2])
        speeds = [0.0]
        while not (follower.done or follower.stuck) and len(speeds) < 4000:
            v, omega = follower.command(pose, 0.05)
            pose, collided = step_robot(scene, pose, v, omega, 0.05)
            assert not collided
            speeds.append(v)
        assert follower.done
        assert not follower.stuck
        reached = path[-1]  # the goal itself, or the free point next to it
        assert math.hypot(pose[0] - reached[0], pose[1] - reached[1]) < 0.1
        assert abs(geometry.wrap_angle(pose[2] - goal[2])) < 0.06
        assert max(speeds) <= 0.5 + 1e-9
        assert max(np.diff(speeds)) <= 0.05 + 1e-9
        assert follower.command(pose, 0.05) == (0.0, 0.0)


def test_a_follower_that_cannot_move_reports_stuck():
    follower = PathFollower(np.array([[0.0, 0.0], [3.0, 0.0]]), 0.0)
    for _ in range(int(PathFollower.STUCK_AFTER / 0.1) + 20):
        follower.command((0.0, 0.0, 0.0), 0.1)
    assert follower.stuck
    assert not follower.done
    assert follower.command((0.0, 0.0, 0.0), 0.1) == (0.0, 0.0)


def test_a_follower_turns_to_the_goal_yaw_on_the_spot():
    follower = PathFollower(np.array([[1.0, 1.0]]), 2.0)
    yaw = 0.0
    for _ in range(100):
        v, omega = follower.command((1.0, 1.0, yaw), 0.05)
        assert v == 0.0
        yaw += omega * 0.05
    assert follower.done
    assert yaw == pytest.approx(2.0, abs=0.06)
