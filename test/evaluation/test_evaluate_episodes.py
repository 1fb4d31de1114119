"""Evaluation drives: never trained on, the same for a seed, and the questions are about what they claim."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_support import random_episode

from kinaema_ros.evaluation.episodes import FIRST_SEED, SEEN_ANGLE, SEEN_DISTANCE, EpisodeConfig, plan_episode
from kinaema_ros.metrics import pose_errors
from kinaema_ros.sim.space import line_of_sight

CONFIG = EpisodeConfig(seed=11, lengths=(20, 60), queries=6)


@pytest.fixture(scope="module")
def plans() -> list:
    return [plan_episode(CONFIG, index) for index in range(4)]


def test_scenes_lie_outside_of_what_training_draws_from_and_have_the_promised_size(plans: list) -> None:
    for plan in plans:
        for scene in (plan.scene, plan.elsewhere):
            assert scene.seed >= FIRST_SEED
            assert scene.config.texture_seed >= FIRST_SEED
            assert min(scene.size) >= 8.0
            assert max(scene.size) <= 20.0
    assert len({plan.scene.seed for plan in plans} | {plan.elsewhere.seed for plan in plans}) == 8


def test_a_drive_depends_on_seed_and_index_alone(plans: list) -> None:
    again = plan_episode(CONFIG, 2)
    for name in ("poses", "views", "outside"):
        assert np.array_equal(getattr(again, name), getattr(plans[2], name))
    assert again.lighting == plans[2].lighting
    assert again.camera == plans[2].camera
    other = plan_episode(EpisodeConfig(seed=12, lengths=(20, 60), queries=6), 2)
    assert not np.array_equal(other.poses, again.poses)


def test_seen_places_are_near_a_frame_of_the_prefix(plans: list) -> None:
    for plan in plans:
        for which, length in enumerate(CONFIG.lengths):
            view = plan.views[which, : CONFIG.queries, None]
            distance, angle = pose_errors(plan.poses[None, :length], view)
            assert ((distance <= SEEN_DISTANCE + 1e-9) & (angle <= SEEN_ANGLE + 1e-9)).any(axis=1).all()


def test_unseen_places_of_the_same_building_are_out_of_sight_of_the_whole_prefix(plans: list) -> None:
    checked = 0
    for plan in plans:
        scene = plan.scene
        for which, length in enumerate(CONFIG.lengths):
            assert not plan.outside[which, : CONFIG.queries].any()
            unseen = plan.views[which, CONFIG.queries :]
            for view in unseen[~plan.outside[which, CONFIG.queries :]]:
                checked += 1
                for pose in plan.poses[:length]:
                    near = np.hypot(*(pose - view)[:2]) <= 3.0
                    assert not (
                        near and line_of_sight(scene.boxes, scene.sight_blockers, *pose[:2], *view[:2])
                    )
    assert checked >= 6


def test_half_of_the_unseen_places_lie_elsewhere_or_more_where_the_drive_saw_all(plans: list) -> None:
    for plan in plans:
        assert (plan.outside.sum(axis=1) >= CONFIG.queries // 2).all()
        assert plan.views.shape == (2, 2 * CONFIG.queries, 3)


def test_a_place_was_last_seen_at_the_latest_frame_near_it() -> None:
    episode = random_episode(0, lengths=(6, 12))
    episode.poses[:] = [[0.6 * t, 0.0, 0.0] for t in range(12)]  # passes by once ...
    episode.poses[11] = episode.poses[2]  # ... and comes back to frame 2 at the end
    episode.views[:, 0] = episode.poses[2]
    episode.views[:, 1] = episode.poses[5]
    assert episode.last_seen(0, 6)[:2].tolist() == [3, 5]  # frame 3 is 0.6 m further on
    assert episode.last_seen(1, 12)[:2].tolist() == [11, 6]


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"lengths": ()}, "at least 2 frames"),
        ({"lengths": (1,)}, "at least 2 frames"),
        ({"lengths": (5, 5)}, "must be different"),
        ({"queries": 1}, "at least 2"),
        ({"seed": -1}, "must not be negative"),
    ],
)
def test_impossible_configurations_are_refused(wrong: dict, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        EpisodeConfig(**({"seed": 0} | wrong))
