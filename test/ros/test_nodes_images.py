"""Image messages as drivers and cv_bridge make them, to RGB."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
from cv_bridge import CvBridge
from ros_support import frame
from sensor_msgs.msg import Image

from kinaema_ros import images
from kinaema_ros.nodes.support import bridge, messages

BRIDGE = CvBridge()
RAINBOW = cv2.GaussianBlur(frame(7), (0, 0), 6)


def bayer(rgb: np.ndarray) -> Image:
    mosaic = np.empty(rgb.shape[:2], np.uint8)
    for row, column, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        mosaic[row::2, column::2] = rgb[row::2, column::2, channel]
    return BRIDGE.cv2_to_imgmsg(mosaic, "bayer_rggb8")


def yuyv(rgb: np.ndarray) -> Image:
    """Video range of ITU-R BT.601; every second column gives U, the others V."""
    matrix = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]])
    y, u, v = np.moveaxis(rgb / 255.0 @ matrix.T + [16.0, 128.0, 128.0], -1, 0)
    packed = np.stack([y, np.where(np.arange(rgb.shape[1]) % 2, v, u)], axis=-1).round()
    message = Image(height=rgb.shape[0], width=rgb.shape[1], encoding="yuv422_yuy2", step=2 * rgb.shape[1])
    message.data = packed.astype(np.uint8).tobytes()
    return message


def padded_big_endian_grey(rgb: np.ndarray) -> Image:
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(">u2") * 257
    rows = np.zeros((grey.shape[0], grey.shape[1] + 5), ">u2")
    rows[:, :-5] = grey
    message = Image(height=grey.shape[0], width=grey.shape[1], encoding="mono16", is_bigendian=1)
    message.step, message.data = 2 * rows.shape[1], rows.tobytes()
    return message


ENCODED = {
    "bgr8": lambda rgb: BRIDGE.cv2_to_imgmsg(rgb[..., ::-1].copy(), "bgr8"),
    "rgba8": lambda rgb: BRIDGE.cv2_to_imgmsg(cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA), "rgba8"),
    "bgra8": lambda rgb: BRIDGE.cv2_to_imgmsg(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA), "bgra8"),
    "mono8": lambda rgb: BRIDGE.cv2_to_imgmsg(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), "mono8"),
    "bayer": bayer,
    "yuyv": yuyv,
    "mono16": padded_big_endian_grey,
    "png": lambda rgb: BRIDGE.cv2_to_compressed_imgmsg(rgb[..., ::-1], "png"),
    "jpeg": lambda rgb: BRIDGE.cv2_to_compressed_imgmsg(rgb[..., ::-1], "jpg"),
}


@pytest.mark.parametrize("encoding", ENCODED)
def test_every_encoding_shows_the_same_picture(encoding: str) -> None:
    shown = messages.image_to_rgb(ENCODED[encoding](RAINBOW)).astype(float)
    expected = RAINBOW.astype(float)
    if encoding.startswith("mono"):
        expected = cv2.cvtColor(cv2.cvtColor(RAINBOW, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB).astype(float)
    exact = encoding in ("bgr8", "rgba8", "bgra8", "mono8", "mono16", "png")
    assert np.abs(shown - expected).mean() < (0.5 if exact else 6.0)


def noise(encoding: str, big_endian: int, padding: int = 0) -> Image:
    step = 8 * images.bytes_per_pixel(encoding) + padding
    message = Image(height=6, width=8, encoding=encoding, is_bigendian=big_endian, step=step)
    rows = 9 if encoding == "nv21" else 6
    message.data = np.random.default_rng(0).integers(0, 256, rows * step, dtype=np.uint8).tobytes()
    return message


def ours(message: Image) -> np.ndarray:
    return images.decode_image(
        message.encoding,
        6,
        8,
        message.step,
        bool(message.is_bigendian),
        np.frombuffer(message.data, np.uint8),
    )


def test_cv_bridge_and_our_decoder_agree_on_every_encoding_that_both_have() -> None:
    compared = []
    for encoding, big_endian in itertools.product(images.ENCODINGS, (0, 1)):
        if bridge.can(BRIDGE, encoding, big_endian):
            message = noise(encoding, big_endian)
            np.testing.assert_array_equal(bridge.convert(BRIDGE, message), ours(message), encoding)
            compared.append(encoding)
    assert {"rgb8", "bgr8", "rgba8", "bgra8", "mono8"} <= set(compared)
    if bridge.ros_bridge() is not None:  # the wheels' has fewer
        assert {"mono16", "rgb16", "yuv422", "bayer_rggb8", "bayer_grbg8"} <= set(compared)


def test_the_bridge_of_ros_is_asked_first_and_ours_where_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Counting(CvBridge):
        def imgmsg_to_cv2(self, message: Image, encoding: str) -> np.ndarray:
            if (message.width, message.height) == (8, 6):
                asked.append(message.encoding)
            return super().imgmsg_to_cv2(message, encoding)

    counting = Counting()
    monkeypatch.setattr(bridge, "ros_bridge", lambda: counting)
    for message in (noise("bgr8", 0), noise("nv21", 0), noise("rgb8", 0, padding=4)):
        np.testing.assert_array_equal(messages.image_to_rgb(message), ours(message))
    assert asked == ["bgr8"], "cv_bridge has no nv21, and shifts rows that are no whole number of pixels"


def test_a_cv_bridge_that_cannot_be_loaded_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> None:
        raise ImportError("numpy.core.multiarray failed to import")

    monkeypatch.setattr(bridge.importlib, "import_module", fail)
    assert bridge.ros_bridge.__wrapped__() is None
