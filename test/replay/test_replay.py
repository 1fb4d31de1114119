"""From a recorded drive to numbers: frames of reference, what is counted, and what is said of bad tables."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
import pytest
from bag_support import (
    compressed,
    drive_poses,
    image,
    ns,
    odometry,
    picture,
    pose_stamped,
    recording,
    write_drive,
    write_queries,
)
from PIL import Image
from PIL.ExifTags import IFD, Base

from kinaema_ros import geometry
from kinaema_ros.camera import Intrinsics, Mount
from kinaema_ros.estimate import Alternative, Estimate, as_pose
from kinaema_ros.keyframes import KeyframeConfig
from kinaema_ros.model.mount_check import MountError
from kinaema_ros.replay.bag import open_recording
from kinaema_ros.replay.maps import find_map, read_map
from kinaema_ros.replay.plots import write_plots
from kinaema_ros.replay.queries import read_queries
from kinaema_ros.replay.replay import Cut, ReplayOptions, evaluate, remember_and_ask
from kinaema_ros.replay.topics import BagError

EVERY_FRAME = KeyframeConfig(0, 0, 0)
CAMERA = Intrinsics(160, 120, 80.0, 80.0, 79.5, 59.5)  # that of bag_support


class PhotoAlbum:
    """A memory with SpatialMemory's interface that recognises only a picture it holds."""

    state_bytes = 123
    localized = True
    mount_error = None

    def __init__(self):
        self.frames, self.poses, self.asked = [], [], []
        self.camera, self.mount = None, None

    def set_camera(self, camera, mount=None):
        self.camera, self.mount = camera, mount

    def update(self, rgb, odom_pose):
        self.frames.append(rgb)
        self.poses.append(np.array(odom_pose))

    def check_mount(self):
        pass

    def locate(self, rgb, camera=None):
        self.asked.append((rgb, camera))
        found = [i for i, frame in enumerate(self.frames) if np.array_equal(frame, rgb)]
        odom_T_query = self.poses[found[0] if found else 0]
        updated_T_query = geometry.between(self.poses[-1], odom_T_query)
        return Estimate(
            pose=as_pose(updated_T_query),
            odom_pose=as_pose(odom_T_query),
            covariance=np.diag([0.04, 0.01, 0.02]),
            seen=1.0 if found else 0.0,
            confidence=0.9 if found else 0.0,
        )


class LostAlbum(PhotoAlbum):
    """One of an earlier drive, that knows where the robot is after so many updates."""

    def __init__(self, after):
        super().__init__()
        self.after = after

    @property
    def localized(self):
        return len(self.frames) >= self.after


@pytest.fixture
def drive_folder(tmp_path):
    """A drive of 12 frames in which the odometry's frame is not the map's, with queries."""
    write_drive(tmp_path / "bag", frames=12, map_T_odom=(4.0, 3.0, 1.0))
    write_queries(tmp_path, 12, wanted=[0, 3, 7, 11], unseen=[100, 101])
    return tmp_path


def replay(folder, memory, odom_topic=None, **options):
    queries = read_queries(folder / "queries.csv")
    with open_recording(folder / "bag", odom_topic=odom_topic) as drive:
        options = ReplayOptions(**{"keyframes": EVERY_FRAME, **options})
        outcome = remember_and_ask(drive, queries, memory, options)
        return outcome, evaluate(drive, queries, outcome)


def test_a_perfect_memory_has_no_error_in_any_frame_of_odometry(drive_folder):
    _, result = replay(drive_folder, PhotoAlbum())
    summary = result["summary"]
    assert summary["median_position_m"] == pytest.approx(0.0, abs=1e-6)
    assert summary["median_yaw_deg"] == pytest.approx(0.0, abs=1e-6)
    for key in ("acc_0.25m_5deg", "acc_0.5m_10deg", "acc_1m_20deg", "acc_2m_30deg", "seen_auroc"):
        assert summary[key] == 1.0, key
    assert (summary["accepted_seen"], summary["accepted_unseen"]) == (1.0, 0.0)
    assert (summary["confident_share"], summary["confident_right"]) == (1.0, 1.0)
    assert summary["seen_ece"] == 0.0
    assert summary["inside_90_ellipse"] == 1.0
    assert (summary["frames"], summary["frames_used"], summary["frames_skipped"]) == (12, 12, 0)
    assert (summary["queries"], summary["queries_seen"], summary["state_bytes"]) == (6, 4, 123)


