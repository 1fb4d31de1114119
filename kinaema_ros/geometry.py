"""Planar rigid motions, SE(2).

A pose is an array ``(..., 3)`` of ``x, y, yaw`` (metres, metres, radians) and reads as the transform
``parent_T_child``: it takes coordinates in the child frame to coordinates in the parent frame. All
functions broadcast over leading axes and compute in float64, so that a robot 10 km from its odometry's
origin loses less than a micrometre. Formulae: Solà, Deray, Atchuthan, "A micro Lie theory for state
estimation in robotics", arXiv 1812.01537, section 4.1 (here as x, y, yaw instead of the exponential map).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kinaema_ros.errors import InputError

Array = NDArray[np.float64]
# Quaternions are sent in float64 and normalised by every sane publisher; half a percent is a broken one.
QUATERNION_TOLERANCE = 5e-3


def wrap_angle(angle: ArrayLike) -> Array:
    """The same angle in [-pi, pi)."""
    return (np.asarray(angle, dtype=np.float64) + np.pi) % (2 * np.pi) - np.pi


def compose(a_T_b: ArrayLike, b_T_c: ArrayLike) -> Array:
    """``a_T_c``, shape (..., 3), yaw in [-pi, pi)."""
    a, b = np.asarray(a_T_b, dtype=np.float64), np.asarray(b_T_c, dtype=np.float64)
    cos, sin = np.cos(a[..., 2]), np.sin(a[..., 2])
    return np.stack(
        [
            a[..., 0] + cos * b[..., 0] - sin * b[..., 1],
            a[..., 1] + sin * b[..., 0] + cos * b[..., 1],
            wrap_angle(a[..., 2] + b[..., 2]),
        ],
        axis=-1,
    )


def inverse(a_T_b: ArrayLike) -> Array:
    """``b_T_a``, shape (..., 3)."""
    a = np.asarray(a_T_b, dtype=np.float64)
    cos, sin = np.cos(a[..., 2]), np.sin(a[..., 2])
    return np.stack(
        [
            -cos * a[..., 0] - sin * a[..., 1],
            sin * a[..., 0] - cos * a[..., 1],
            wrap_angle(-a[..., 2]),
        ],
        axis=-1,
    )


def between(w_T_a: ArrayLike, w_T_b: ArrayLike) -> Array:
    """``a_T_b``: pose b as seen from pose a, both given in the same frame w."""
    a, b = np.asarray(w_T_a, dtype=np.float64), np.asarray(w_T_b, dtype=np.float64)
    dx, dy = b[..., 0] - a[..., 0], b[..., 1] - a[..., 1]
    cos, sin = np.cos(a[..., 2]), np.sin(a[..., 2])
    return np.stack([cos * dx + sin * dy, cos * dy - sin * dx, wrap_angle(b[..., 2] - a[..., 2])], axis=-1)


def interpolate(a: ArrayLike, b: ArrayLike, fraction: ArrayLike) -> Array:
    """The pose at ``fraction`` (0: a, 1: b) of the way; position is linear, yaw takes the shorter way round."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    fraction = np.asarray(fraction, dtype=np.float64)
    xy = a[..., :2] + fraction[..., None] * (b[..., :2] - a[..., :2])
    yaw = wrap_angle(a[..., 2] + fraction * wrap_angle(b[..., 2] - a[..., 2]))
    return np.concatenate([xy, yaw[..., None]], axis=-1)


def rotate_covariance(covariance: ArrayLike, yaw: ArrayLike) -> Array:
    """A covariance (..., 3, 3) of (x, y, yaw) expressed in a parent frame in which the old frame has ``yaw``."""
    yaw = np.asarray(yaw, dtype=np.float64)
    cos, sin, zero, one = np.cos(yaw), np.sin(yaw), np.zeros_like(yaw), np.ones_like(yaw)
    rotation = np.stack(
        [
            np.stack([cos, -sin, zero], axis=-1),
            np.stack([sin, cos, zero], axis=-1),
            np.stack([zero, zero, one], axis=-1),
        ],
        axis=-2,
    )
    return rotation @ np.asarray(covariance, dtype=np.float64) @ np.swapaxes(rotation, -1, -2)


