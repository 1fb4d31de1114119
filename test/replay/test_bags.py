"""Recorded drives: what is read, and what is said of a recording that cannot be."""

from __future__ import annotations

import math
import shutil

import numpy as np
import pytest
import yaml
from bag_support import (
    START_NS,
    camera_info,
    compressed,
    drive_poses,
    image,
    make,
    ns,
    odometry,
    picture,
    pose_stamped,
    pose_with_covariance,
    recording,
    static_transforms,
    write_drive,
)
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime

from kinaema_ros import geometry
from kinaema_ros.camera import Intrinsics, optical_quaternion
from kinaema_ros.replay.bag import Track, open_recording
from kinaema_ros.replay.topics import BagError

STORAGES = pytest.mark.parametrize("storage", ["mcap", "sqlite3"])


@pytest.fixture
def bag(tmp_path):
    write_drive(tmp_path / "bag")
    return tmp_path / "bag"


@STORAGES
def test_a_drive_is_read_from_either_storage(tmp_path, storage):
    write_drive(tmp_path / "bag", storage, frames=6, map_T_odom=(4.0, 3.0, 1.0))
    with open_recording(tmp_path / "bag") as drive:
        frames = list(drive.frames())
        assert [f.stamp_ns for f in frames] == [ns(i) for i in range(6)]
        odom = geometry.between((4.0, 3.0, 1.0), drive_poses(6))
        np.testing.assert_allclose([f.odom_pose for f in frames], odom, atol=1e-9)
        np.testing.assert_allclose(drive.truth.at(ns(5)), drive_poses(6)[5], atol=1e-9)
        assert all(np.array_equal(f.rgb(), picture(i)) for i, f in enumerate(frames))
        assert (drive.camera.width, drive.camera.fx, drive.camera.cx) == (160, 80.0, 79.5)
        assert (drive.odom.frame_id, drive.truth.frame_id) == ("odom", "map")


def test_a_single_storage_file_is_a_bag_too(bag):
    with open_recording(next(bag.glob("*.mcap"))) as drive:
        assert len(list(drive.frames())) == 12


def test_frames_can_be_read_twice(bag):
    with open_recording(bag) as drive:
        assert [f.stamp_ns for f in drive.frames()] == [f.stamp_ns for f in drive.frames()]


@pytest.mark.parametrize("message", [pose_stamped, pose_with_covariance, odometry])
def test_every_type_of_pose_can_be_the_odometry(tmp_path, message):
    with recording(tmp_path / "bag") as recorder:
        for second in range(3):
            recorder.write(
                "/pose", message(ns(second), (second, 2.0, math.pi - 0.1 + 0.2 * second)), ns(second)
            )
            recorder.write("/image", image(ns(second + 0.5), picture(second)), ns(second))
    with open_recording(tmp_path / "bag", odom_topic="/pose") as drive:
        first, second = drive.frames()  # the third image has no pose after it
        np.testing.assert_allclose(first.odom_pose, [0.5, 2.0, -math.pi], atol=1e-9)
        np.testing.assert_allclose(second.odom_pose[:2], [1.5, 2.0], atol=1e-9)
        assert drive.dropped == {"no odometry at the image's stamp": 1}
        assert drive.camera is None
        assert drive.truth is None


def test_images_are_paired_by_their_own_stamp_not_by_when_they_were_recorded(tmp_path):
    with recording(tmp_path / "bag") as recorder:
        for second in range(4):
            recorder.write("/odom", odometry(ns(second), (second, 0, 0)), ns(second))
        recorder.write("/image", image(ns(0.25), picture(0)), ns(3))  # a slow camera
    with open_recording(tmp_path / "bag") as drive:
        (frame,) = drive.frames()
        assert frame.odom_pose[0] == pytest.approx(0.25)


def test_a_message_that_was_never_stamped_counts_from_when_it_was_recorded(tmp_path):
    with recording(tmp_path / "bag") as recorder:
        for second in range(2):
            recorder.write("/odom", odometry(0, (second, 0, 0)), ns(second))
        recorder.write("/image", image(0, picture(0)), ns(0.5))
    with open_recording(tmp_path / "bag") as drive:
        (frame,) = drive.frames()
        assert frame.stamp_ns == ns(0.5)
        assert frame.odom_pose[0] == pytest.approx(0.5)


