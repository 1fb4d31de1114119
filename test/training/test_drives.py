"""Simulated drives and their photos: the same for a seed, as wide as they say, and true where they say seen."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from kinaema_ros.camera import Intrinsics
from kinaema_ros.metrics import pose_errors
from kinaema_ros.sim import Camera, SceneConfig, generate_scene
from kinaema_ros.training.drives import (
    FIXED,
    PIXELS,
    TWIN,
    Drive,
    DriveConfig,
    Photo,
    intrinsics,
    mounted,
    random_camera,
    simulate,
    without,
)
from kinaema_ros.training.photographs import blurred, photograph, vignette

CONFIG = DriveConfig(frames=(16, 24), moments=(0.5, 1.0), photos=2, max_size=10.0, twins=0.0)


@pytest.fixture(scope="module")
def drives() -> list[Drive]:
    return [simulate(CONFIG, index) for index in range(4)]


def alike(a: Drive, b: Drive) -> bool:
    pictures = zip(
        [*a.frames, *(photo.rgb for photo in a.photos)],
        [*b.frames, *(photo.rgb for photo in b.photos)],
        strict=False,
    )
    return np.array_equal(a.odometry, b.odometry) and all(np.array_equal(x, y) for x, y in pictures)


def near(view: np.ndarray, poses: np.ndarray) -> bool:
    """Whether a frame of ``poses`` was taken where a seen photo may be."""
    distance, angle = pose_errors(poses, view)
    return bool(((distance < CONFIG.distance + 1e-6) & (np.degrees(angle) < CONFIG.angle_deg + 1e-6)).any())


def test_a_drive_depends_on_seed_and_index_alone(drives: list[Drive]) -> None:
    assert alike(simulate(CONFIG, 2), drives[2])
    assert not alike(drives[0], drives[1])
    assert not alike(simulate(replace(CONFIG, seed=1), 2), drives[2])


def test_a_drive_has_as_many_frames_as_poses_within_the_bounds(drives: list[Drive]) -> None:
    for drive in drives:
        assert 16 <= len(drive.frames) <= 24
        assert drive.poses.shape == drive.odometry.shape == (len(drive.frames), 3)
        assert all(rgb.dtype == np.uint8 for rgb in drive.frames)
        for rgb in drive.frames:
            assert rgb.shape == (drive.camera.height, drive.camera.width, 3)


def test_seen_photos_are_near_a_frame_that_was_in_memory_when_they_are_asked(drives: list[Drive]) -> None:
    for drive in drives:
        for photo in drive.photos:
            assert 4 <= photo.moment <= len(drive.frames)
            if photo.seen:
                assert near(photo.pose, drive.poses[: photo.moment])


def test_at_each_moment_each_camera_asks_for_as_many_unseen_as_seen_places(drives: list[Drive]) -> None:
    for drive in drives:
        moments = {photo.moment for photo in drive.photos}
        assert moments == {max(4, round(share * len(drive.frames))) for share in CONFIG.moments}
        for moment in moments:
            for same in (True, False):
                of = [p for p in drive.photos if p.moment == moment and (p.mount is not None) == same]
                assert [p.seen for p in of].count(True) == [p.seen for p in of].count(False) == CONFIG.photos


def test_a_photo_by_another_camera_has_no_mount_and_a_camera_of_its_own(drives: list[Drive]) -> None:
    for drive in drives:
        for photo in drive.photos:
            assert photo.rgb.shape == (photo.camera.height, photo.camera.width, 3)
            if photo.mount is None:
                assert photo.camera != drive.camera
                assert degrees_across(photo.camera) == pytest.approx(69.0, abs=11.5)
            else:
                assert (photo.camera, photo.mount) == (drive.camera, drive.mount)


def degrees_across(camera: Intrinsics) -> float:
    """Of the longer side."""
    return math.degrees(2 * math.atan(max(camera.width, camera.height) / 2 / camera.fx))


def test_odometry_drifts_or_is_exact() -> None:
    def error(config: DriveConfig) -> float:
        drive = simulate(config, 0)
        start = drive.poses[0]
        turn = np.array([[np.cos(start[2]), -np.sin(start[2])], [np.sin(start[2]), np.cos(start[2])]])
        at_end = start[:2] + turn @ drive.odometry[-1, :2]
        return float(np.hypot(*(at_end - drive.poses[-1, :2])))

    assert error(replace(CONFIG, exact_odometry=1.0)) < 1e-9
    assert error(replace(CONFIG, exact_odometry=0.0)) > 1e-4
    assert error(replace(CONFIG, exact_odometry=0.0, odometry_noise=(0.0, 0.0))) < 1e-9


def test_a_twin_building_looks_the_same_and_is_driven_through_by_the_same_way() -> None:
    drive = simulate(replace(CONFIG, twins=1.0), 0)
    half = len(drive.poses) // 2
    np.testing.assert_allclose(drive.poses[half:] - drive.poses[:half], np.tile(TWIN, (half, 1)))
    difference = [
        np.abs(a.astype(float).mean() - b.mean())
        for a, b in zip(drive.frames[:half], drive.frames[half:], strict=True)
    ]
    assert max(difference) < 50.0, "but for the exposure"
    early = [photo for photo in drive.photos if photo.seen and photo.moment < len(drive.poses)]
    late = [photo for photo in drive.photos if photo.seen and photo.moment == len(drive.poses)]
    assert early
    assert late
    for photo in early:
        assert near(photo.pose, drive.poses[: photo.moment])
    for photo in late:
        assert near(photo.pose, drive.poses)


def test_of_twins_either_may_be_asked_for_once_both_were_seen() -> None:
    config = replace(CONFIG, twins=1.0, moments=(1.0,), frames=(12, 12))
    poses = [photo.pose for index in range(3) for photo in simulate(config, index).photos if photo.seen]
    in_the_twin = [pose[0] > 20.0 for pose in poses]
    assert any(in_the_twin)
    assert not all(in_the_twin)


def test_of_the_furniture_a_share_goes_and_the_walls_stay() -> None:
    scene = generate_scene(1, SceneConfig(12.0, 14.0))
    rng = np.random.default_rng(0)
    assert without(scene, rng, 0.0).kinds == scene.kinds
    bare = without(scene, rng, 1.0)
    assert set(bare.kinds) <= set(FIXED)
    assert len(bare.kinds) == sum(kind in FIXED for kind in scene.kinds)
    some = without(scene, rng, 0.3)
    assert len(bare.kinds) < len(some.kinds) < len(scene.kinds)
    assert len(some.boxes) == len(some.faces) == len(some.kinds)


# -- cameras -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("aspect", "hfov_deg"),
    [
        (16 / 9, CONFIG.hfov_deg),
        (4 / 3, CONFIG.hfov_deg),
        (3 / 4, CONFIG.phone_hfov_deg),
        (9 / 16, CONFIG.phone_hfov_deg),
    ],
)
def test_random_cameras_stay_in_their_ranges(aspect: float, hfov_deg: tuple[float, float]) -> None:
    rng = np.random.default_rng(0)
    cameras = [random_camera(rng, aspect, hfov_deg, (0.15, 1.2), (-15.0, 20.0)) for _ in range(300)]
    for camera in cameras:  # Camera itself refuses what the renderer cannot do
        assert hfov_deg[0] - 1.0 < degrees_across(intrinsics(camera)) < hfov_deg[1] + 1.0
        assert 0.15 <= camera.z <= 1.2
        assert math.radians(-15.0) <= camera.pitch <= math.radians(20.0)
        assert camera.width / camera.height == pytest.approx(aspect, rel=0.03)
        assert camera.width * camera.height == pytest.approx(PIXELS, rel=0.05)
    level = [camera.pitch == 0.0 for camera in cameras]
    assert 0.2 < np.mean(level) < 0.4
    assert max(camera.z for camera in cameras) > 1.1 > 0.2 > min(camera.z for camera in cameras)


def test_a_steep_camera_looks_no_further_than_the_renderer_can() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        camera = random_camera(rng, 9 / 16, (95.0, 100.0), (1.0, 1.0), (60.0, 60.0))
        assert camera.pitch + math.atan2(camera.height / 2, camera.focal) <= math.radians(79.01)


def test_a_camera_is_described_as_it_is_mounted() -> None:
    camera = Camera(400, 300, math.radians(80.0), z=0.7, pitch=0.2)
    assert degrees_across(intrinsics(camera)) == pytest.approx(80.0)
    mount = mounted(camera)
    assert (mount.x, mount.y, mount.z, mount.yaw, mount.pitch) == (0.0, 0.0, 0.0, 0.0, 0.2)


# -- photographs -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def view(drives: list[Drive]) -> np.ndarray:
    return drives[0].frames[0]


def test_a_photograph_has_the_views_size_and_another_light_each_time(view: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    taken = [photograph(view, rng) for _ in range(40)]
    assert all(picture.shape == view.shape and picture.dtype == np.uint8 for picture in taken)
    brightness = np.array([picture.mean() for picture in taken])
    assert brightness.max() > 1.4 * brightness.min()
    colours = np.array([picture.mean((0, 1)) for picture in taken])
    warmth = colours[:, 0] / colours[:, 2]
    assert warmth.max() > 1.3 * warmth.min()
    assert any(np.abs(picture - picture.mean(-1, keepdims=True)).max() < 40 for picture in taken), (
        "a grey one"
    )


def test_a_photograph_depends_on_its_random_numbers_alone_and_spares_the_view(view: np.ndarray) -> None:
    before = view.copy()
    a, b, c = (photograph(view, np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)
    np.testing.assert_array_equal(view, before)


def test_a_photograph_still_shows_the_view(view: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        grey = photograph(view, rng).mean(-1)
        assert np.corrcoef(grey.ravel(), view.mean(-1).ravel())[0, 1] > 0.6


def test_a_portrait_keeps_its_size() -> None:
    portrait = np.full((96, 54, 3), 120, np.uint8)
    assert photograph(portrait, np.random.default_rng(0)).shape == (96, 54, 3)


def test_a_vignette_takes_light_from_the_corners_only() -> None:
    light = vignette(31, 41, 0.4)
    assert light.shape == (31, 41, 1)
    assert light[15, 20, 0] == pytest.approx(1.0)
    assert light[0, 0, 0] == light[-1, -1, 0] == pytest.approx(0.6)
    assert (vignette(31, 41, 0.0) == 1.0).all()


def test_blur_keeps_the_size_and_the_mean(view: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        soft = blurred(view.astype(float), rng)
        assert soft.shape == view.shape
        assert soft.mean() == pytest.approx(view.mean(), rel=0.02)
        assert np.abs(np.diff(soft, axis=1)).mean() < np.abs(np.diff(view.astype(float), axis=1)).mean()


def test_photos_of_other_light_are_asked_too() -> None:
    """Of ten seen photos from nearly the same place as a frame, some are much brighter or darker than it."""
    drive = simulate(replace(CONFIG, photos=6, distance=0.05, angle_deg=2.0), 1)
    seen: list[Photo] = [photo for photo in drive.photos if photo.seen and photo.mount is not None]
    ratio = []
    for photo in seen:
        distance, angle = pose_errors(drive.poses, photo.pose)
        nearest = drive.frames[int(np.argmin(distance + angle))]
        ratio.append(photo.rgb.mean() / nearest.mean())
    assert max(ratio) > 1.15 * min(ratio)