def test_answers_are_in_the_robot_s_frame_at_the_last_frame_though_it_was_no_keyframe(drive_folder):
    true = drive_poses(12)
    # Of steps of 0.25 m, keyframes 0.6 m apart are every third frame: 0, 3, 6, 9; the last frame is 11.
    outcome, result = replay(drive_folder, PhotoAlbum(), keyframes=KeyframeConfig(0.6, 3.0, 0))
    assert (outcome.used, outcome.skipped, outcome.last_stamp_ns) == (4, 8, ns(11))
    first, third = result["queries"][0], result["queries"][1]
    for record, index in ((first, 0), (third, 3)):
        expected = geometry.between(true[11], true[index])
        np.testing.assert_allclose([record["x"], record["y"], record["yaw"]], expected, atol=1e-6)
        np.testing.assert_allclose(
            [record["true_x"], record["true_y"], record["true_yaw"]], expected, atol=1e-6
        )
        assert record["error_m"] == pytest.approx(0.0, abs=1e-6)
    turned = true[9, 2] - true[11, 2]  # the estimate's axes were those of frame 9
    expected = geometry.rotate_covariance(np.diag([0.04, 0.01, 0.02]), turned)
    np.testing.assert_allclose(first["covariance"], expected, atol=1e-9)


def test_unseen_queries_have_no_error_and_do_not_count(drive_folder):
    _, result = replay(drive_folder, PhotoAlbum())
    seen, unseen = result["queries"][:4], result["queries"][4:]
    assert (
        {q["error_m"] for q in unseen}
        == {q["error_deg"] for q in unseen}
        == {q["true_x"] for q in unseen}
        == {None}
    )
    assert [q["true_seen"] for q in seen + unseen] == [True] * 4 + [False] * 2
    contract = {"file", "x", "y", "yaw", "seen", "confidence", "error_m", "error_deg"}
    assert all(set(record) >= contract for record in result["queries"])


def test_errors_are_those_of_the_prediction(drive_folder):
    class Biased(PhotoAlbum):
        """One metre ahead of and 90 degrees left of where the photo was taken."""

        def locate(self, rgb, camera=None):
            estimate = super().locate(rgb, camera)
            wrong = (1.0, 0.0, math.pi / 2)
            return dataclasses.replace(
                estimate,
                pose=as_pose(geometry.compose(estimate.pose, wrong)),
                odom_pose=as_pose(geometry.compose(estimate.odom_pose, wrong)),
            )

    _, result = replay(drive_folder, Biased())
    for record in result["queries"][:4]:
        assert record["error_m"] == pytest.approx(1.0)
        assert record["error_deg"] == pytest.approx(90.0)
    summary = result["summary"]
    assert (summary["acc_2m_30deg"], summary["inside_90_ellipse"]) == (0.0, 0.0)
    assert (summary["confident_share"], summary["confident_right"]) == (1.0, 0.0)


def test_alternatives_are_in_the_robot_s_frame_at_the_last_frame_too(drive_folder):
    class Undecided(PhotoAlbum):
        """Every place looks like the drive's second one, too."""

        def locate(self, rgb, camera=None):
            other = Alternative(
                as_pose(geometry.between(self.poses[-1], self.poses[1])), np.diag([0.04, 0.01, 0.02]), 0.25
            )
            return dataclasses.replace(super().locate(rgb, camera), confidence=0.4, alternatives=(other,))

    true = drive_poses(12)
    _, result = replay(
        drive_folder, Undecided(), keyframes=KeyframeConfig(0.2, 3.0, 0.4)
    )  # frames 0, 3, 6, 9
    covariance = geometry.rotate_covariance(np.diag([0.04, 0.01, 0.02]), true[9, 2] - true[11, 2])
    for record in result["queries"]:
        (other,) = record["alternatives"]
        expected = geometry.between(true[11], true[3])
        np.testing.assert_allclose([other["x"], other["y"], other["yaw"]], expected, atol=1e-6)
        np.testing.assert_allclose(other["covariance"], covariance, atol=1e-6)
        assert (other["confidence"], record["confidence"]) == (0.25, 0.4)
    summary = result["summary"]
    assert (summary["accepted_seen"], summary["confident_share"]) == (0.0, 0.0)
    assert summary["confident_right"] is None


