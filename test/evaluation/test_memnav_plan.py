"""Mem-Nav episodes as planned: unseen buildings, goals that are far and were seen, shortest ways."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kinaema_ros.evaluation.episodes import FIRST_SEED, SEEN_ANGLE, SEEN_DISTANCE
from kinaema_ros.evaluation.memnav.episodes import (
    MIN_WAY,
    MemnavConfig,
    choose_goals,
    cut_short,
    plan_building,
    shortest_way,
)
from kinaema_ros.metrics import pose_errors
from kinaema_ros.sim import explore, generate_scene, plan_path
from kinaema_ros.sim.driving import CLEARANCE
from kinaema_ros.sim.space import line_of_sight
from kinaema_ros.sim.tour import path_length, room_of

SMALL = MemnavConfig(seed=3, frames=80, goals=6)


@pytest.fixture(scope="module")
def building():
    return plan_building(SMALL, 0)


def test_buildings_and_their_paint_are_none_that_training_draws(building):
    for scene in (building.scene, building.elsewhere):
        assert scene.seed >= FIRST_SEED
        assert scene.config.texture_seed >= FIRST_SEED
        assert min(scene.size) >= 8.0
        assert max(scene.size) <= 20.0


def test_a_plan_depends_on_seed_and_index_only(building):
    again, next_one = plan_building(SMALL, 0), plan_building(SMALL, 1)
    for name in ("walk", "goals", "shortest", "unseen"):
        np.testing.assert_array_equal(getattr(again, name), getattr(building, name))
    assert not np.array_equal(next_one.walk, building.walk)


@pytest.mark.parametrize("index", range(3))
def test_goals_were_seen_are_far_and_a_third_is_in_other_rooms(index):
    plan = plan_building(SMALL, index)
    assert len(plan.goals) == len(plan.shortest) == SMALL.goals
    assert plan.shortest.min() >= MIN_WAY
    here = room_of(plan.scene, plan.walk[-1])
    np.testing.assert_array_equal(plan.other_room, [room_of(plan.scene, goal) != here for goal in plan.goals])
    assert plan.other_room.mean() >= 1 / 3
    for goal in plan.goals:
        distance, angle = pose_errors(plan.walk, goal)
        assert ((distance <= SEEN_DISTANCE + 1e-9) & (angle <= SEEN_ANGLE + 1e-9)).any()


def test_never_seen_places_are_elsewhere_or_out_of_the_walks_sight():
    plans = [plan_building(SMALL, index) for index in range(3)]
    assert any(not plan.outside.all() for plan in plans)
    for plan in plans:
        scene = plan.scene
        assert len(plan.unseen) == len(plan.outside) == SMALL.goals
        assert plan.outside.mean() >= 0.5
        for view in plan.unseen[~plan.outside]:
            for pose in plan.walk:
                if math.hypot(*(pose[:2] - view[:2])) < 3.0:
                    assert not line_of_sight(scene.boxes, scene.sight_blockers, *pose[:2], *view[:2])


def test_the_shortest_way_is_a_little_shorter_than_the_planned_one_and_no_shorter_than_the_beeline(building):
    grid, start = building.scene.occupancy(), building.walk[-1]
    for goal, metres in zip(building.goals, building.shortest, strict=True):
        planned = plan_path(grid, start[:2].tolist(), goal[:2].tolist(), CLEARANCE)
        assert planned is not None
        assert math.hypot(*(planned[-1] - start[:2])) - 1e-6 <= metres <= path_length(planned) + 1e-9
        assert metres > 0.8 * path_length(planned)


def test_no_way_leads_out_of_the_building(building):
    assert math.isnan(shortest_way(building.scene, building.walk[-1], np.array([-5.0, -5.0, 0.0])))


def test_goals_run_out_where_everything_is_near():
    scene = generate_scene(FIRST_SEED)
    walk = explore(scene, np.random.default_rng(0), 3)
    assert len(choose_goals(scene, walk, walk[-1], 4, np.random.default_rng(0))) == 0


def test_a_building_may_serve_fewer_episodes(building):
    some = cut_short(building, 2)
    assert (
        len(some.goals)
        == len(some.shortest)
        == len(some.other_room)
        == len(some.unseen)
        == len(some.outside)
        == 2
    )
    np.testing.assert_array_equal(some.goals, building.goals[:2])


def test_a_robot_too_close_to_a_wall_finds_its_way_out():
    """Where the planner's clearance is not kept, as after a drive with drifting localisation."""
    scene = generate_scene(3)
    grid, origin = scene.occupancy(), np.array(scene.grid_origin)
    cells = [
        (row, column)
        for row, column in np.argwhere((scene.clearance >= 0.13) & (scene.clearance < 0.19))
        if scene.reachable[row - 2 : row + 3, column - 2 : column + 3].any()  # not between furniture
    ]
    starts = (np.array(cells[::40])[:, ::-1] + 0.5) * 0.1 + origin
    goal = (np.argwhere(scene.reachable & (scene.clearance > 0.5))[0][::-1] + 0.5) * 0.1 + origin
    assert len(starts) > 3
    for start in starts:
        path = plan_path(grid, start.tolist(), goal.tolist(), CLEARANCE)
        assert path is not None
        np.testing.assert_allclose(path[0], start)
        np.testing.assert_allclose(path[-1], goal)
