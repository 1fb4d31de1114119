"""Evaluation drives: never trained on, the same for a seed, and the questions are about what they claim."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from evaluation_support import short_episode

from kinaema_ros.evaluation.episodes import (
    FIRST_SEED,
    PHONE_HEIGHT,
    PHONE_HFOV,
    PHONE_PITCH,
    SEEN_ANGLE,
    SEEN_DISTANCE,
    Episode,
    EpisodeConfig,
    plan_episode,
)
from kinaema_ros.metrics import pose_errors
from kinaema_ros.sim import render
from kinaema_ros.sim.space import line_of_sight
from kinaema_ros.training.drives import intrinsics, mounted

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


def test_buildings_are_as_large_as_asked_for() -> None:
    plan = plan_episode(EpisodeConfig(11, (20, 60), 6, size=(30.0, 12.0)), 0)
    assert plan.scene.size == plan.elsewhere.size == (30.0, 12.0)


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
    episode = short_episode(lengths=(6, 12))
    episode.poses[:] = [[0.6 * t, 0.0, 0.0] for t in range(12)]  # passes by once ...
    episode.poses[11] = episode.poses[2]  # ... and comes back to frame 2 at the end
    episode.views[:, 0] = episode.poses[2]
    episode.views[:, 1] = episode.poses[5]
    assert episode.last_seen(0, 6)[:2].tolist() == [3, 5]  # frame 3 is 0.6 m further on
    assert episode.last_seen(1, 12)[:2].tolist() == [11, 6]


# -- pictures ----------------------------------------------------------------------------------------------


def asked(episode: Episode, which: int = 0) -> list:
    return list(episode.photos(which))


def test_pictures_depend_on_seed_and_index_alone() -> None:
    episode, again = short_episode(5), short_episode(5)
    for a, b in zip(episode.frames(), again.frames(), strict=True):
        assert np.array_equal(a, b)
    for (a, _), (b, _) in zip(asked(episode, 1), asked(again, 1), strict=True):
        assert np.array_equal(a, b)
    assert not np.array_equal(next(episode.frames()), next(short_episode(6).frames()))


def test_a_frame_is_the_view_from_the_robots_pose_and_a_photo_that_from_its_viewpoint() -> None:
    episode = short_episode()
    episode.lighting = replace(episode.lighting, noise=0.0)
    frames = list(episode.frames())
    assert len(frames) == len(episode.poses) == 12
    clean = render(episode.scene, episode.poses, episode.camera, episode.lighting)
    np.testing.assert_array_equal(frames, clean)
    outside = render(episode.elsewhere, episode.views[1, -1:], episode.camera, episode.lighting)[0]
    assert episode.outside[1, -1]
    np.testing.assert_array_equal(asked(episode, 1)[-1][0], outside)


def test_every_picture_has_noise_of_its_own() -> None:
    episode = short_episode()
    episode.lighting = replace(episode.lighting, noise=5.0)
    episode.views[0, :] = episode.poses[0]
    (first, _), (second, _), *_ = asked(episode)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, next(episode.frames()))


@pytest.mark.parametrize("hfov_deg", [60.0, 90.0, 110.0])
def test_the_robots_camera_is_as_wide_as_asked_for_and_takes_the_photos(hfov_deg: float) -> None:
    episode = plan_episode(EpisodeConfig(0, (6, 12), 2, hfov_deg=hfov_deg), 0)
    assert episode.camera.hfov == pytest.approx(math.radians(hfov_deg))
    assert intrinsics(episode.camera).fx == pytest.approx(episode.camera.focal)
    assert mounted(episode.camera).pitch == 0.0
    assert episode.same_camera
    assert all(camera == episode.camera for cameras in episode.query_cameras for camera in cameras)


def test_another_field_of_view_changes_no_path_and_no_question() -> None:
    narrow, wide = (plan_episode(EpisodeConfig(0, (6, 12), 2, hfov_deg=hfov), 0) for hfov in (60.0, 110.0))
    for name in ("poses", "views", "outside"):
        np.testing.assert_array_equal(getattr(narrow, name), getattr(wide, name))
    assert narrow.lighting == wide.lighting


def test_a_phone_is_held_upright_or_across_and_is_not_the_robots_camera() -> None:
    episode = plan_episode(EpisodeConfig(0, (6, 12), 12, query_camera="phone"), 0)
    assert not episode.same_camera
    cameras = [camera for of_length in episode.query_cameras for camera in of_length]
    upright = [camera for camera in cameras if camera.height > camera.width]
    assert 0.25 < len(upright) / len(cameras) < 0.75
    for camera in cameras:
        longer = max(camera.width, camera.height)
        assert 2 * math.atan(longer / 2 / camera.focal) == pytest.approx(PHONE_HFOV)
        assert PHONE_HEIGHT[0] <= camera.z <= PHONE_HEIGHT[1]
        assert 0.0 <= camera.pitch <= PHONE_PITCH
    for rgb, camera in asked(episode):
        assert rgb.shape == (camera.height, camera.width, 3)


def test_a_phone_asks_the_same_questions_as_the_robots_camera() -> None:
    own, phone = (
        plan_episode(EpisodeConfig(0, (6, 12), 2, query_camera=kind), 0) for kind in ("same", "phone")
    )
    np.testing.assert_array_equal(own.views, phone.views)
    np.testing.assert_array_equal(own.poses, phone.poses)
    assert own.camera == phone.camera


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"lengths": ()}, "at least 2 frames"),
        ({"lengths": (1,)}, "at least 2 frames"),
        ({"lengths": (5, 5)}, "must be different"),
        ({"queries": 1}, "at least 2"),
        ({"seed": -1}, "must not be negative"),
        ({"query_camera": "film"}, "same or phone"),
    ],
)
def test_impossible_configurations_are_refused(wrong: dict, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        EpisodeConfig(**({"seed": 0} | wrong))