def test_a_query_of_another_aspect_shows_as_much_across_its_longer_side_as_the_camera(drive_folder):
    photos = drive_folder / "queries"
    upright, wide = sorted(photos.iterdir())[:2]
    cv2.imwrite(str(upright), picture(1, height=160, width=120))
    cv2.imwrite(str(wide), picture(1, height=90, width=160))
    memory = PhotoAlbum()
    replay(drive_folder, memory)  # its camera sees 90 degrees across
    asked = cameras_of_photos(drive_folder, memory)
    assert asked.pop(upright.name).hfov == pytest.approx(2 * math.atan(0.75))
    assert asked.pop(wide.name).hfov == pytest.approx(math.pi / 2)
    assert set(asked.values()) == {None}


def cameras_of_photos(folder, memory):
    """By the photos' names; None for the robot's."""
    files = [query.file for query in read_queries(folder / "queries.csv")]
    return dict(zip(files, [camera for _, camera in memory.asked], strict=True))


def test_without_camera_info_the_given_field_of_view_is_the_robot_s_camera(tmp_path):
    with recording(tmp_path / "bag") as recorder:
        for i, here in enumerate(drive_poses(3)):
            recorder.write("/odom", odometry(ns(i / 2), here), ns(i / 2))
            recorder.write("/image", image(ns(i / 2), picture(i)), ns(i / 2))
    write_queries(tmp_path, 3, wanted=[0, 1])
    cv2.imwrite(str(tmp_path / "queries" / "1.png"), picture(1, height=160, width=120))
    memory = PhotoAlbum()
    replay(tmp_path, memory, hfov=math.radians(70))
    assert memory.camera == Intrinsics.from_hfov(160, 120, math.radians(70))
    asked = cameras_of_photos(tmp_path, memory)
    assert asked["0.png"] is None
    assert asked["1.png"].hfov == pytest.approx(2 * math.atan(math.tan(math.radians(35)) * 0.75))


def test_photos_by_another_camera_have_their_own_field_of_view_in_the_table_or_one_for_all(drive_folder):
    rows = (drive_folder / "queries.csv").read_text().splitlines()
    widths = {"0.png": "69", "3.png": "0", "7.png": ""}
    table = [rows[0] + ",hfov_deg", *(f"{row},{widths.get(row.split(',')[0], '')}" for row in rows[1:])]
    (drive_folder / "queries.csv").write_text("\n".join(table) + "\n")
    memory = PhotoAlbum()
    replay(drive_folder, memory)
    asked = cameras_of_photos(drive_folder, memory)
    assert asked.pop("0.png") == Intrinsics.from_hfov(160, 120, math.radians(69))
    assert set(asked.values()) == {None}
    memory = PhotoAlbum()
    replay(drive_folder, memory, query_hfov=math.radians(50))
    asked = cameras_of_photos(drive_folder, memory)
    assert asked.pop("0.png").hfov == pytest.approx(math.radians(69))
    assert all(camera.hfov == pytest.approx(math.radians(50)) for camera in asked.values())


