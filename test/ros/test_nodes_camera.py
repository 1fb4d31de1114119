"""Which camera memory_node takes images and photos to be from, part by part: no node runs here."""

from __future__ import annotations

import io
import math
from unittest.mock import Mock

import PIL.Image
import pytest
from memory_node_support import a_memory, inputs_of, log_of
from PIL.ExifTags import IFD, Base
from ros_support import frame, image_msg
from sensor_msgs.msg import CameraInfo, CompressedImage

from kinaema_interfaces.srv import QueryPose
from kinaema_ros.camera import Intrinsics, Mount
from kinaema_ros.errors import BadInput
from kinaema_ros.nodes.memory.inputs import MemoryInputs
from kinaema_ros.nodes.memory.locating import locate
from kinaema_ros.nodes.memory.parameters import MemoryParameters

LENS = (-0.25, 0.0625, 0.0, 0.0, 0.0)
K = [80.0, 0.0, 79.5, 0.0, 80.0, 59.5, 0.0, 0.0, 1.0]
P = [95.0, 0.0, 80.0, 0.0, 0.0, 95.0, 60.0, 0.0, 0.0, 0.0, 1.0, 0.0]
RAW = Intrinsics(160, 120, 80.0, 80.0, 79.5, 59.5, "plumb_bob", LENS)
RECTIFIED = Intrinsics(160, 120, 95.0, 95.0, 80.0, 60.0)


def info(model: str = "plumb_bob", lens: tuple[float, ...] = LENS) -> CameraInfo:
    return CameraInfo(width=160, height=120, k=K, p=P, distortion_model=model, d=list(lens))


def listening(topic: str = "/camera/image_raw", **parameters: object) -> MemoryInputs:
    """Inputs whose image is remapped to this topic."""
    inputs = inputs_of(a_memory(), parameters=MemoryParameters(**parameters))  # type: ignore[arg-type]
    inputs._node.resolve_topic_name = {"image": topic}.get
    return inputs


@pytest.mark.parametrize(
    ("topic", "said", "camera"),
    [
        ("/camera/image_raw", "auto", RAW),
        ("/camera/image_rect", "auto", RECTIFIED),
        ("/camera/image_rect_color", "auto", RECTIFIED),
        ("/camera/image_raw", "always", RECTIFIED),
        ("/camera/image_rect", "never", RAW),
    ],
)
def test_raw_images_have_the_lens_of_camera_info_and_rectified_ones_have_none(topic, said, camera) -> None:
    inputs = listening(topic, image_is_rectified=said)
    inputs.camera.on_camera_info(info())
    assert inputs.camera.at(160, 120) == (camera, "camera_info")
    inputs._remember(image_msg(frame(1), 99.5))
    assert inputs.memory.set_camera.call_args.args == (camera, Mount())


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (info("fov", (0.9,)), "'fov' is not known; known are none, plumb_bob, rational_polynomial, equidist"),
        (info("plumb_bob", (0.1, 0.2)), "distortion of plumb_bob must be 4 or 5 finite coefficients"),
        (CameraInfo(width=160, height=120), "is the camera calibrated?"),
    ],
)
def test_a_camera_info_that_cannot_be_used_leaves_the_parameter_and_says_so(message, words) -> None:
    inputs = listening(hfov_deg=75.0)
    inputs.camera.on_camera_info(message)
    assert inputs.camera.at(160, 120) == (Intrinsics.from_hfov(160, 120, math.radians(75)), "parameter")
    (line,) = log_of(inputs)
    assert line.startswith("camera_info_uncalibrated: ")
    assert words in line
    assert "so the parameter hfov_deg is; set it" in line
    inputs._remember(image_msg(frame(1), 99.5))
    assert any("no usable camera_info" in line and "75.0 degrees" in line for line in log_of(inputs))


def test_after_a_camera_info_that_can_be_used_another_one_changes_nothing_and_the_message_says_so() -> None:
    inputs = listening()
    inputs.camera.on_camera_info(info())
    inputs.camera.on_camera_info(CameraInfo(width=160, height=120))
    assert inputs.camera.at(160, 120) == (RAW, "camera_info")
    (line,) = log_of(inputs)
    assert line.endswith("is the camera calibrated?), the one before stays in use")


def test_an_image_of_another_aspect_than_camera_info_s_is_left_out_and_says_why() -> None:
    inputs = listening()
    inputs.camera.on_camera_info(info())
    inputs._remember(image_msg(frame(1, 90, 160), 99.5))
    assert inputs.memory.update.call_count == 0
    assert any(line.startswith("camera_info_aspect: ") and "160 x 90" in line for line in log_of(inputs))