def test_a_recording_of_a_simulation_begins_at_time_zero(tmp_path):
    with recording(tmp_path / "bag") as recorder:
        for step in range(8):
            wall = ns(1_700_000_000 + step)
            recorder.write("/odom", odometry(ns(step), (step, 0, 0)), wall)
            recorder.write("/image", image(ns(step), picture(step)), wall)
    with open_recording(tmp_path / "bag") as opened:
        frames = list(opened.frames())
    assert [frame.stamp_ns for frame in frames] == [ns(step) for step in range(8)]
    assert not opened.dropped


def test_a_bag_of_ros_1_names_what_converts_it(tmp_path):
    (tmp_path / "drive.bag").write_bytes(b"#ROSBAG V2.0")
    message = r"rosbags-convert --src .*drive\.bag --dst .*drive`"
    with pytest.raises(BagError, match=message), open_recording(tmp_path / "drive.bag"):
        pass


def test_images_out_of_order_are_left_out_and_counted(tmp_path):
    with recording(tmp_path / "bag") as recorder:
        for second in range(2):
            recorder.write("/odom", odometry(ns(second), (second, 0, 0)), ns(second))
        for index, stamp in enumerate([0.1, 0.2, 0.15, 0.2, 0.3]):
            recorder.write("/image", image(ns(stamp), picture(index)), ns(0.1 * index))
    with open_recording(tmp_path / "bag") as drive:
        assert [f.stamp_ns for f in drive.frames()] == [ns(0.1), ns(0.2), ns(0.3)]
        assert drive.dropped == {"stamp not after the one before": 2}


def test_poses_that_are_none_are_left_out_and_counted(tmp_path):
    with recording(tmp_path / "bag") as recorder:
        recorder.write("/odom", odometry(ns(0), (1, 0, 0)), ns(0))
        recorder.write("/odom", odometry(ns(0.1), (math.nan, 0, 0)), ns(0.1))
        recorder.write("/odom", odometry(ns(0.2), (math.inf, 0, 0)), ns(0.2))
        recorder.write("/odom", odometry(ns(0.3), (9, 0, 0), scale=0.0), ns(0.3))
        recorder.write("/odom", odometry(ns(0.4), (9, 0, 0), scale=math.nan), ns(0.4))
        recorder.write("/odom", odometry(ns(0.5), (2, 0, 0), scale=1.001), ns(0.5))
        recorder.write("/image", image(ns(0.25), picture(0)), ns(0.25))
    with open_recording(tmp_path / "bag") as drive:
        assert drive.odom.rejected == 4
        (frame,) = drive.frames()
        assert frame.odom_pose == pytest.approx([1.5, 0, 0])


def test_no_valid_pose_at_all_is_refused(tmp_path):
    with recording(tmp_path / "bag") as recorder:
        recorder.write("/odom", odometry(ns(0), (math.nan, 0, 0)), ns(0))
        recorder.write("/image", image(ns(0), picture(0)), ns(0))
    refused = pytest.raises(BagError, match="none of the 1 messages of /odom holds a valid pose")
    with refused, open_recording(tmp_path / "bag"):
        pass


def test_a_track_is_not_interpolated_across_a_hole_nor_beyond_its_ends():
    stamps = np.array([0, 10**9, 10 * 10**9])
    track = Track(stamps, np.array([[0.0, 0, 0], [1, 0, 0], [10, 0, 0]]), "odom")
    assert track.at(5 * 10**8) == pytest.approx([0.5, 0, 0])
    assert track.at(0) == pytest.approx([0, 0, 0])
    assert track.at(10 * 10**9) == pytest.approx([10, 0, 0])
    assert track.at(5 * 10**9) is None
    assert track.at(-1) is None
    assert track.at(10 * 10**9 + 1) is None


def test_frames_have_the_tilt_that_odometry_carries(tmp_path):
    with recording(tmp_path / "bag") as recorder:
        for seconds, pitch in ((0, 0.0), (1, 0.2)):
            message = odometry(ns(seconds), (seconds, 0, 0))
            message.pose.pose.orientation = make(
                "geometry_msgs/msg/Quaternion", x=0.0, y=math.sin(pitch / 2), z=0.0, w=math.cos(pitch / 2)
            )
            recorder.write("/odom", message, ns(seconds))
        recorder.write("/image", image(ns(0.5), picture(0)), ns(0.5))
    with open_recording(tmp_path / "bag") as drive:
        assert [frame.tilt for frame in drive.frames()] == [pytest.approx((0.0, 0.1))]


