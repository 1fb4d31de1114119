"""Directions in which pixels look, through lenses of every model; what a CameraInfo says; parts of images."""

from __future__ import annotations

import math
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from kinaema_ros.camera import Intrinsics, crop, is_rectified_topic
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
def test_the_field_of_view_is_what_the_rays_at_the_edges_span(model: str, distortion: tuple) -> None:
    camera = Intrinsics(*CAMERA, model, distortion)
    left, right = camera.rays(np.array([[-0.5, camera.cy], [camera.width - 0.5, camera.cy]]))
    assert camera.hfov == pytest.approx(math.acos(float(left @ right)), abs=2e-3)


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


K = [420.0, 0.0, 322.0, 0.0, 425.0, 238.0, 0.0, 0.0, 1.0]
P = [400.0, 0.0, 320.0, 0.0, 0.0, 401.0, 240.0, 0.0, 0.0, 0.0, 1.0, 0.0]
D = [-0.3, 0.1, 0.001, -0.002, 0.0]


def camera_info(d: list[float] = D, model: str = "plumb_bob", **fields: object) -> SimpleNamespace:
    """As sensor_msgs/CameraInfo."""
    none = SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0)
    values = dict(width=640, height=480, k=K, p=P, binning_x=0, binning_y=0, roi=none) | fields
    return SimpleNamespace(d=d, distortion_model=model, **values)


def test_of_a_raw_image_k_and_d_count_and_of_a_rectified_one_p() -> None:
    raw = Intrinsics.from_camera_info(camera_info(), rectified=False)
    assert raw == Intrinsics(*CAMERA, "plumb_bob", tuple(D))
    rectified = Intrinsics.from_camera_info(camera_info(), rectified=True)
    assert rectified == Intrinsics(640, 480, 400.0, 401.0, 320.0, 240.0)


def test_a_rectified_image_without_p_has_the_pinhole_of_k() -> None:
    camera = Intrinsics.from_camera_info(camera_info(p=[0.0] * 12), rectified=True)
    assert camera == Intrinsics(*CAMERA)


@pytest.mark.parametrize("d", [[], [0.0] * 5])
def test_a_distortion_of_zeros_is_none_whatever_it_is_called(d: list[float]) -> None:
    camera = Intrinsics.from_camera_info(camera_info(d, "some_vendor"), rectified=False)
    assert camera == Intrinsics(*CAMERA)


@pytest.mark.parametrize("d", [[], [0.0] * 4])
def test_a_fisheye_without_coefficients_is_still_no_pinhole(d: list[float]) -> None:
    camera = Intrinsics.from_camera_info(camera_info(d, "equidistant"), rectified=False)
    (ray,) = camera.rays(np.array([[K[2] + K[0], K[5]]]))  # one focal length from the middle: one radian
    assert math.atan2(-ray[1], ray[0]) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("rectified", [False, True])
def test_a_part_of_the_sensor_in_fewer_pixels_has_the_rays_of_the_whole(rectified: bool) -> None:
    whole = Intrinsics.from_camera_info(camera_info(), rectified)
    roi = SimpleNamespace(x_offset=100, y_offset=40, width=400, height=300)
    part = Intrinsics.from_camera_info(camera_info(roi=roi, binning_x=2, binning_y=2), rectified)
    assert (part.width, part.height) == (200, 150)
    # A binned pixel has the middle of the four that it was.
    pixels = np.array([[0.0, 0.0], [199.0, 149.0], [31.0, 7.0]])
    np.testing.assert_allclose(part.rays(pixels), whole.rays(2.0 * pixels + 0.5 + [100, 40]), atol=1e-9)


def test_a_part_beyond_the_sensor_is_refused() -> None:
    roi = SimpleNamespace(x_offset=300, y_offset=0, width=400, height=300)
    with pytest.raises(InputError, match="roi of 400 x 300 pixels at 300, 0 is not within 640 x 480"):
        Intrinsics.from_camera_info(camera_info(roi=roi), rectified=False)


def test_a_raw_image_of_an_unknown_distortion_is_refused_and_the_rectified_one_is_not() -> None:
    with pytest.raises(InputError, match=r"thin_prism.*known are none, plumb_bob"):
        Intrinsics.from_camera_info(camera_info(model="thin_prism"), rectified=False)
    assert Intrinsics.from_camera_info(camera_info(model="thin_prism"), rectified=True).fx == 400.0


@pytest.mark.parametrize("rectified", [False, True])
def test_a_camera_that_was_never_calibrated_is_refused(rectified: bool) -> None:
    with pytest.raises(InputError, match="is the camera calibrated"):
        Intrinsics.from_camera_info(camera_info([], "", k=[0.0] * 9, p=[0.0] * 12), rectified)


@pytest.mark.parametrize(
    ("topic", "rectified"),
    [
        ("/camera/image_rect", True),
        ("/camera/color/image_rect_color", True),
        ("/camera/image_rect/compressed", True),
        ("/camera/image_raw", False),
        ("/camera/image_raw/compressed", False),
        ("/rectangle/image", False),
    ],
)
def test_a_topic_is_rectified_if_its_last_name_says_so(topic: str, rectified: bool) -> None:
    assert is_rectified_topic(topic) is rectified


@pytest.mark.parametrize("vfov", [None, math.radians(40)])
def test_a_part_of_an_image_looks_where_those_pixels_looked(vfov: float | None) -> None:
    camera = Intrinsics(*CAMERA, "plumb_bob", LENSES[1][1])
    rows, columns = np.mgrid[:240, :320]
    image = np.stack([columns // 2, rows // 2, rows * 0], axis=-1).astype(np.uint8)  # at half the resolution
    part, narrow = crop(image, camera, math.radians(50), vfov)
    assert part.shape[:2] == (narrow.height, narrow.width)
    assert 2 * narrow.fx * math.tan(math.radians(25)) == pytest.approx(narrow.width, abs=2)
    if vfov is None:
        assert narrow.height / narrow.width == pytest.approx(0.75, abs=0.02)
    else:
        assert 2 * narrow.fy * math.tan(vfov / 2) == pytest.approx(narrow.height, abs=2)
    x, y = (320 - narrow.width) // 2, (240 - narrow.height) // 2
    np.testing.assert_array_equal(part, image[y : y + narrow.height, x : x + narrow.width])
    pixels = np.array([[0.0, 0.0], [30.0, 20.0]])
    np.testing.assert_allclose(
        narrow.rays(pixels), camera.scaled_to(320, 240).rays(pixels + [x, y]), atol=1e-9
    )


def test_a_part_wider_than_the_image_is_the_image() -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    camera = Intrinsics.from_hfov(64, 48, math.radians(60))
    part, same = crop(image, camera, math.radians(100))
    np.testing.assert_array_equal(part, image)
    assert same == camera
