"""Cameras that are off-centre, turned, tilted or somebody else's, against the renderer."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kinaema_ros import geometry
from kinaema_ros.camera import Mount, optical_quaternion, photo_hfov
from kinaema_ros.errors import InputError
from kinaema_ros.model.camera_pose import planar_rotation, tilt_rotation
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


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["x", "z", "yaw", "roll"])
def test_a_mount_that_is_no_number_is_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{name} of the camera's mount is {value}"):
        Mount(**{name: value})


@pytest.mark.parametrize(
    "quaternion", [(0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 5.0), (math.nan, 0.0, 0.0, 1.0)]
)
def test_a_rotation_that_nobody_has_set_makes_no_mount(quaternion: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="quaternion has length"):
        Mount.from_optical(np.zeros(3), np.array(quaternion))


def test_heading_errors_of_the_camera_become_position_errors_of_a_distant_base() -> None:
    _, covariance = Mount(x=2.0).base_pose(np.zeros(3), np.diag([0.0, 0.0, 0.01]))
    assert covariance[1, 1] == pytest.approx(0.04)  # (2 m * 0.1 rad)^2 across
    assert covariance[0, 0] == pytest.approx(0.0, abs=1e-12)


@given(yaw=angles, pitch=st.floats(-1.4, 1.4), x=lengths, y=lengths)
def test_a_mount_survives_its_optical_frame(yaw, pitch, x, y) -> None:
    mount = Mount.from_optical(np.array([x, y, 0.4]), np.array(optical_quaternion(yaw, pitch)))
    assert (mount.x, mount.y, mount.z) == (x, y, 0.4)
    assert mount.pitch == pytest.approx(pitch, abs=1e-9)
    assert abs(geometry.wrap_angle(mount.yaw - yaw)) < 1e-9
    assert abs(mount.roll) < 1e-9


def test_an_off_centre_camera_sees_what_a_central_one_sees_from_its_pose(world) -> None:
    scene, poses = world
    mount = Mount(x=0.2, y=-0.1, yaw=math.pi / 2)
    mounted = render(scene, poses, Camera(x=mount.x, y=mount.y, yaw=mount.yaw))
    central = render(scene, mount.camera_pose(poses), Camera())
    assert np.mean(mounted != central) < 1e-3  # rounding at the edges of boxes


def test_the_height_of_a_camera_changes_nothing_in_the_plane() -> None:
    base, covariance = np.array([1.0, -2.0, 0.5]), np.diag([0.01, 0.02, 0.03])
    low, high = (Mount(x=0.2, y=0.1, yaw=0.3, z=z) for z in (0.1, 1.4))
    np.testing.assert_array_equal(low.camera_pose(base), high.camera_pose(base))
    for a, b in zip(low.base_pose(base, covariance), high.base_pose(base, covariance), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_roll_of_a_camera_survives_its_optical_frame() -> None:
    half = np.sqrt(0.5)
    about_x = np.array([half, 0.0, 0.0, half])  # the base's x axis is the optical axis
    rolled = geometry.multiply_quaternions(about_x, optical_quaternion(0.0, 0.0))
    mount = Mount.from_optical(np.zeros(3), rolled)
    assert mount.roll == pytest.approx(math.pi / 2)
    assert mount.pitch == pytest.approx(0.0, abs=1e-9)


def test_an_upright_photo_shows_the_narrower_angle_across_its_width() -> None:
    long_side = math.radians(70)
    assert photo_hfov(4000, 3000, long_side) == long_side
    assert photo_hfov(3000, 4000, long_side) == pytest.approx(2 * math.atan(0.75 * math.tan(long_side / 2)))


@given(
    yaw=angles,
    roll=st.floats(-0.9, 0.9),
    pitch=st.floats(-0.9, 0.9),
    camera_yaw=angles,
    camera_pitch=st.floats(-0.5, 0.5),
)
def test_a_tilted_base_carries_its_camera_with_it(yaw, roll, pitch, camera_yaw, camera_pitch) -> None:
    by_roll = np.array([math.sin(roll / 2), 0.0, 0.0, math.cos(roll / 2)])
    by_pitch = np.array([0.0, math.sin(pitch / 2), 0.0, math.cos(pitch / 2)])
    tilted = geometry.multiply_quaternions(by_pitch, by_roll)
    heading = geometry.multiply_quaternions(geometry.quaternion_from_yaw(yaw), tilted)
    assert geometry.tilt_from_quaternion(*(1.01 * heading)) == pytest.approx((roll, pitch), abs=1e-7)

    mount = Mount(0.3, -0.1, 1.2, camera_yaw, camera_pitch)
    optical = geometry.multiply_quaternions(tilted, np.array(optical_quaternion(camera_yaw, camera_pitch)))
    position = geometry.rotate_by_quaternion(tilted, np.array([0.3, -0.1, 1.2]))
    expected, found = Mount.from_optical(position, optical), mount.on_tilted_base(roll, pitch)
    if abs(expected.pitch) < 1.5:  # straight up or down no heading is left
        for name in ("x", "y", "z", "pitch"):
            assert getattr(found, name) == pytest.approx(getattr(expected, name), abs=1e-6)
        for name in ("yaw", "roll"):
            assert abs(geometry.wrap_angle(getattr(found, name) - getattr(expected, name))) < 1e-6
    assert mount.on_tilted_base(0.0, 0.0) is mount


@settings(deadline=None)  # the first use of torch takes a while
@given(
    roll=st.floats(-0.9, 0.9),
    pitch=st.floats(-0.9, 0.9),
    yaw=angles,
    camera=st.tuples(*[st.floats(-0.5, 0.5)] * 2),
)
def test_a_tilted_base_turns_its_camera_as_matrices_do(roll, pitch, yaw, camera) -> None:
    def rotation(of: Mount) -> torch.Tensor:
        tilt = torch.tensor([of.roll, of.pitch], dtype=torch.float64)
        return planar_rotation(torch.tensor(of.yaw, dtype=torch.float64)) @ tilt_rotation(tilt)

    mount = Mount(yaw=yaw, roll=camera[0], pitch=camera[1])
    expected = rotation(Mount(roll=roll, pitch=pitch)) @ rotation(mount)
    torch.testing.assert_close(rotation(mount.on_tilted_base(roll, pitch)), expected, rtol=0.0, atol=1e-6)
