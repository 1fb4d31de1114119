"""Cameras that are off-centre, turned, tilted or somebody else's, against the renderer."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinaema_ros import geometry
from kinaema_ros.camera import BLANK, Intrinsics, Mount, level, optical_quaternion, photo_hfov
from kinaema_ros.sim import Camera, explore, generate_scene, render

angles = st.floats(-3.1, 3.1)
lengths = st.floats(-2, 2)


@pytest.fixture(scope="module")
def world():
    scene = generate_scene(3)
    return scene, explore(scene, np.random.default_rng(0), 40)[::8]


@given(x=lengths, y=lengths, yaw=angles, px=lengths, py=lengths, pyaw=angles)
def test_the_base_of_a_camera_is_where_the_camera_was_put_from(x, y, yaw, px, py, pyaw) -> None:
    mount, base = Mount(x, y, yaw), np.array([px, py, pyaw])
    pose, _ = mount.base_pose(mount.camera_pose(base), np.eye(3))
    np.testing.assert_allclose(geometry.between(base, pose), 0, atol=1e-9)


def test_heading_errors_of_the_camera_become_position_errors_of_a_distant_base() -> None:
    _, covariance = Mount(x=2.0).base_pose(np.zeros(3), np.diag([0.0, 0.0, 0.01]))
    assert covariance[1, 1] == pytest.approx(0.04)  # (2 m * 0.1 rad)^2 across
    assert covariance[0, 0] == pytest.approx(0.0, abs=1e-12)


@given(yaw=angles, pitch=st.floats(-1.4, 1.4), x=lengths, y=lengths)
def test_a_mount_survives_its_optical_frame(yaw, pitch, x, y) -> None:
    mount = Mount.from_optical(np.array([x, y, 0.4]), np.array(optical_quaternion(yaw, pitch)))
    assert (mount.x, mount.y) == (x, y)
    assert mount.pitch == pytest.approx(pitch, abs=1e-9)
    assert abs(geometry.wrap_angle(mount.yaw - yaw)) < 1e-9
    assert abs(mount.roll) < 1e-9


def test_an_off_centre_camera_sees_what_a_central_one_sees_from_its_pose(world) -> None:
    scene, poses = world
    mount = Mount(x=0.2, y=-0.1, yaw=math.pi / 2)
    mounted = render(scene, poses, Camera(x=mount.x, y=mount.y, yaw=mount.yaw))
    central = render(scene, mount.camera_pose(poses), Camera())
    assert np.mean(mounted != central) < 1e-3  # rounding at the edges of boxes


@settings(deadline=None, max_examples=10)
@given(pitch=st.floats(-0.35, 0.35))
def test_levelling_undoes_a_tilt(world, pitch) -> None:
    scene, poses = world
    camera = Intrinsics.from_hfov(160, 120, math.pi / 2)
    tilted = render(scene, poses, Camera(pitch=pitch))
    straight = render(scene, poses, Camera()).astype(float)
    levelled = np.stack([level(image, camera, Mount(pitch=pitch)) for image in tilted])
    seen = (levelled != BLANK).any(axis=-1, keepdims=True)
    error = np.abs(levelled - straight).mean(axis=-1, keepdims=True)[seen].mean()
    assert seen.mean() > 0.6
    assert error < 0.35 * np.abs(tilted - straight).mean() + 6.0  # interpolation blurs texture a little


def test_a_camera_upside_down_is_turned_upright(world) -> None:
    scene, poses = world
    straight = render(scene, poses[:1], Camera())[0]
    camera = Intrinsics.from_hfov(160, 120, math.pi / 2)
    np.testing.assert_array_equal(level(straight[::-1, ::-1], camera, Mount(roll=math.pi)), straight)


def test_an_upright_photo_shows_the_narrower_angle_across_its_width() -> None:
    long_side = math.radians(70)
    assert photo_hfov(4000, 3000, long_side) == long_side
    assert photo_hfov(3000, 4000, long_side) == pytest.approx(2 * math.atan(0.75 * math.tan(long_side / 2)))
