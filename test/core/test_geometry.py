"""SE(2): the group laws hold for any poses, and nothing is lost far from the origin."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinaema_ros import geometry
from kinaema_ros.errors import InputError

coordinates = st.floats(-1e4, 1e4)
angles = st.floats(-10.0, 10.0)
poses = st.tuples(coordinates, coordinates, angles).map(np.array)


def assert_same(a: np.ndarray, b: np.ndarray) -> None:
    np.testing.assert_allclose(a[..., :2], b[..., :2], atol=1e-7)
    np.testing.assert_allclose(geometry.wrap_angle(a[..., 2] - b[..., 2]), 0.0, atol=1e-9)


@given(poses, poses, poses)
def test_composition_is_associative(a, b, c):
    assert_same(geometry.compose(geometry.compose(a, b), c), geometry.compose(a, geometry.compose(b, c)))


@given(poses)
def test_a_pose_and_its_inverse_cancel(a):
    assert_same(geometry.compose(a, geometry.inverse(a)), np.zeros(3))
    assert_same(geometry.compose(geometry.inverse(a), a), np.zeros(3))


@given(poses, poses)
def test_between_undoes_compose(a, b):
    assert_same(geometry.between(a, geometry.compose(a, b)), b)


@given(poses, poses, poses)
def test_relative_poses_do_not_depend_on_the_frame(frame, a, b):
    moved = geometry.between(geometry.compose(frame, a), geometry.compose(frame, b))
    assert_same(moved, geometry.between(a, b))


@given(angles)
def test_wrapped_angles_point_the_same_way(angle):
    wrapped = float(geometry.wrap_angle(angle))
    assert -np.pi <= wrapped < np.pi
    assert np.isclose(np.cos(wrapped), np.cos(angle))
    assert np.isclose(np.sin(wrapped), np.sin(angle))


@given(poses, poses)
def test_interpolation_meets_both_ends(a, b):
    assert_same(geometry.interpolate(a, b, 0.0), a)
    assert_same(geometry.interpolate(a, b, 1.0), b)


def test_interpolation_turns_the_shorter_way():
    half = geometry.interpolate([0, 0, np.radians(170)], [0, 0, np.radians(-170)], 0.5)
    assert np.isclose(abs(half[2]), np.pi)


@given(angles)
def test_quaternions_carry_yaw(angle):
    yaw = geometry.yaw_from_quaternion(*geometry.quaternion_from_yaw(angle))
    assert np.isclose(geometry.wrap_angle(yaw - angle), 0.0, atol=1e-9)


def test_composed_covariance_matches_sampling():
    rng = np.random.default_rng(0)
    a, b = np.array([1.0, 2.0, 0.7]), np.array([3.0, -1.0, 0.2])
    cov_a, cov_b = np.diag([1e-4, 4e-4, 1e-4]), np.diag([2e-4, 1e-4, 3e-4])
    samples = geometry.compose(
        a + rng.multivariate_normal(np.zeros(3), cov_a, 200_000),
        b + rng.multivariate_normal(np.zeros(3), cov_b, 200_000),
    )
    np.testing.assert_allclose(geometry.compose_covariance(a, cov_a, b, cov_b), np.cov(samples.T), atol=3e-5)


@given(angles, st.floats(0.9951, 1.0049))
def test_a_quaternion_that_is_nearly_normalised_gives_its_yaw(angle, length):
    quaternion = length * np.array(geometry.quaternion_from_yaw(angle))
    assert abs(geometry.wrap_angle(geometry.checked_yaw(*quaternion) - angle)) < 1e-9


@pytest.mark.parametrize("length", [0.0, 0.99, 1.01, np.nan, np.inf])
def test_a_quaternion_that_is_none_is_refused(length):
    with pytest.raises(InputError, match=f"quaternion has length {length:.4f}, not 1"):
        geometry.checked_yaw(0.0, 0.0, 0.0, length)


axes = st.tuples(*[st.floats(-1, 1)] * 3).map(np.array).filter(lambda axis: np.linalg.norm(axis) > 0.1)
rotations = st.tuples(axes, angles).map(
    lambda turn: np.append(np.sin(turn[1] / 2) * turn[0] / np.linalg.norm(turn[0]), np.cos(turn[1] / 2))
)
vectors = st.tuples(*[st.floats(-100, 100)] * 3).map(np.array)


@given(rotations, rotations, vectors)
def test_a_product_of_quaternions_turns_by_the_second_and_then_the_first(a, b, v):
    both = geometry.rotate_by_quaternion(geometry.multiply_quaternions(a, b), v)
    one_by_one = geometry.rotate_by_quaternion(a, geometry.rotate_by_quaternion(b, v))
    np.testing.assert_allclose(both, one_by_one, atol=1e-9)
    assert np.linalg.norm(both) == pytest.approx(np.linalg.norm(v), abs=1e-9)


@given(angles, angles)
def test_turns_about_the_vertical_add_up(a, b):
    product = geometry.multiply_quaternions(geometry.quaternion_from_yaw(a), geometry.quaternion_from_yaw(b))
    assert abs(geometry.wrap_angle(geometry.yaw_from_quaternion(*product) - a - b)) < 1e-9


@given(angles, vectors)
def test_a_yaw_turns_a_vector_as_a_pose_does(yaw, v):
    turned = geometry.rotate_by_quaternion(geometry.quaternion_from_yaw(yaw), v)
    flat = geometry.compose([0.0, 0.0, yaw], [v[0], v[1], 0.0])
    np.testing.assert_allclose(turned, [flat[0], flat[1], v[2]], atol=1e-9)


def test_a_quarter_turn_to_the_left_takes_ahead_to_the_left_and_one_down_takes_it_down():
    half = np.sqrt(0.5)
    np.testing.assert_allclose(
        geometry.rotate_by_quaternion([0, 0, half, half], [1, 0, 0]), [0, 1, 0], atol=1e-12
    )
    np.testing.assert_allclose(
        geometry.rotate_by_quaternion([0, half, 0, half], [1, 0, 0]), [0, 0, -1], atol=1e-12
    )