def test_the_exif_data_of_a_photo_counts_where_the_table_has_no_hfov_deg(drive_folder):
    rows = (drive_folder / "queries.csv").read_text().splitlines()
    table = [rows[0] + ",hfov_deg", rows[1], rows[2] + ",60", *rows[3:]]
    (drive_folder / "queries.csv").write_text("\n".join(table).replace(".png", ".jpg") + "\n")
    exif = Image.Exif()
    exif.get_ifd(IFD.Exif)[Base.FocalLengthIn35mmFilm] = 26
    for path in list((drive_folder / "queries").iterdir()):
        photo = Image.open(path)
        photo.save(path.with_suffix(".jpg"), **({"exif": exif} if path.name in ("0.png", "3.png") else {}))
    memory = PhotoAlbum()
    replay(drive_folder, memory, query_hfov=math.radians(50))
    asked = cameras_of_photos(drive_folder, memory)
    assert math.degrees(asked.pop("0.jpg").hfov) == pytest.approx(67.3, abs=0.1)
    assert math.degrees(asked.pop("3.jpg").hfov) == pytest.approx(60)
    assert all(math.degrees(camera.hfov) == pytest.approx(50) for camera in asked.values())


def test_cut_pictures_are_the_middle_of_frames_and_photos_and_their_camera_is_the_narrower_one(drive_folder):
    for cut, down in ((Cut(math.radians(69)), 82), (Cut(math.radians(69), math.radians(42)), 62)):
        memory = PhotoAlbum()
        _, result = replay(drive_folder, memory, cut=cut)
        # 80 tan(69 / 2) = 55 pixels to either side of the middle, 80 tan(42 / 2) = 31 up and down.
        whole = picture(0)
        np.testing.assert_array_equal(
            memory.frames[0], whole[60 - down // 2 : 60 + down // 2, 80 - 55 : 80 + 55]
        )
        assert (memory.camera.width, memory.camera.height) == (110, down)
        assert math.degrees(memory.camera.hfov) == pytest.approx(69, abs=0.5)
        middle = (memory.camera.cx - 54.5, memory.camera.cy - (down - 1) / 2)
        assert middle == pytest.approx((0, 0), abs=0.01)
        assert [camera for _, camera in memory.asked] == [None] * 6
        assert result["summary"]["acc_0.25m_5deg"] == 1.0  # the photos are the frames, cut alike


def test_photos_alone_can_be_cut_and_those_by_another_camera_are_never(drive_folder):
    rows = (drive_folder / "queries.csv").read_text().splitlines()
    table = [rows[0] + ",hfov_deg", rows[1] + ",60", *(row + "," for row in rows[2:])]
    (drive_folder / "queries.csv").write_text("\n".join(table) + "\n")
    memory = PhotoAlbum()
    replay(drive_folder, memory, cut_queries=Cut(math.radians(69)))
    assert memory.camera == CAMERA
    assert memory.frames[0].shape == (120, 160, 3)
    (phone, own), *rest = memory.asked
    assert phone.shape == (120, 160, 3)
    assert own.hfov == pytest.approx(math.radians(60))
    for photo, camera in rest:
        assert photo.shape == (82, 110, 3)
        assert (camera.width, camera.height, camera.fx) == (110, 82, 80.0)


def test_a_replay_can_stop_before_the_drive_ends(drive_folder):
    memory = PhotoAlbum()
    outcome, result = replay(drive_folder, memory, stop_after=4.0)
    assert (outcome.used, outcome.last_stamp_ns, len(memory.frames)) == (5, ns(4), 5)
    here = geometry.between(drive_poses(12)[4], drive_poses(12)[3])
    np.testing.assert_allclose([result["queries"][1][key] for key in ("x", "y", "yaw")], here, atol=1e-6)
    assert result["summary"]["confident_share"] == 0.5  # of the four, two were passed later


def test_where_the_camera_is_on_the_robot_is_told_to_the_memory(drive_folder):
    memory = PhotoAlbum()
    replay(drive_folder, memory)
    assert memory.mount is None
    replay(drive_folder, memory, mount=Mount(x=0.2, pitch=0.3))
    assert memory.mount == Mount(x=0.2, pitch=0.3)


def test_how_far_the_camera_looks_beside_its_mount_is_in_the_result(drive_folder):
    memory = PhotoAlbum()
    assert replay(drive_folder, memory)[1]["summary"]["mount_yaw_error_deg"] is None
    memory.mount_error = MountError(yaw=np.radians(-2.5), std=0.002, stretches=30)
    assert replay(drive_folder, memory)[1]["summary"]["mount_yaw_error_deg"] == pytest.approx(-2.5)


def test_the_ground_truth_can_be_the_odometry(drive_folder):
    _, result = replay(drive_folder, PhotoAlbum(), odom_topic="/ground_truth/pose")
    assert result["summary"]["odom_topic"] == "/ground_truth/pose"
    assert result["summary"]["median_position_m"] == pytest.approx(0.0, abs=1e-6)


def test_drifting_odometry_costs_what_it_drifted(tmp_path):
    true = drive_poses(5)
    with recording(tmp_path / "bag") as recorder:
        for i, here in enumerate(true):
            drift = (0.0, 0.0, 0.1 * i)
            recorder.write("/odom", odometry(ns(0.5 * i), geometry.compose(here, drift)), ns(0.5 * i))
            recorder.write("/ground_truth/pose", pose_stamped(ns(0.5 * i), here), ns(0.5 * i))
            recorder.write("/image", image(ns(0.5 * i), picture(i)), ns(0.5 * i))
    write_queries(tmp_path, 5, wanted=[0, 4])
    _, result = replay(tmp_path, PhotoAlbum())
    assert result["queries"][0]["error_deg"] == pytest.approx(math.degrees(0.4))
    assert result["queries"][1]["error_deg"] == pytest.approx(0.0, abs=1e-6)


def test_without_ground_truth_there_are_answers_but_no_errors(tmp_path):
    with recording(tmp_path / "bag") as recorder:
        for i, here in enumerate(drive_poses(4)):
            recorder.write("/odom", odometry(ns(i / 2), here), ns(i / 2))
            recorder.write("/image/compressed", compressed(ns(i / 2), picture(i)), ns(i / 2))
    write_queries(tmp_path, 4, wanted=[1, 2])
    outcome, result = replay(tmp_path, PhotoAlbum())
    assert len(outcome.answers) == 2
    assert result["summary"]["acc_1m_20deg"] is None
    assert result["summary"]["seen_auroc"] is None
    assert result["queries"][0]["error_m"] is None


def test_pictures_that_cannot_be_decoded_are_counted_and_the_others_used(tmp_path):
    with recording(tmp_path / "bag") as recorder:
        for i in range(4):
            recorder.write("/odom", odometry(ns(i / 2), (i, 0, 0)), ns(i / 2))
            message = compressed(ns(i / 2), picture(i))
            message.data = message.data[:20] if i % 2 else message.data
            recorder.write("/image/compressed", message, ns(i / 2))
    write_queries(tmp_path, 4, wanted=[0])
    outcome, result = replay(tmp_path, PhotoAlbum())
    assert outcome.used == 2
    assert result["summary"]["frames_dropped"] == 2


def test_a_drive_of_which_no_picture_can_be_used_is_refused(tmp_path):
    with recording(tmp_path / "bag") as recorder:
        recorder.write("/odom", odometry(ns(0), (0, 0, 0)), ns(0))
        recorder.write("/image", image(ns(0), picture(0), encoding="64FC1"), ns(0))
        recorder.write("/image", image(ns(9), picture(0)), ns(9))
    write_queries(tmp_path, 4, wanted=[0])
    with pytest.raises(
        BagError, match=r"no image of /image can be used.*no odometry.*'64FC1' is not supported"
    ):
        replay(tmp_path, PhotoAlbum())


def test_the_camera_of_the_bag_is_told_to_the_memory(drive_folder):
    memory = PhotoAlbum()
    replay(drive_folder, memory)
    assert memory.camera == CAMERA


# -- pictures ----------------------------------------------------------------------------------------------


def write_map(folder):
    pixels = np.full((40, 60), 254, np.uint8)
    pixels[:4] = 0
    (folder / "map.pgm").write_bytes(b"P5\n60 40\n255\n" + pixels.tobytes())
    (folder / "map.yaml").write_text(
        "image: map.pgm\nresolution: 0.1\norigin: [-1.0, -2.0, 0.0]\nnegate: 0\n"
    )
    return folder / "map.yaml"


def test_plots_are_written_for_what_the_result_has(drive_folder, tmp_path):
    queries = read_queries(drive_folder / "queries.csv")
    with open_recording(drive_folder / "bag") as drive:
        outcome = remember_and_ask(drive, queries, PhotoAlbum(), ReplayOptions(EVERY_FRAME))
        result = evaluate(drive, queries, outcome)
        grid = read_map(write_map(tmp_path))
        paths = write_plots(tmp_path, drive, outcome, result, grid)
        assert {p.name for p in paths} == {"map.png", "errors.png", "calibration.png", "seen.png"}
        assert all(p.read_bytes().startswith(b"\x89PNG") for p in paths)
        drive.truth = None
        bare = evaluate(drive, queries, outcome)
        bare["summary"]["seen_auroc"] = None
        (tmp_path / "bare").mkdir()
        assert [p.name for p in write_plots(tmp_path / "bare", drive, outcome, bare, None)] == ["map.png"]


def test_a_map_beside_the_bag_is_found_and_read(drive_folder):
    assert find_map(drive_folder / "bag") is None
    path = write_map(drive_folder)
    assert find_map(drive_folder / "bag") == path
    grid = read_map(path)
    assert (grid.resolution, grid.origin, grid.image.shape) == (0.1, (-1.0, -2.0, 0.0), (40, 60))
    path.write_text(path.read_text().replace("negate: 0", "negate: 1"))
    np.testing.assert_array_equal(read_map(path).image, 255 - grid.image)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image: [", "not a map of map_server"),
        ("resolution: 0.1\norigin: [0, 0, 0]\n", "not a map of map_server"),
        ("image: map.pgm\nresolution: 0.0\norigin: [0, 0, 0]\n", "resolution must be positive"),
        ("image: map.yaml\nresolution: 0.1\norigin: [0, 0, 0]\n", "is not an image"),
    ],
)
def test_a_map_that_is_none_is_refused(tmp_path, text, message):
    write_map(tmp_path)
    (tmp_path / "map.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_map(tmp_path / "map.yaml")


# -- tables of queries -------------------------------------------------------------------------------------


def test_queries_are_read_with_pose_and_label(drive_folder):
    queries = read_queries(drive_folder / "queries.csv")
    assert [q.file for q in queries] == ["0.png", "3.png", "7.png", "11.png", "100.png", "101.png"]
    assert [q.seen for q in queries] == [True] * 4 + [False] * 2
    np.testing.assert_allclose(queries[1].pose, drive_poses(12)[3], atol=1e-8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,x,y\n0.png,1,2\n", "lacks the columns yaw, seen"),
        ("", "lacks the columns"),
        ("file,x,y,yaw,seen\n", "has no queries"),
        ("file,x,y,yaw,seen\n0.png,1,2,3,perhaps\n", "line 2: seen must be true or false, not 'perhaps'"),
        ("file,x,y,yaw,seen\n0.png,1,2,3,true\n0.png,1,east,3,true\n", "line 3: y is not a number: 'east'"),
        ("file,x,y,yaw,seen\n0.png,1,nan,3,true\n", "line 2: y must be finite"),
        ("file,x,y,yaw,seen\n0.png,1,,3,true\n", "line 2: y is not a number"),
        ("file,x,y,yaw,seen\n,1,2,3,true\n", "line 2: no file"),
        ("file,x,y,yaw,seen\n0.png,1,2,3,true\ngone.png,1,2,3,true\n", "1 of the 2 images.*gone.png"),
        ('file,x,y,yaw,seen\n"0.png,1,2,3,true\n', "not a CSV table"),
        (
            "file,x,y,yaw,seen,hfov_deg\n0.png,1,2,3,true,69\n0.png,1,2,3,true,wide\n",
            "line 3: hfov_deg must be between 20 and 150 degrees, or empty .*, not 'wide'",
        ),
        ("file,x,y,yaw,seen\n0.png,1,2,90,true\n", "line 2: yaw 90 must be in radians, not degrees"),
        ("file,x,y,yaw,seen,hfov_deg\n0.png,1,2,3,true,1.2\n", "line 2: hfov_deg .*, not '1.2'"),
        ("file,x,y,yaw,seen,hfov_deg\n0.png,1,2,3,true,170\n", "line 2: hfov_deg .*, not '170'"),
        ("file,x,y,yaw,seen,hfov_deg\n0.png,1,2,3,true,nan\n", "line 2: hfov_deg .*, not 'nan'"),
        ("file,x,y,yaw,seen,hfov_deg\n0.png,1,2,3,true,-60\n", "line 2: hfov_deg .*, not '-60'"),
    ],
)
def test_a_bad_table_is_refused_with_the_line(drive_folder, text, message):
    (drive_folder / "queries.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_queries(drive_folder / "queries.csv")


@pytest.mark.parametrize(
    "text",
    [
        "\ufefffile,x,y,yaw,seen\n100.png,1.5,-2.5,0.25,true\n",
        "file;x;y;yaw;seen\n100.png;1,5;-2,5;0,25;true\n",
        "\ufefffile;x;y;yaw;seen;hfov_deg\r\n100.png;1,5;-2,5;0,25;TRUE;69,5\r\n",
        "file, x, y, yaw, seen\n100.png, 1.5, -2.5, 0.25, true\n",
        "file\tx\ty\tyaw\tseen\n100.png\t1.5\t-2.5\t0.25\t1\n",
    ],
)
def test_a_table_as_spreadsheets_write_it_is_read(drive_folder, text: str):
    (drive_folder / "queries.csv").write_text(text, encoding="utf-8")
    (query,) = read_queries(drive_folder / "queries.csv")
    assert (query.file, query.seen) == ("100.png", True)
    np.testing.assert_allclose(query.pose, [1.5, -2.5, 0.25])
    assert query.hfov_deg == (69.5 if "69" in text else 0.0)


def test_a_table_that_is_no_text_is_refused(drive_folder):
    (drive_folder / "queries.csv").write_bytes(b"\xff\xfe\x00\x80" * 9)
    with pytest.raises(ValueError, match="not a CSV table"):
        read_queries(drive_folder / "queries.csv")


def test_unseen_queries_need_no_pose(drive_folder):
    (drive_folder / "queries.csv").write_text("file,x,y,yaw,seen\n100.png,,,,false\n")
    (query,) = read_queries(drive_folder / "queries.csv")
    assert not query.seen


def test_when_and_how_well_an_earlier_memory_is_localized_is_told(drive_folder):
    result = replay(drive_folder, LostAlbum(after=12))[1]
    summary = result["summary"]
    assert summary["localized_after_s"] == pytest.approx(11.0)  # a frame a second
    assert summary["localized_after_m"] == pytest.approx(11 * 0.25, rel=1e-3)
    assert summary["localization_error_m"] == pytest.approx(0.0, abs=1e-6)
    assert summary["localization_error_deg"] == pytest.approx(0.0, abs=1e-4)
    assert summary["acc_0.5m_10deg"] == 1.0


def test_a_memory_that_is_never_localized_answers_nothing(drive_folder):
    result = replay(drive_folder, LostAlbum(after=1000))[1]
    summary = result["summary"]
    assert summary["localized_after_s"] is None
    assert summary["localization_error_m"] is None
    assert (summary["accepted_seen"], summary["confident_share"]) == (0.0, 0.0)
    assert all(query["seen"] == 0.0 for query in result["queries"])
    for name in ("x", "y", "yaw", "covariance", "error_m", "error_deg"):
        assert all(query[name] is None for query in result["queries"])
    for name in ("median_position_m", "acc_0.5m_10deg", "inside_90_ellipse"):
        assert summary[name] is None


def test_a_memory_that_began_empty_was_never_lost(drive_folder):
    summary = replay(drive_folder, PhotoAlbum())[1]["summary"]
    assert summary["localized_after_s"] is None
    assert summary["acc_0.5m_10deg"] == 1.0
