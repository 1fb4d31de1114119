"""The demo without its nodes: the tour, the photos, the score, the picture and the film."""

from __future__ import annotations

import itertools
import json
import math

import cv2
import numpy as np
import pytest

from kinaema_ros import drawing, metrics
from kinaema_ros.commands.demo import visits_table
from kinaema_ros.demo import film, photos, record, video
from kinaema_ros.demo.picture import write_picture
from kinaema_ros.estimate import Estimate, as_pose
from kinaema_ros.reporting import write_json
from kinaema_ros.sim import explore, generate_scene, plan_path, step_robot, tour

LAG = 3  # steps between a pose and the command that answers it, as over a network
DT = 0.05


def tour_through(world, seconds):
    """Poses (T, 3) at 20 Hz, and the steps in which something stopped the robot."""
    scene = generate_scene(world)
    guide = tour.Tour(scene, np.random.default_rng(world))
    pose = tuple(explore(scene, np.random.default_rng(0), 1)[0])
    poses, collisions, commands = [], 0, [(0.0, 0.0)] * LAG
    for _ in range(round(seconds / DT)):
        commands.append(guide.command(pose, DT))
        pose, collided = step_robot(scene, pose, *commands.pop(0), DT)
        collisions += collided
        poses.append(pose)
    return scene, np.array(poses), collisions


@pytest.fixture(scope="module")
def toured():
    return tour_through(7, record.EXPLORE_SECONDS)


@pytest.fixture(scope="module")
def recorded(toured):
    """Three photos: reached, arrived at the wrong place, refused."""
    scene, poses, _ = toured
    result = record.DemoRecord(scene, 3, began=1.0, explored=11.0, state_bytes=100_000)
    result.track = [(1.0 + DT * k, pose) for k, pose in enumerate(poses[:800])]
    photo = np.full((240, 320, 3), (200, 60, 60), np.uint8)
    covariance = np.diag([0.04, 0.01, 0.01])
    for number, (offset, refused) in enumerate([(0.3, False), (2.0, False), (0.0, True)]):
        started = 12.0 + 8.0 * number
        stopped = result.pose_at(started + 6.0)
        true = stopped + (offset, 0.0, 0.1)
        visit = record.Visit(photo, true, started, started + 6.0, stopped=stopped, arrived=not refused)
        if refused:
            visit.message = "the photo's place is probably not in memory"
        else:
            visit.estimates = [
                (started + 0.5, Estimate(as_pose(true + (0.0, 0.4, -0.2)), covariance, 0.9, 0.7)),
                (started + 3.0, Estimate(as_pose(true), covariance / 4, 0.95, 0.9)),
            ]
        result.visits.append(visit)
    return result


# -- the tour ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("world", [3, 9])
def test_a_tour_drives_through_most_rooms_without_touching_anything(world):
    scene, poses, collisions = tour_through(world, record.EXPLORE_SECONDS)
    visited = {tour.room_of(scene, pose) for pose in poses}
    assert collisions == 0
    assert len(visited) >= 0.7 * min(len(scene.rooms), 10)


def test_a_tour_looks_all_round_in_every_room_where_it_stops(toured):
    scene, poses, _ = toured
    assert len({tour.room_of(scene, pose) for pose in poses}) == len(scene.rooms)
    standing = np.hypot(*np.diff(poses[:, :2], axis=0).T) < 1e-9
    turned = np.abs((np.diff(poses[:, 2]) + math.pi) % (2 * math.pi) - math.pi)
    rooms = np.array([tour.room_of(scene, pose) for pose in poses[:-1]])
    looked = [turned[standing & (rooms == room)].sum() > 1.9 * math.pi for room in range(len(scene.rooms))]
    assert sum(looked) >= 0.7 * len(scene.rooms)


def test_a_tour_goes_on_when_every_stop_was_visited():
    scene, poses, _ = tour_through(4, 400.0)  # a small building
    late = poses[-1200:]
    assert np.ptp(late[:, 0]) > 2.0 or np.ptp(late[:, 1]) > 2.0
    assert len({tour.room_of(scene, pose) for pose in late}) > 1


# -- the photos --------------------------------------------------------------------------------------------


def test_photos_are_far_from_the_robot_apart_and_of_places_it_has_seen(toured):
    scene, poses, _ = toured
    spots = photos.PhotoSpots(scene, poses, np.random.default_rng(1))
    used, robot = [], poses[-1]
    for _ in range(5):
        view = spots.next(robot, used)
        path = plan_path(scene.occupancy(), robot[:2], view[:2], tour.CLEARANCE)
        assert tour.path_length(path) >= photos.MIN_WAY
        assert scene.free(view[0], view[1], 0.2)
        distance, angle = metrics.pose_errors(poses, view)
        assert ((distance <= photos.MAX_DISTANCE) & (angle <= photos.MAX_ANGLE)).any()
        assert all(math.hypot(*(view[:2] - other[:2])) >= photos.APART for other in used)
        used.append(view)
        robot = view
    assert len({tour.room_of(scene, view) for view in used}) == 5


def test_photos_of_a_robot_that_hardly_moved_are_still_to_be_had(toured):
    scene, poses, _ = toured
    spots = photos.PhotoSpots(scene, poses[:2], np.random.default_rng(1))
    assert spots.next(poses[0], [poses[0]]).shape == (3,)


# -- the score ---------------------------------------------------------------------------------------------


def test_a_photo_is_reached_only_by_a_robot_that_says_so_and_is_there(recorded):
    assert [visit.reached for visit in recorded.visits] == [True, False, False]
    assert recorded.reached == 1
    assert not recorded.done
    assert recorded.visits[0].distance == pytest.approx(0.3)
    assert recorded.visits[0].errors == pytest.approx((0.4, 0.2))