def test_an_uncalibrated_camera_counts_as_none(tmp_path):
    with recording(tmp_path / "bag") as recorder:
        recorder.write("/odom", odometry(ns(0), (0, 0, 0)), ns(0))
        recorder.write("/image", image(ns(0), picture(0)), ns(0))
        recorder.write("/camera_info", camera_info(ns(0), focal=0.0), ns(0))
    with open_recording(tmp_path / "bag") as drive:
        assert drive.camera is None


LENS = (-0.3, 0.1, 0.001, -0.002, 0.0)


def write_image(folder, info, topic="/camera/image_raw"):
    with recording(folder) as recorder:
        recorder.write("/odom", odometry(ns(0), (0, 0, 0)), ns(0))
        recorder.write(topic, image(ns(0), picture(0)), ns(0))
        recorder.write("/camera/camera_info", info, ns(0))


@pytest.mark.parametrize("topic", ["/camera/image_raw", "/rectified/image", "/camera/image_colour_corrected"])
def test_raw_images_have_the_lens_of_camera_info(tmp_path, topic):
    write_image(tmp_path / "bag", camera_info(ns(0), lens=LENS, rectified_focal=95.0), topic)
    with open_recording(tmp_path / "bag") as drive:
        assert drive.camera == Intrinsics(160, 120, 80.0, 80.0, 79.5, 59.5, "plumb_bob", LENS)


@pytest.mark.parametrize(
    "topic", ["/camera/image_rect", "/camera/image_rect_color", "/infra1/image_rect_raw"]
)
def test_rectified_images_are_a_pinhole_s_as_p_has_it(tmp_path, topic):
    write_image(tmp_path / "bag", camera_info(ns(0), lens=LENS, rectified_focal=95.0), topic)
    with open_recording(tmp_path / "bag") as drive:
        assert drive.camera == Intrinsics(160, 120, 95.0, 95.0, 80.0, 60.0)


def test_a_fisheye_is_read_as_one(tmp_path):
    lens = (0.1, -0.02, 0.003, 0.0004)
    write_image(tmp_path / "bag", camera_info(ns(0), model="equidistant", lens=lens))
    with open_recording(tmp_path / "bag") as drive:
        assert (drive.camera.distortion_model, drive.camera.distortion) == ("equidistant", lens)


@pytest.mark.parametrize(
    "wrong", [{"model": "fov", "lens": (0.9,)}, {"lens": (0.1, 0.2)}, {"lens": (math.nan,) * 5}]
)
def test_a_camera_with_a_lens_that_is_not_known_counts_as_none(tmp_path, wrong):
    write_image(tmp_path / "bag", camera_info(ns(0), **wrong))
    with open_recording(tmp_path / "bag") as drive:
        assert drive.camera is None


# -- where the camera is on the robot ----------------------------------------------------------------------


def write_mounted(folder, *transforms):
    with recording(folder) as recorder:
        recorder.write("/odom", odometry(ns(0), (0, 0, 0)), ns(0))
        recorder.write("/image", image(ns(0), picture(0)), ns(0))
        if transforms:
            recorder.write("/tf_static", static_transforms(*transforms), ns(0))


def test_the_mount_is_read_from_tf_static_over_all_frames_between(tmp_path):
    turned = geometry.quaternion_from_yaw(math.pi / 2)
    write_mounted(
        tmp_path / "bag",
        ("base_link", "mast", (0.2, 0.0, 0.1), turned),
        ("camera_link", "camera_optical_frame", (0.0, 0.0, 0.05), optical_quaternion(0.3, 0.2)),
        ("mast", "camera_link", (0.1, 0.0, 0.8), (0.0, 0.0, 0.0, 1.0)),
        ("base_link", "laser", (9.0, 9.0, 9.0), (0.0, 0.0, 0.0, 1.0)),
    )
    with open_recording(tmp_path / "bag") as drive:
        mount = drive.mount()
    found = (mount.x, mount.y, mount.z, mount.yaw, mount.pitch, mount.roll)
    assert found == pytest.approx((0.2, 0.1, 0.95, math.pi / 2 + 0.3, 0.2, 0.0), abs=1e-9)