def test_a_camera_that_sees_45_to_120_degrees_is_taken_without_a_word() -> None:
    for degrees, told in ((45.0, False), (120.0, False), (30.0, True), (140.0, True)):
        inputs = listening(hfov_deg=degrees)
        inputs._remember(image_msg(frame(1), 99.5))
        assert any(line.startswith("camera_field_of_view: ") for line in log_of(inputs)) == told, degrees
        assert inputs._monitor.tally.used == 1


# -- photos --------------------------------------------------------------------------------------------------


def asked(inputs: MemoryInputs, height: int = 120, width: int = 160, hfov_deg: float = 0.0) -> float | None:
    """Field of view in degrees that the memory is told for a photo of this size; None: the robot's camera."""
    locate(inputs, QueryPose.Request(image=image_msg(frame(1, height, width)), hfov_deg=hfov_deg))
    camera = inputs.memory.locate.call_args.kwargs["camera"]
    return None if camera is None else math.degrees(camera.hfov)


def upright(degrees: float) -> float:
    """Across the shorter side of an upright photo of 3 : 4."""
    return math.degrees(2 * math.atan(0.75 * math.tan(math.radians(degrees) / 2)))


def test_the_field_of_view_of_a_photo_is_its_request_s_then_the_parameter_s_then_the_robot_s() -> None:
    inputs = listening()
    inputs._remember(image_msg(frame(1), 99.5))  # by a camera that sees 90 degrees across
    assert asked(inputs) is None
    assert asked(inputs, 240, 320) is None
    assert asked(inputs, 192, 144) == pytest.approx(upright(90))
    assert asked(inputs, hfov_deg=69.0) == pytest.approx(69)
    assert asked(inputs, 192, 144, hfov_deg=69.0) == pytest.approx(upright(69))
    inputs.parameters = MemoryParameters(query_hfov_deg=50.0)
    assert asked(inputs) == pytest.approx(50)
    assert asked(inputs, hfov_deg=69.0) == pytest.approx(69)


def test_the_exif_data_of_a_photo_counts_before_the_parameter_and_after_the_request() -> None:
    inputs, exif, stream = listening(query_hfov_deg=50.0), PIL.Image.Exif(), io.BytesIO()
    exif.get_ifd(IFD.Exif)[Base.FocalLengthIn35mmFilm] = 26
    PIL.Image.fromarray(frame(1)).save(stream, "JPEG", exif=exif)
    for asked_deg, told in ((0.0, 67.3), (69.0, 69.0)):
        photo = CompressedImage(format="jpeg", data=stream.getvalue())
        locate(inputs, QueryPose.Request(compressed_image=photo, hfov_deg=asked_deg))
        camera = inputs.memory.locate.call_args.kwargs["camera"]
        assert math.degrees(camera.hfov) == pytest.approx(told, abs=0.1)


@pytest.mark.parametrize("hfov_deg", [math.nan, math.inf, -60.0, 1.2, 19.0, 151.0])
def test_a_field_of_view_that_no_photo_has_is_refused(hfov_deg: float) -> None:
    with pytest.raises(BadInput, match="it must be 0 or between 20 and 150") as refused:
        asked(listening(), hfov_deg=hfov_deg)
    assert refused.value.reason == "query_hfov"


@pytest.mark.parametrize("with_info", [False, True])
def test_a_loaded_memory_knows_camera_and_mount_before_the_first_image(with_info: bool) -> None:
    mount = Mount(x=0.25, z=0.5, pitch=0.125)
    inputs = listening(hfov_deg=75.0, camera=mount)
    inputs.memory.load("a memory")
    if with_info:
        inputs.camera.on_camera_info(info())
        assert asked(inputs, 192, 144) == pytest.approx(upright(math.degrees(RAW.hfov)))
    assert asked(inputs) is None
    camera = RAW if with_info else Intrinsics.from_hfov(160, 120, math.radians(75))
    assert inputs.memory.set_camera.call_args.args == (camera, mount)
    inputs._remember(image_msg(frame(1), 99.5))
    told = inputs.memory.set_camera.call_count
    asked(inputs)
    assert inputs.memory.set_camera.call_count == told


def test_until_an_image_or_camera_info_comes_photos_are_of_the_camera_that_a_loaded_memory_was_made_with() -> (
    None
):
    inputs, path = listening(), Mock()
    inputs.memory.camera, inputs.memory.load.return_value = RAW, None
    inputs.replace(path, localize=False)
    assert inputs.known_camera(inputs.memory, 640, 480) == RAW
    assert not inputs.memory.set_camera.called  # nor its mount changed
    inputs.camera.on_camera_info(info("plumb_bob", LENS[:4] + (0.5,)))
    assert inputs.known_camera(inputs.memory, 640, 480).distortion[-1] == 0.5