def compose_covariance(
    a_T_b: ArrayLike, a_covariance: ArrayLike, b_T_c: ArrayLike, b_covariance: ArrayLike
) -> Array:
    """Covariance (3, 3) of ``compose(a_T_b, b_T_c)`` to first order.

    Each input's covariance is that of its own x, y, yaw coordinates; the two errors are independent.
    """
    a, b = np.asarray(a_T_b, dtype=np.float64), np.asarray(b_T_c, dtype=np.float64)
    cos, sin = np.cos(a[2]), np.sin(a[2])
    by_a = np.eye(3)
    by_a[0, 2] = -sin * b[0] - cos * b[1]
    by_a[1, 2] = cos * b[0] - sin * b[1]
    return by_a @ np.asarray(a_covariance, dtype=np.float64) @ by_a.T + rotate_covariance(b_covariance, a[2])


def yaw_from_quaternion(x: float, y: float, z: float, w: float) -> float:
    """Yaw (rotation about +z, radians) of a unit quaternion."""
    return float(np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z)))


def checked_quaternion(x: float, y: float, z: float, w: float) -> tuple[float, float, float, float]:
    """A quaternion from outside, normalised. Raises ``InputError`` where its length is not 1."""
    length = math.hypot(x, y, z, w)
    if not abs(length - 1.0) <= QUATERNION_TOLERANCE:  # NaN too
        raise InputError(f"quaternion has length {length:.4f}, not 1")
    return x / length, y / length, z / length, w / length


def checked_yaw(x: float, y: float, z: float, w: float) -> float:
    """Yaw of a quaternion from outside. Raises ``InputError`` where its length is not 1."""
    return yaw_from_quaternion(*checked_quaternion(x, y, z, w))


def tilt_from_quaternion(x: float, y: float, z: float, w: float) -> tuple[float, float]:
    """Roll and pitch (radians, REP 103: pitch > 0 is down) of a quaternion, which need not be of unit length."""
    length = x * x + y * y + z * z + w * w
    roll = math.atan2(2.0 * (w * x + y * z), length - 2.0 * (x * x + y * y))
    return roll, math.asin(min(max(2.0 * (w * y - z * x) / length, -1.0), 1.0))


def quaternion_from_yaw(yaw: float) -> tuple[float, float, float, float]:
    """Unit quaternion (x, y, z, w) of a rotation by ``yaw`` about +z."""
    return 0.0, 0.0, float(np.sin(yaw / 2)), float(np.cos(yaw / 2))


def quaternion_from_tilt(roll: float, pitch: float) -> Array:
    """Unit quaternion (4,) x, y, z, w of a roll, then a pitch; ``tilt_from_quaternion`` undoes it."""
    by_pitch = (0.0, math.sin(pitch / 2), 0.0, math.cos(pitch / 2))
    return multiply_quaternions(by_pitch, (math.sin(roll / 2), 0.0, 0.0, math.cos(roll / 2)))


def multiply_quaternions(a: ArrayLike, b: ArrayLike) -> Array:
    """The rotation b, then a: quaternions (4,) x, y, z, w."""
    (ax, ay, az, aw), (bx, by, bz, bw) = np.asarray(a, float), np.asarray(b, float)
    return np.array([
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    ])  # fmt: skip


def rotate_by_quaternion(q: ArrayLike, v: ArrayLike) -> Array:
    """A vector (3,) turned by a unit quaternion (4,) x, y, z, w."""
    x, y, z, w = np.asarray(q, float)
    conjugate = np.array([-x, -y, -z, w])
    turned = multiply_quaternions(multiply_quaternions(q, np.append(np.asarray(v, float), 0.0)), conjugate)
    return turned[:3]
