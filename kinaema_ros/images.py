"""Conversion of ROS images to RGB arrays with numpy and OpenCV, for bags and files too: no ROS in here.

Encodings are those of sensor_msgs/image_encodings.hpp. The functions take the fields of a message, not the
message, so that they serve messages of rclpy and of rosbags.
"""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kinaema_ros.errors import InputError

RGB = NDArray[np.uint8]  # (H, W, 3)
# A few bytes may claim any size: what is larger than this is refused before anything is decoded.
MAX_PIXELS = 100_000_000
MAX_BYTES = 100_000_000
MIN_SIDE = 32  # pixels of an image that the memory can use

# encoding: (bytes per channel, channels, OpenCV conversion to RGB or None where it is RGB already).
# Untyped OpenCV encodings (8UC3 ...) carry no channel order; BGR is what cv_bridge makes of them.
_PACKED: dict[str, tuple[int, int, int | None]] = {
    "rgb8": (1, 3, None),
    "bgr8": (1, 3, cv2.COLOR_BGR2RGB),
    "rgba8": (1, 4, cv2.COLOR_RGBA2RGB),
    "bgra8": (1, 4, cv2.COLOR_BGRA2RGB),
    "mono8": (1, 1, cv2.COLOR_GRAY2RGB),
    "rgb16": (2, 3, None),
    "bgr16": (2, 3, cv2.COLOR_BGR2RGB),
    "rgba16": (2, 4, cv2.COLOR_RGBA2RGB),
    "bgra16": (2, 4, cv2.COLOR_BGRA2RGB),
    "mono16": (2, 1, cv2.COLOR_GRAY2RGB),
    "8UC1": (1, 1, cv2.COLOR_GRAY2RGB),
    "8UC3": (1, 3, cv2.COLOR_BGR2RGB),
    "8UC4": (1, 4, cv2.COLOR_BGRA2RGB),
    "bayer_rggb8": (1, 1, cv2.COLOR_BayerRGGB2RGB),
    "bayer_bggr8": (1, 1, cv2.COLOR_BayerBGGR2RGB),
    "bayer_gbrg8": (1, 1, cv2.COLOR_BayerGBRG2RGB),
    "bayer_grbg8": (1, 1, cv2.COLOR_BayerGRBG2RGB),
    "bayer_rggb16": (2, 1, cv2.COLOR_BayerRGGB2RGB),
    "bayer_bggr16": (2, 1, cv2.COLOR_BayerBGGR2RGB),
    "bayer_gbrg16": (2, 1, cv2.COLOR_BayerGBRG2RGB),
    "bayer_grbg16": (2, 1, cv2.COLOR_BayerGRBG2RGB),
    "yuv422": (1, 2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": (1, 2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": (1, 2, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": (1, 2, cv2.COLOR_YUV2RGB_YUY2),
}
ENCODINGS = (*_PACKED, "nv21")
DEPTH = ("16UC1", "32FC1")  # REP 118
SENSOR_BITS = (8, 10, 12, 14, 16)  # that come in two bytes


def bytes_per_pixel(encoding: str) -> int:
    """Bytes a pixel takes in a row of one of ENCODINGS."""
    size, channels, _ = _PACKED.get(encoding, (1, 1, None))  # nv21: its rows are of luma
    return size * channels


def decode_image(
    encoding: str, height: int, width: int, step: int, is_bigendian: bool, data: bytes | NDArray[np.uint8]
) -> RGB:
    """The pixels of a sensor_msgs/Image as RGB, uint8, shape (height, width, 3).

    Of two bytes a channel as many bits are scaled to 8 as the sensor uses: 10, 12 and 14 are as common as 16. Raises
    InputError where the fields contradict each other or the encoding is none that a camera image has.
    """
    check_encoding(encoding)
    if height <= 0 or width <= 0:
        raise InputError(f"the image has no pixels: {width}x{height}")
    if encoding == "nv21":
        return _decode_nv21(height, width, step, data)
    size, channels, conversion = _PACKED[encoding]
    if channels == 2 and width % 2:
        raise InputError(f"encoding {encoding} needs an even width, not {width}")
    rows = _rows(encoding, height, width * size * channels, step, data)
    if size == 2:
        wide = np.ascontiguousarray(rows).view(">u2" if is_bigendian else "<u2")
        rows = to_bytes(wide.reshape(height, width, channels))
    pixels = np.ascontiguousarray(rows.reshape(height, width, channels))
    return pixels if conversion is None else cv2.cvtColor(pixels, conversion).astype(np.uint8, copy=False)


def check_encoding(encoding: str) -> None:
    """Raises InputError where images of this encoding are no pictures that can be read."""
    if encoding.startswith(DEPTH):
        raise InputError(
            f"encoding {encoding[:40]} holds distances, not a picture; use the topic of the colour or infrared image"
        )
    if encoding not in ENCODINGS:
        raise InputError(
            f"image encoding {encoding[:40]!r} is not supported; supported: {', '.join(ENCODINGS)}"
        )


def to_bytes(wide: NDArray[np.uint16]) -> RGB:
    """(H, W, C) in as few bits as hold the colours' largest value, scaled to 8."""
    largest = int(wide[..., :3].max())
    full = next(2**bits - 1 for bits in SENSOR_BITS if largest < 2**bits)
    return ((wide.astype(np.uint32) * 255 + full // 2) // full).clip(0, 255).astype(np.uint8)


def decode_compressed(image_format: str, data: bytes | NDArray[np.uint8]) -> RGB:
    """The pixels of a sensor_msgs/CompressedImage (JPEG, PNG, what OpenCV reads) as RGB, uint8, (H, W, 3).

    Raises InputError for depth images (format "... compressedDepth"), video packets and broken data.
    """
    if "compressedDepth" in image_format or image_format.startswith(DEPTH):
        raise InputError(
            "the compressed image holds distances, not a picture; use the topic of the colour or infrared image"
        )
    buffer = np.frombuffer(data, dtype=np.uint8)
    _check_header(image_format, buffer)
    try:
        bgr = cv2.imdecode(buffer, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error as error:
        raise _undecodable(image_format) from error
    if bgr is None or bgr.dtype not in (np.uint8, np.uint16):
        raise _undecodable(image_format)
    if bgr.dtype == np.uint16:
        bgr = to_bytes(bgr.astype(np.uint16, copy=False))
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def _undecodable(image_format: str) -> InputError:
    return InputError(f"data of format {image_format[:40]!r} cannot be decoded as an image")


def _check_header(image_format: str, buffer: NDArray[np.uint8]) -> None:
    """Raises InputError where the header of a compressed image claims more than anyone needs, or is none."""
    if buffer.size > MAX_BYTES:
        raise InputError(f"the image has {buffer.size / 1e6:.0f} MB; at most {MAX_BYTES / 1e6:.0f} are taken")
    try:
        with Image.open(io.BytesIO(buffer.tobytes())) as header:
            width, height = header.size
    except Image.DecompressionBombError:
        width = height = MAX_PIXELS
    except Exception as error:  # Pillow's readers raise what they come across: SyntaxError, struct.error, ...
        raise _undecodable(image_format) from error
    if width * height > MAX_PIXELS:
        raise InputError(f"the image claims more than {MAX_PIXELS // 10**6} megapixels; scale it down")


def read_image(path: str | Path) -> RGB:
    """An image file as RGB, uint8, (H, W, 3), turned upright where its EXIF data says how.

    Raises OSError if it cannot be read, InputError if it is not an image.
    """
    data = Path(path).read_bytes()
    try:
        return decode_compressed(Path(path).suffix, data)
    except InputError as error:
        raise InputError(f"{path} is not an image that can be used: {error}") from None


def _rows(encoding: str, rows: int, row_bytes: int, step: int, data: bytes | NDArray[np.uint8]) -> RGB:
    """The (rows, row_bytes) bytes of an image without its rows' padding."""
    if step < row_bytes:
        raise InputError(f"step {step} is shorter than a row of {encoding}, {row_bytes} bytes")
    buffer = np.frombuffer(data, dtype=np.uint8)
    if buffer.size < step * rows:
        raise InputError(f"{buffer.size} bytes of data where step * rows = {step * rows}")
    return buffer[: step * rows].reshape(rows, step)[:, :row_bytes]


def _decode_nv21(height: int, width: int, step: int, data: bytes | NDArray[np.uint8]) -> RGB:
    if height % 2 or width % 2:
        raise InputError(f"encoding nv21 needs even sides, not {width}x{height}")
    planes = _rows("nv21", height * 3 // 2, width, step, data)  # luma, then half as many rows of V and U
    return cv2.cvtColor(np.ascontiguousarray(planes), cv2.COLOR_YUV2RGB_NV21).astype(np.uint8, copy=False)


def checked_image(rgb: RGB) -> RGB:
    """The image if the memory can use it. Raises InputError."""
    rgb = np.asarray(rgb)
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise InputError(f"image of shape {rgb.shape} and type {rgb.dtype}: it must be (H, W, 3) uint8 RGB")
    if min(rgb.shape[:2]) < MIN_SIDE:
        raise InputError(
            f"image of {rgb.shape[1]} x {rgb.shape[0]} pixels: it must be at least {MIN_SIDE} x {MIN_SIDE}"
        )
    return rgb
