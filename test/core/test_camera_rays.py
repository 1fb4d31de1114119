"""Directions in which pixels look, through lenses of every model."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from kinaema_ros.camera import Intrinsics
from kinaema_ros.errors import InputError

CAMERA = (640, 480, 420.0, 425.0, 322.0, 238.0)
LENSES = [
    ("none", ()),
    ("plumb_bob", (-0.3, 0.1, 0.001, -0.002)),
    ("plumb_bob", (-0.3, 0.1, 0.001, -0.002, -0.01)),
    ("rational_polynomial", (0.5, -0.1, 1e-4, -2e-4, 0.01, 0.8, -0.05, 0.02)),
    ("equidistant", (0.05, -0.01, 0.003, -0.001)),
]


@pytest.mark.parametrize(("model", "distortion"), LENSES)
def test_a_point_is_in_the_direction_in_which_its_pixel_looks(model: str, distortion: tuple) -> None:
    camera = Intrinsics(*CAMERA, model, distortion)
    random = np.random.default_rng(0)
    right, down, far = (
        random.uniform(-0.55, 0.55, 50),
        random.uniform(-0.4, 0.4, 50),
        random.uniform(1, 9, 50),
    )
    optical = np.stack([right * far, down * far, far], axis=-1)[:, None]
    matrix = np.array([[420.0, 0, 322.0], [0, 425.0, 238.0], [0, 0, 1]])
    project = cv2.fisheye.projectPoints if model == "equidistant" else cv2.projectPoints
    coefficients = np.array(distortion or (0.0,) * 4)
    pixels = project(optical, np.zeros(3), np.zeros(3), matrix, coefficients)[0].reshape(-1, 2)
    expected = np.stack([far, -right * far, -down * far], axis=-1)
    expected /= np.linalg.norm(expected, axis=-1, keepdims=True)
    np.testing.assert_allclose(camera.rays(pixels), expected, atol=2e-4)


def test_the_middle_looks_ahead_and_the_sides_half_a_field_of_view_off() -> None:
    camera = Intrinsics.from_hfov(320, 240, math.radians(90))
    rays = camera.rays(np.array([[159.5, 119.5], [-0.5, 119.5], [159.5, 239.5]]))
    np.testing.assert_allclose(rays[0], [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(rays[1], [math.sqrt(0.5), math.sqrt(0.5), 0], atol=1e-9)  # left
    assert rays[2, 2] < 0  # down


def test_the_same_camera_at_another_resolution_looks_the_same_way() -> None:
    camera = Intrinsics(*CAMERA, "plumb_bob", LENSES[1][1])
    half = camera.scaled_to(320, 240)
    pixels = np.array([[10.0, 20.0], [300.0, 200.0]])
    np.testing.assert_allclose(half.rays((pixels + 0.5) / 2 - 0.5), camera.rays(pixels), atol=1e-9)
    assert half.distortion == camera.distortion


def test_no_pixels_no_rays() -> None:
    assert Intrinsics(*CAMERA).rays(np.zeros((0, 2))).shape == (0, 3)


@pytest.mark.parametrize(
    ("model", "distortion", "message"),
    [
        ("thin_prism", (), "thin_prism"),
        ("plumb_bob", (0.1,), "4 or 5"),
        ("equidistant", (0.1, math.nan, 0.0, 0.0), "finite"),
        ("none", (0.1,), "0 finite"),
    ],
)
def test_a_lens_that_is_not_one_is_refused(model: str, distortion: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Intrinsics(*CAMERA, model, distortion)
