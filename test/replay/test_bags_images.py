"""Every encoding of a camera becomes the same RGB picture."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest

from kinaema_ros import images
from kinaema_ros.errors import InputError

HEIGHT, WIDTH = 24, 32
# Smooth, so that chroma at half the resolution and a Bayer mosaic lose little.
rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
PICTURE = np.stack([40 + 6 * columns, 200 - 5 * rows, 60 + 3 * rows + 2 * columns], axis=-1).astype(np.uint8)
GREY = cv2.cvtColor(PICTURE, cv2.COLOR_RGB2GRAY)
ALPHA = np.full((HEIGHT, WIDTH, 1), 77, np.uint8)


def mosaic(pattern: str) -> np.ndarray:
    """What a sensor with this pattern of colour filters (2x2, row by row) records of PICTURE."""
    channels = np.array(["rgb".index(colour) for colour in pattern]).reshape(2, 2)
    tiled = np.tile(channels, (HEIGHT // 2, WIDTH // 2))
    return np.take_along_axis(PICTURE, tiled[..., None], axis=-1)[..., 0]


def yuv(order: str) -> np.ndarray:
    """PICTURE in 4:2:2, BT.601 in studio range; order "uyvy" or "yuyv"; (H, W, 2)."""
    r, g, b = (PICTURE[..., i].astype(float) for i in range(3))
    y = 16 + 0.257 * r + 0.504 * g + 0.098 * b
    u = (128 - 0.148 * r - 0.291 * g + 0.439 * b).reshape(HEIGHT, -1, 2).mean(-1)
    v = (128 + 0.439 * r - 0.368 * g - 0.071 * b).reshape(HEIGHT, -1, 2).mean(-1)
    chroma = np.stack([u, v], axis=-1).reshape(HEIGHT, WIDTH)
    pair = [chroma, y] if order == "uyvy" else [y, chroma]
    return np.stack(pair, axis=-1).round().astype(np.uint8)


def nv21() -> np.ndarray:
    """PICTURE with a plane of luma and one of V, U at half the resolution; (3 H / 2, W)."""
    packed = yuv("yuyv").astype(float)
    u, v = (packed[:, i::2, 1].reshape(HEIGHT // 2, 2, -1).mean(1) for i in (0, 1))
    chroma = np.stack([v, u], axis=-1).reshape(HEIGHT // 2, WIDTH)
    return np.concatenate([packed[..., 0], chroma]).round().astype(np.uint8)


def wide(array: np.ndarray, byteorder: str = "<") -> np.ndarray:
    """8 bits as 16, of the same brightness after rounding, and another one with the bytes swapped."""
    return (array.astype(np.uint16) * 257 + 60).astype(f"{byteorder}u2")


BGR = PICTURE[..., ::-1]
GREY_RGB = np.repeat(GREY[..., None], 3, axis=-1)
EXACT = {
    "rgb8": (PICTURE, PICTURE),
    "bgr8": (BGR, PICTURE),
    "8UC3": (BGR, PICTURE),
    "rgba8": (np.concatenate([PICTURE, ALPHA], -1), PICTURE),
    "bgra8": (np.concatenate([BGR, ALPHA], -1), PICTURE),
    "8UC4": (np.concatenate([BGR, ALPHA], -1), PICTURE),
    "rgb16": (wide(PICTURE), PICTURE),
    "bgr16": (wide(BGR), PICTURE),
    "rgba16": (wide(np.concatenate([PICTURE, ALPHA], -1)), PICTURE),
    "bgra16": (wide(np.concatenate([BGR, ALPHA], -1)), PICTURE),
    "mono8": (GREY, GREY_RGB),
    "8UC1": (GREY, GREY_RGB),
    "mono16": (wide(GREY), GREY_RGB),
}
LOSSY = {
    **{f"bayer_{p}8": mosaic(p) for p in ("rggb", "bggr", "gbrg", "grbg")},
    **{f"bayer_{p}16": wide(mosaic(p)) for p in ("rggb", "bggr", "gbrg", "grbg")},
    "yuv422": yuv("uyvy"),
    "uyvy": yuv("uyvy"),
    "yuv422_yuy2": yuv("yuyv"),
    "yuyv": yuv("yuyv"),
    "nv21": nv21(),
}


def decode(encoding: str, array: np.ndarray, padding: int = 0, bigendian: bool = False) -> np.ndarray:
    """Decode an array whose rows are padded by so many bytes."""
    lines = np.ascontiguousarray(array).view(np.uint8).reshape(len(array), -1)
    data = np.pad(lines, ((0, 0), (0, padding)), constant_values=255)
    return images.decode_image(encoding, HEIGHT, WIDTH, data.shape[1], bigendian, data.tobytes())


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("encoding", EXACT)
def test_an_encoding_without_loss_gives_the_picture(encoding, padding):
    array, expected = EXACT[encoding]
    np.testing.assert_array_equal(decode(encoding, array, padding), expected)


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("encoding", LOSSY)
def test_a_mosaic_or_subsampled_colour_gives_nearly_the_picture(encoding, padding):
    decoded = decode(encoding, LOSSY[encoding], padding).astype(int)
    inner = np.s_[2:-2, 2:-2]  # what lies at the border has no neighbours to tell its colour
    assert np.abs(decoded - PICTURE)[inner].max() <= 8


def test_every_encoding_that_is_promised_is_tested():
    assert set(images.ENCODINGS) == {*EXACT, *LOSSY}


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("encoding", ["mono16", "rgb16", "rgba16"])
def test_fewer_bits_of_two_bytes_are_as_bright(encoding: str, bits: int):
    picture = {"mono16": GREY[..., None], "rgb16": PICTURE}.get(
        encoding, np.concatenate([PICTURE, ALPHA], -1)
    )
    scaled = (picture.astype(np.uint32) * (2**bits - 1) // 255).astype("<u2")
    assert scaled[..., :3].max() >= 2 ** (bits - 1)
    if encoding == "rgba16":
        scaled[..., 3] = 65535  # of opaque pixels, whatever the sensor's bits
    decoded = decode(encoding, scaled).astype(int)
    assert np.abs(decoded - (GREY_RGB if encoding == "mono16" else PICTURE)).max() <= 1


def test_a_black_image_stays_black():
    assert decode("mono16", np.zeros((HEIGHT, WIDTH), "<u2")).max() == 0


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
def test_distances_are_no_picture(encoding: str):
    with pytest.raises(InputError, match="holds distances, not a picture; use the topic of the colour"):
        images.decode_image(encoding, HEIGHT, WIDTH, 4 * WIDTH, False, bytes(4 * WIDTH * HEIGHT))


def test_an_encodings_name_does_not_fill_the_log():
    with pytest.raises(InputError) as caught:
        images.decode_image("x" * 100_000, HEIGHT, WIDTH, 3 * WIDTH, False, bytes(3 * WIDTH * HEIGHT))
    assert len(str(caught.value)) < 600
    with pytest.raises(InputError) as caught:
        images.decode_compressed("x" * 100_000, b"no image")
    assert len(str(caught.value)) < 200


def test_sixteen_bits_of_the_other_byte_order():
    array, expected = EXACT["rgb16"]
    np.testing.assert_array_equal(decode("rgb16", wide(PICTURE, ">"), bigendian=True), expected)
    assert not np.array_equal(decode("rgb16", array, bigendian=True), expected)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (("rgb8", 0, 32, 96, False, b""), "no pixels"),
        (("rgb8", 24, 32, 90, False, bytes(24 * 96)), "step 90 is shorter"),
        (("rgb8", 24, 32, 96, False, bytes(24 * 96 - 1)), "2303 bytes of data where step"),
        (("64FC1", 24, 32, 256, False, bytes(24 * 256)), "'64FC1' is not supported; supported: rgb8"),
        (("yuv422", 24, 31, 62, False, bytes(24 * 62)), "even width"),
        (("nv21", 23, 32, 32, False, bytes(40 * 32)), "even sides"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        images.decode_image(*fields)


@pytest.mark.parametrize(("suffix", "tolerance"), [("png", 0), ("jpg", 12), ("bmp", 0)])
def test_compressed_images_are_decoded_to_rgb(suffix, tolerance):
    data = cv2.imencode(f".{suffix}", BGR)[1].tobytes()
    decoded = images.decode_compressed(suffix, data).astype(int)
    assert np.abs(decoded - PICTURE).max() <= tolerance


def test_compressed_grey_of_sixteen_bits():
    data = cv2.imencode(".png", wide(GREY))[1].tobytes()
    decoded = images.decode_compressed("mono16; png compressed", data).astype(int)
    assert np.abs(decoded - GREY_RGB).max() <= 1  # libpng has its own way to round to 8 bits


@pytest.mark.parametrize(
    ("image_format", "data"), [("jpeg", b""), ("jpeg", b"\xff\xd8 no"), ("h264", bytes(99))]
)
def test_what_cannot_be_decoded_is_refused(image_format, data):
    with pytest.raises(ValueError, match="cannot be decoded"):
        images.decode_compressed(image_format, data)


def bomb(kind: str, side: int) -> bytes:
    """A few bytes that claim side x side pixels."""
    if kind == "png":
        header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
            for name, body in chunks
        )
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 70, 0, 0, 54, 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize("kind", ["png", "bmp"])
@pytest.mark.parametrize("side", [10_001, 60_000])
def test_a_size_that_only_the_header_claims_is_refused(kind: str, side: int):
    with pytest.raises(InputError, match="100 megapixels; scale it down"):
        images.decode_compressed(kind, bomb(kind, side))


def test_more_bytes_than_any_photo_has_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(images, "MAX_BYTES", 1000)
    with pytest.raises(InputError, match="at most"):
        images.decode_compressed("png", bytes(1001))


@pytest.mark.filterwarnings("ignore")  # of what Pillow and OpenCV skip
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".gif", ".tiff", ".webp"])
def test_broken_files_are_refused_and_break_nothing(suffix: str):
    encoded, file = cv2.imencode(suffix, cv2.cvtColor(PICTURE, cv2.COLOR_RGB2BGR))
    assert encoded
    whole = file.tobytes()
    assert images.decode_compressed(suffix, whole).shape == PICTURE.shape
    rng = np.random.default_rng(0)
    for _ in range(100):
        broken = np.frombuffer(whole, np.uint8).copy()
        # In the header most of the time: what lies behind it is only pixels.
        reach = min(len(broken), 80) if rng.random() < 0.7 else len(broken)
        where = rng.integers(0, reach, rng.integers(1, 6))
        broken[where] = rng.integers(0, 256, len(where))
        broken = broken[: rng.integers(1, len(broken) + 1)] if rng.random() < 0.3 else broken
        try:
            rgb = images.decode_compressed(suffix, broken.tobytes())
        except InputError:
            continue
        assert rgb.dtype == np.uint8
        assert rgb.shape[2] == 3
        assert rgb.shape[0] * rgb.shape[1] <= images.MAX_PIXELS


def test_depth_is_not_taken_for_a_picture():
    data = cv2.imencode(".png", wide(GREY))[1].tobytes()
    with pytest.raises(ValueError, match="distances"):
        images.decode_compressed("16UC1; compressedDepth png", data)


def test_a_file_that_is_no_image_is_named(tmp_path):
    (tmp_path / "photo.jpg").write_text("no photo")
    with pytest.raises(ValueError, match=r"photo\.jpg is not an image"):
        images.read_image(tmp_path / "photo.jpg")
