"""Which camera took a photo: EXIF data as phones and cameras write it, and what it does not say."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from PIL import Image
from PIL.ExifTags import IFD, Base

from kinaema_ros.camera import Intrinsics
from kinaema_ros.images import decode_compressed
from kinaema_ros.photos import exif_long_side, photo_camera

ROBOT = Intrinsics.from_hfov(160, 120, math.radians(90))
UPRIGHT = 6  # EXIF's orientation of a phone that was held upright: turn by 90 degrees to the right


def photo(width: int, height: int, kind: str = "JPEG", orientation: int = 1, **tags: object) -> bytes:
    """An image file, red in its left half, with these EXIF tags."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] = 255
    exif, stream = Image.Exif(), io.BytesIO()
    exif[Base.Orientation] = orientation
    exif.get_ifd(IFD.Exif).update({Base[name]: value for name, value in tags.items()})
    Image.fromarray(pixels).save(stream, kind, exif=exif)
    return stream.getvalue()


def degrees(file: bytes) -> float | None:
    long_side = exif_long_side(file)
    return None if long_side is None else math.degrees(long_side)


@pytest.mark.parametrize(
    ("width", "height", "film", "half_side"),
    [
        (300, 200, 28, 18.0),  # of 3 : 2, as the film itself
        (200, 300, 28, 18.0),
        (400, 300, 26, 0.8 * 21.6333),  # a phone's: the diagonal counts
        (300, 400, 26, 0.8 * 21.6333),
        (320, 180, 26, 0.87157 * 21.6333),
        (300, 300, 26, 0.70711 * 21.6333),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_focal_length_of_film_is_one_of_the_diagonal(kind, width, height, film, half_side) -> None:
    file = photo(width, height, kind, FocalLengthIn35mmFilm=film)
    assert degrees(file) == pytest.approx(2 * math.degrees(math.atan(half_side / film)), abs=0.01)


@pytest.mark.parametrize(("unit", "millimetres"), [(2, 25.4), (3, 10.0), (4, 1.0), (None, 25.4)])
@pytest.mark.parametrize("turned", [False, True])
def test_a_focal_length_counts_where_the_sensor_s_size_is_known(unit, millimetres, turned) -> None:
    sensor = 6.4  # mm of the longer side, of 4000 pixels in the camera; the photo was scaled down since
    density = 4000 / sensor * millimetres
    tags = {"FocalPlaneXResolution": density, "FocalPlaneYResolution": density, "FocalLength": 4.5}
    sides = (3000, 4000) if turned else (4000, 3000)
    tags |= {"ExifImageWidth": sides[0], "ExifImageHeight": sides[1]}
    if unit is not None:
        tags["FocalPlaneResolutionUnit"] = unit
    file = photo(300 if turned else 400, 400 if turned else 300, **tags)
    assert degrees(file) == pytest.approx(2 * math.degrees(math.atan(3.2 / 4.5)), abs=0.01)


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"\xff\xd8 this is no jpeg",
        photo(40, 30),
        photo(40, 30, FocalLength=4.5),  # of a sensor of unknown size
        photo(40, 30, FocalLengthIn35mmFilm=0),  # unknown, says EXIF
        photo(40, 30, FocalLengthIn35mmFilm=1),  # 170 degrees
        photo(40, 30, FocalLengthIn35mmFilm=500),  # 4 degrees
        photo(40, 30, FocalLengthIn35mmFilm="wide"),
        photo(40, 30, FocalLength=0.0, FocalPlaneXResolution=1.0, FocalPlaneYResolution=0.0),
        photo(40, 30, FocalLengthIn35mmFilm=26)[:40] + b"\xff" * 40,
    ],
)
def test_exif_data_that_says_no_field_of_view_of_a_photo_counts_for_none(file: bytes) -> None:
    assert exif_long_side(file) is None


def across(camera: Intrinsics | None) -> float | None:
    return None if camera is None else math.degrees(camera.hfov)


def test_what_is_asked_counts_before_exif_before_what_is_usual_before_the_robot_s_camera() -> None:
    file, bare = photo(160, 120, FocalLengthIn35mmFilm=26), photo(160, 120)
    asked, usual = math.radians(60), math.radians(80)
    assert across(photo_camera(file, 160, 120, ROBOT, asked, usual)) == pytest.approx(60)
    assert across(photo_camera(file, 160, 120, ROBOT, 0.0, usual)) == pytest.approx(67.30, abs=0.01)
    assert across(photo_camera(bare, 160, 120, ROBOT, 0.0, usual)) == pytest.approx(80)
    assert photo_camera(bare, 160, 120, ROBOT, 0.0, 0.0) is None
    narrow = 2 * math.degrees(math.atan(0.75))  # an upright photo of a camera like the robot's
    assert across(photo_camera(b"", 120, 160, ROBOT, 0.0, 0.0)) == pytest.approx(narrow)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_phone_s_upright_photo_is_turned_and_narrow(kind: str) -> None:
    file = photo(160, 120, kind, UPRIGHT, FocalLengthIn35mmFilm=26)
    rgb = decode_compressed("", file)
    assert rgb.shape == (160, 120, 3)
    assert rgb[:70, :, 0].min() > 200 > 50 > rgb[90:, :, 0].max()  # its left half is above
    camera = photo_camera(file, 120, 160, ROBOT, 0.0, 0.0)
    assert camera is not None
    assert (camera.width, camera.height) == (120, 160)
    assert across(camera) == pytest.approx(2 * math.degrees(math.atan(0.6 * 21.6333 / 26)), abs=0.01)