@pytest.mark.parametrize(
    ("transforms", "words"),
    [
        ((), ["'camera_optical_frame'", "'base_link'", "it has nothing", "--camera-mount X,Y,Z"]),
        (
            (("gimbal", "camera_optical_frame", (0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0)),),
            ["from the camera's frame 'camera_optical_frame' to 'gimbal', not to the base 'base_link'"],
        ),
        (
            (
                ("left", "camera_optical_frame", (0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0)),
                ("camera_optical_frame", "left", (0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0)),
            ),
            ["not to the base 'base_link'"],
        ),
    ],
)
def test_a_mount_that_tf_static_does_not_tell_is_refused_with_what_it_has(tmp_path, transforms, words):
    write_mounted(tmp_path / "bag", *transforms)
    with open_recording(tmp_path / "bag") as drive, pytest.raises(BagError) as error:
        drive.mount()
    for word in words:
        assert word in str(error.value)


# -- recordings that are broken ----------------------------------------------------------------------------


def opening(path):
    with open_recording(path) as drive:
        list(drive.frames())


def test_a_missing_bag_is_refused(tmp_path):
    with pytest.raises(BagError, match="nowhere does not exist"):
        opening(tmp_path / "nowhere")


def test_a_folder_without_metadata_says_how_to_write_it(bag):
    (bag / "metadata.yaml").unlink()
    with pytest.raises(BagError, match="ros2 bag reindex"):
        opening(bag)


def test_another_kind_of_file_is_refused(tmp_path):
    (tmp_path / "drive.zip").write_bytes(b"#ROSBAG V2.0\n")
    with pytest.raises(BagError, match="not a rosbag2"):
        opening(tmp_path / "drive.zip")


@pytest.mark.parametrize("text", ["", "{", "rosbag2_bagfile_information: 3", "- a\n- b\n"])
def test_broken_metadata_is_refused(bag, text):
    (bag / "metadata.yaml").write_text(text)
    with pytest.raises(BagError, match="broken or was cut off"):
        opening(bag)


def test_a_storage_file_that_is_missing_is_named(bag):
    shutil.move(next(bag.glob("*.mcap")), bag.parent / "elsewhere.mcap")
    with pytest.raises(BagError, match=r"missing.*mcap"):
        opening(bag)


@STORAGES
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.95])
def test_a_truncated_file_is_refused_wherever_it_was_cut(tmp_path, storage, share):
    write_drive(tmp_path / "bag", storage)
    (path,) = [p for p in (tmp_path / "bag").iterdir() if p.suffix in (".mcap", ".db3")]
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(BagError):
        opening(tmp_path / "bag")


@STORAGES
def test_flipped_bytes_never_raise_anything_but_bag_errors(tmp_path, storage):
    write_drive(tmp_path / "bag", storage, frames=4)
    (path,) = [p for p in (tmp_path / "bag").iterdir() if p.suffix in (".mcap", ".db3")]
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(30):
        damaged = bytearray(whole)
        for position in rng.integers(0, len(whole), 40):
            damaged[position] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            opening(tmp_path / "bag")
        except BagError:
            refused += 1
    assert refused > 0


def test_a_topic_whose_messages_are_of_another_type_is_refused(tmp_path):
    with recording(tmp_path / "bag") as recorder:
        recorder.write("/odom", odometry(ns(0), (0, 0, 0)), ns(0))
        connection = recorder.topic("/image", "sensor_msgs/msg/Image")
        recorder._writer.write(connection, START_NS, b"\x00\x01\x00\x00" + b"\xff" * 40)
    with pytest.raises(BagError, match="broken"):
        opening(tmp_path / "bag")


