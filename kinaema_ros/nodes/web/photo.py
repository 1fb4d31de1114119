"""A photo as a phone sends it, made small and harmless: upright, no larger than the memory can use, no metadata."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

from PIL import Image, ImageOps

from kinaema_ros.camera import MAX_HFOV_DEG, MIN_HFOV_DEG
from kinaema_ros.errors import InputError
from kinaema_ros.photos import exif_long_side

MAX_PIXELS = 64_000_000  # of a phone; the decoder takes 4 bytes for each
LONG_SIDE = 1280  # pixels that are kept
_FORMATS = ("JPEG", "PNG", "WEBP")
Image.init()  # else Pillow knows no WebP, where the formats are named


@dataclass(frozen=True)
class Photo:
    """What is kept of a photo, and sent to the robot."""

    jpeg: bytes
    width: int
    height: int
    hfov_deg: float  # across the longer side; 0: not known, the memory's own rule counts
    hfov_source: str  # "asked", "exif", or "" where it is not known


def read_photo(data: bytes, hfov_deg: float = 0.0) -> Photo:
    """The photo in a file; hfov_deg: across its longer side, 0 for what its EXIF data says.

    Raises InputError for what is no photo, whatever it is called, and for an impossible field of view.
    """
    if not (hfov_deg == 0.0 or MIN_HFOV_DEG <= hfov_deg <= MAX_HFOV_DEG):  # NaN too
        raise InputError(
            f"hfov_deg is {hfov_deg:g}; it must be 0 or between {MIN_HFOV_DEG:g} and {MAX_HFOV_DEG:g}"
        )
    image = _decoded(data)
    in_exif = exif_long_side(data)
    source = "asked" if hfov_deg else "exif" if in_exif else ""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=92)
    asked = hfov_deg or math.degrees(in_exif or 0.0)
    return Photo(buffer.getvalue(), image.width, image.height, asked, source)


def _decoded(data: bytes) -> Image.Image:
    """Upright RGB pixels, the longer side at most LONG_SIDE of them."""
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as file:
            if file.width * file.height > MAX_PIXELS:
                raise InputError(
                    f"the photo has {file.width} x {file.height} pixels; at most {MAX_PIXELS // 10**6} megapixels are "
                    "taken"
                )
            file.draft("RGB", (LONG_SIDE, LONG_SIDE))  # a large JPEG is decoded at a part of its size
            image = ImageOps.exif_transpose(file).convert("RGB")
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise InputError("the photo claims more pixels than any camera has") from error
    except Exception as error:  # Pillow's readers raise what they come across
        raise InputError(
            "this is no photo that can be read, or not all of it arrived; send a JPEG, PNG or WebP"
        ) from error
    image.thumbnail((LONG_SIDE, LONG_SIDE))
    return image
