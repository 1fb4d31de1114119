"""Which camera took a photo: what is said of it, what its EXIF data says, what is said of all, or the robot's."""

from __future__ import annotations

import io
import math

from PIL import Image
from PIL.ExifTags import IFD, Base

from kinaema_ros.camera import MAX_HFOV_DEG, MIN_HFOV_DEG, Intrinsics, photo_hfov
from kinaema_ros.errors import InputError

_FILM_DIAGONAL = math.hypot(36.0, 24.0)  # mm
_MILLIMETRES = {2: 25.4, 3: 10.0, 4: 1.0, 5: 1e-3}  # of the values of FocalPlaneResolutionUnit


def photo_camera(
    file: bytes, width: int, height: int, robot: Intrinsics, asked: float, usual: float
) -> Intrinsics | None:
    """The camera of a photo of ``width`` x ``height`` pixels as it is seen upright; None: the robot's own took it.

    file: the photo's, empty where the pixels came without one. asked, usual: fields of view across the longer side in
    radians, of this photo and of all photos, 0 where nobody said one. The first that is known counts: asked, EXIF, usual.
    """
    long_side = asked or exif_long_side(file) or usual
    if not long_side:
        if robot.has_aspect(width, height):  # the robot's, at whatever resolution
            return None
        # Another camera's. Assume that it shows as much across its longer side as the robot's across its width.
        long_side = min(robot.hfov, math.radians(MAX_HFOV_DEG))
    hfov = photo_hfov(width, height, long_side)
    try:
        return Intrinsics.from_hfov(width, height, hfov)
    except InputError as error:
        raise InputError(
            f"a photo of {width} x {height} pixels and {math.degrees(long_side):.0f} degrees across the longer side shows "
            f"{math.degrees(hfov):.1f} across its width, too little to know a place by; crop its longer side"
        ) from error


def exif_long_side(file: bytes) -> float | None:
    """Field of view in radians across the longer side of a photo by its EXIF data; None where it says none.

    By the focal length with which film of 36 x 24 mm shows as much along its diagonal (CIPA DCG-001), else by the focal
    length and the size of the sensor.
    """
    try:
        with Image.open(io.BytesIO(file)) as photo:
            longer, diagonal = max(photo.size), math.hypot(*photo.size)
            exif = Image.Exif()
            exif.load(photo.info.get("exif", b""))
        tags = exif.get_ifd(IFD.Exif)
        if film := float(tags.get(Base.FocalLengthIn35mmFilm, 0)):
            tangent = _FILM_DIAGONAL / 2 / film * longer / diagonal
        else:
            tangent = _sensor_side(tags) / 2 / float(tags[Base.FocalLength])
    except Exception:  # whatever Pillow's readers come across in data that anybody wrote
        return None
    long_side = 2 * math.atan(tangent)
    return long_side if MIN_HFOV_DEG <= math.degrees(long_side) <= MAX_HFOV_DEG else None  # NaN is not


def _sensor_side(tags: dict) -> float:
    """Millimetres of the sensor's longer side."""
    across = float(tags[Base.ExifImageWidth]) / float(tags[Base.FocalPlaneXResolution])
    down = float(tags[Base.ExifImageHeight]) / float(tags[Base.FocalPlaneYResolution])
    return max(across, down) * _MILLIMETRES[tags.get(Base.FocalPlaneResolutionUnit, 2)]