def test_a_broken_picture_is_an_error_of_that_frame_alone(tmp_path):
    with recording(tmp_path / "bag") as recorder:
        recorder.write("/odom", odometry(ns(0), (0, 0, 0)), ns(0))
        recorder.write("/odom", odometry(ns(1), (0, 0, 0)), ns(1))
        message = compressed(ns(0.1), picture(0), "jpg")
        message.data = message.data[:5]
        recorder.write("/image/compressed", message, ns(0.1))
        recorder.write("/image/compressed", compressed(ns(0.2), picture(1)), ns(0.2))
    with open_recording(tmp_path / "bag") as drive:
        broken, good = drive.frames()
        with pytest.raises(ValueError, match="cannot be decoded"):
            broken.rgb()
        assert np.array_equal(good.rgb(), picture(1))


def edit_metadata(bag, **values):
    path = bag / "metadata.yaml"
    content = yaml.safe_load(path.read_text())
    information = content["rosbag2_bagfile_information"]
    for topic in information["topics_with_message_count"]:
        topic["topic_metadata"]["offered_qos_profiles"] = values.get("qos", [])
    information["relative_file_paths"] = values.get("files", information["relative_file_paths"])
    information["version"] = values.get("version", information["version"])
    path.write_text(yaml.safe_dump(content))


@STORAGES
def test_qos_that_was_edited_in_the_metadata_hides_no_message(tmp_path, storage):
    with recording(tmp_path / "bag", storage) as recorder:
        qos = Qos(  # as a recorder writes it; Recorder writes none
            QosHistory.KEEP_LAST, 5, QosReliability.BEST_EFFORT, QosDurability.VOLATILE, QosTime(0, 0), QosTime(0, 0),
            QosLiveliness.AUTOMATIC, QosTime(0, 0), False,
        )  # fmt: skip
        for topic, kind in (("/odom", "nav_msgs/msg/Odometry"), ("/image", "sensor_msgs/msg/Image")):
            recorder.topic(topic, kind, [qos])
        for second in range(3):
            recorder.write("/odom", odometry(ns(second), (0, 0, 0)), ns(second))
            recorder.write("/image", image(ns(second), picture(second)), ns(second))
    for profiles in ([], ""):
        edit_metadata(tmp_path / "bag", qos=profiles)
        with open_recording(tmp_path / "bag") as drive:
            assert len(list(drive.frames())) == 3


def test_a_bag_of_a_newer_ros_is_not_called_broken(bag):
    edit_metadata(bag, version=99)
    with pytest.raises(
        BagError, match=r"cannot be read by rosbags [\d.]+: .* 99 .*pip install --upgrade rosbags"
    ) as told:
        opening(bag)
    assert "broken" not in str(told.value)
    with open_recording(next(bag.glob("*.mcap"))) as drive:  # the remedy
        assert len(list(drive.frames())) == 12


@STORAGES
@pytest.mark.parametrize("name", ["drive #2", "which?one", "50% done", "a%20b"])
def test_a_path_may_have_any_name(tmp_path, storage, name):
    write_drive(tmp_path / "plain", storage, frames=3)  # rosbags cannot write there itself
    bag = (tmp_path / "plain").rename(tmp_path / name)
    (path,) = [p for p in bag.iterdir() if p.suffix in (".mcap", ".db3")]
    path = path.rename(bag / f"{name}{path.suffix}")
    edit_metadata(bag, files=[path.name])
    for given in (bag, path):
        with open_recording(given) as drive:
            assert len(list(drive.frames())) == 3


@pytest.mark.parametrize(
    ("camera", "others"),
    [
        ("/camera/color/image_raw", {"/camera/depth/image_rect_raw": "16UC1", "/camera/infra1/image_rect_raw": "mono8"}),
        ("/oak/rgb/image_raw", {"/oak/stereo/image_raw": "16UC1", "/oak/left/image_raw": "mono8"}),
        ("/depth_camera/image", {"/depth_camera/points_image": "32FC1", "/depth_camera/old": "mono16"}),
    ],
)  # fmt: skip
def test_of_colour_infrared_and_depth_the_colour_is_taken(tmp_path, camera, others):
    with recording(tmp_path / "bag") as recorder:
        for second in range(2):
            recorder.write("/odom", odometry(ns(second), (0, 0, 0)), ns(second))
            recorder.write(camera, image(ns(second), picture(second)), ns(second))
            for topic, encoding in others.items():
                recorder.write(topic, image(ns(second), picture(second), encoding), ns(second))
    with open_recording(tmp_path / "bag") as drive:
        assert drive.image_topic.name == camera