@pytest.mark.parametrize(("goals", "enough"), [(1, 1), (2, 2), (4, 4), (5, 4), (6, 5), (10, 8)])
def test_four_in_five_are_enough(recorded, goals, enough):
    for reached in (enough - 1, enough):
        result = record.DemoRecord(recorded.scene, goals)
        result.visits = [recorded.visits[0]] * reached + [recorded.visits[2]] * (goals - reached)
        assert result.done == (reached == enough)


def test_json_holds_the_contract_and_null_where_there_was_no_answer(recorded, tmp_path):
    write_json(tmp_path / "goals.json", [visit.as_json() for visit in recorded.visits])
    reached, missed, refused = json.loads((tmp_path / "goals.json").read_text())
    assert {"predicted", "true", "error_m", "error_deg", "reached", "seconds"} <= set(reached)
    assert reached["error_m"] == pytest.approx(0.4)
    assert reached["error_deg"] == pytest.approx(math.degrees(0.2))
    assert reached["seconds"] == pytest.approx(6.0)
    assert not missed["reached"]
    assert missed["stopped_m"] == pytest.approx(2.0)
    assert refused["predicted"] is None
    assert refused["error_m"] is None
    assert not refused["reached"]


def test_the_table_has_a_row_a_photo(recorded):
    lines = visits_table(recorded).splitlines()
    assert len(lines) == 2 + 3
    assert "0.40 m" in lines[2]
    assert " yes " in lines[2]
    assert " no " in lines[3]
    assert "refused" in lines[4]


def test_poses_are_interpolated_and_paths_end_where_they_are_asked_to(recorded):
    before, after = recorded.track[10], recorded.track[11]
    middle = recorded.pose_at((before[0] + after[0]) / 2)
    assert middle[:2] == pytest.approx((before[1][:2] + after[1][:2]) / 2)
    assert len(recorded.path(before[0], after[0])) == 2
    recorded.track.append((99.0, after[1]))
    assert recorded.pose_at(200.0) == pytest.approx(after[1]), "what was recorded meanwhile counts"
    recorded.track.pop()


# -- the pictures ------------------------------------------------------------------------------------------


def test_the_ellipse_holds_the_truth_nineteen_times_in_twenty():
    covariance = np.array([[0.5, 0.2, 0.0], [0.2, 0.3, 0.0], [0.0, 0.0, 1.0]])
    samples = np.random.default_rng(0).multivariate_normal([2.0, 1.0], covariance[:2, :2], 4000)
    outline = drawing.ellipse(np.array([2.0, 1.0, 0.0]), covariance).astype(np.float32)
    inside = [cv2.pointPolygonTest(outline, tuple(map(float, sample)), False) >= 0 for sample in samples]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.015)


def test_the_floor_plan_puts_metres_where_they_belong(recorded):
    plan = drawing.FloorPlan(recorded.scene, 10, 20, 300, 200)
    width, height = recorded.scene.size
    low, high = plan.pixels((0.0, 0.0)), plan.pixels((width, height))
    assert 10 <= low[0] < high[0] <= 310
    assert 20 <= high[1] < low[1] <= 220, "y points up"
    assert (high[0] - low[0]) / width == pytest.approx((low[1] - high[1]) / height)


def test_the_picture_shows_the_map_and_every_photo(recorded, tmp_path):
    write_picture(tmp_path / "demo.png", recorded)
    picture = cv2.imread(str(tmp_path / "demo.png"))
    assert picture.shape[0] >= 600
    assert picture.shape[1] >= 1000
    reddish = np.abs(picture[..., ::-1].astype(int) - (200, 60, 60)).max(axis=2) < 12
    assert cv2.connectedComponents(reddish.astype(np.uint8))[0] - 1 >= 3


def test_the_film_tells_the_whole_story_in_order(recorded):
    moments = film.timeline(recorded)
    seconds = [moment.seconds for moment in moments]
    assert seconds == sorted(seconds)
    assert seconds[0] == recorded.began
    assert seconds[-1] == recorded.visits[-1].ended
    assert moments[-1].over
    assert len(moments) / film.FPS < 60.0
    for visit in recorded.visits:
        assert seconds.count(visit.started) >= film.FPS, "time to look at the photo"


def test_every_scene_of_the_film_looks_different_and_shows_the_photo(recorded):
    painter = film.Painter(recorded)
    first = recorded.visits[0]
    moments = [film.Moment(5.0, 6.0), film.Moment(first.started, 0.0), film.Moment(first.ended, 0.0)]
    images = [painter.frame(moment) for moment in [*moments, film.Moment(first.ended, 0.0, over=True)]]
    for image in images:
        assert image.shape == (film.HEIGHT, film.WIDTH, 3)
        assert image.dtype == np.uint8
    for a, b in itertools.pairwise(images):
        assert (np.abs(a.astype(int) - b).max(axis=2) > 20).mean() > 0.01
    shows = [(np.abs(image[560:650, 60:200].astype(int) - (200, 60, 60)).max() < 12) for image in images]
    assert shows[:3] == [False, True, True]


def test_films_can_be_played(recorded, tmp_path):
    moments = film.timeline(recorded)[:50]
    path = tmp_path / "film.mp4"
    video.write_video(path, film.frames(recorded, moments), film.WIDTH, film.HEIGHT, film.FPS)
    capture = cv2.VideoCapture(str(path))
    assert int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little") in (b"h264", b"avc1"), (
        "as browsers play"
    )
    assert capture.get(cv2.CAP_PROP_FPS) == film.FPS
    read = 0
    while (frame := capture.read()[1]) is not None:
        assert frame.shape == (film.HEIGHT, film.WIDTH, 3)
        assert frame.std() > 20
        read += 1
    assert read == len(moments)
