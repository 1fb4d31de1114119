"""Image -> tokens, and from a photo's tokens to judged answers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from landmark_support import CONFIG, Landmarks, as_pose, circle

from kinaema_ros import geometry
from kinaema_ros.camera import Intrinsics, Mount
from kinaema_ros.model import cell
from kinaema_ros.model.answer import Answer
from kinaema_ros.model.checkpoint import load_network
from kinaema_ros.model.judge import TERMS, Candidates
from kinaema_ros.model.local_features import DESCRIPTOR_DIM, Keypoints
from kinaema_ros.model.localise import hypotheses
from kinaema_ros.model.network import LOST_POSITION, LOST_YAW, MOST_PIXELS, Kinaema, unmodelled
from kinaema_ros.model.token_memory import TokenMemory
from kinaema_ros.paths import default_checkpoint

CAMERA = Intrinsics.from_hfov(320, 240, math.radians(90))
SIZE = CONFIG.tokens.view_tokens


@pytest.fixture(scope="module")
def network() -> Kinaema:
    """The shipped weights, and memories as small as the landmarks need."""
    shipped, _ = load_network(default_checkpoint())
    network = Kinaema(CONFIG)
    network.load_state_dict(shipped.state_dict())
    return network.eval()


@pytest.fixture(scope="module")
def room() -> Landmarks:
    return Landmarks()


@pytest.fixture(scope="module")
def known(room: Landmarks) -> TokenMemory:
    return remember(room, circle())


def remember(room: Landmarks, poses: np.ndarray, odometry: np.ndarray | None = None) -> TokenMemory:
    memory = TokenMemory.empty(CONFIG)
    for true, told in zip(poses, poses if odometry is None else odometry, strict=True):
        memory = cell.update(CONFIG, memory, room.view(true), as_pose(told))
    return memory


def keypoints(*pixels: tuple[float, float]) -> Keypoints:
    random = torch.Generator().manual_seed(0)
    looks = torch.randn(len(pixels), DESCRIPTOR_DIM, generator=random)
    return Keypoints(torch.tensor(pixels), F.normalize(looks), torch.full((len(pixels),), 0.5))


def test_a_token_lies_where_its_pixel_looks(network: Kinaema):
    points = keypoints((0.0, 0.0), (159.5, 119.5), (300.0, 30.0))
    tokens = network.tokens(points, CAMERA, SIZE)
    assert tokens.known.tolist() == [True] * 3 + [False] * (SIZE - 3)
    expected = torch.from_numpy(CAMERA.rays(points.pixels.numpy())).float()
    torch.testing.assert_close(tokens.bearing[:3], expected)
    torch.testing.assert_close(torch.linalg.vector_norm(tokens.descriptor[:3], dim=-1), torch.ones(3))
    assert (tokens.descriptor[3:] == 0).all()
    assert (tokens.inverse_depth == CONFIG.tokens.prior_depth).all()


def test_a_tilted_camera_has_the_tokens_of_a_level_one(network: Kinaema):
    tokens = network.tokens(keypoints((159.5, 119.5), (250.0, 119.5)), CAMERA, SIZE, Mount(pitch=0.2))
    torch.testing.assert_close(tokens.bearing[0], torch.tensor([math.cos(0.2), 0.0, -math.sin(0.2)]))
    upside_down = network.tokens(keypoints((250.0, 60.0)), CAMERA, SIZE, Mount(roll=math.pi))
    upright = network.tokens(keypoints((69.0, 179.0)), CAMERA, SIZE)
    torch.testing.assert_close(upside_down.bearing[0], upright.bearing[0])


def test_where_a_level_camera_is_on_the_robot_changes_no_token(network: Kinaema):
    points = keypoints((10.0, 20.0), (300.0, 200.0))
    mounted = network.tokens(points, CAMERA, SIZE, Mount(x=0.3, y=-0.2, z=1.1, yaw=2.0))
    torch.testing.assert_close(mounted.bearing, network.tokens(points, CAMERA, SIZE).bearing)


def test_a_lens_bends_the_rays_and_a_pixel_that_no_ray_reaches_has_no_token(network: Kinaema):
    points = keypoints((159.5, 119.5), (280.0, 60.0), (2000.0, 1500.0))
    bent = Intrinsics(320, 240, 160.0, 160.0, 159.5, 119.5, "plumb_bob", (-0.2, 0.03, 0.0, 0.0))
    tokens = network.tokens(points, bent, SIZE)
    straight = network.tokens(points, CAMERA, SIZE)
    torch.testing.assert_close(tokens.bearing[0], straight.bearing[0])
    assert tokens.bearing[1, 0] < straight.bearing[1, 0] - 0.01  # barrel distortion: farther off the axis
    fisheye = Intrinsics(320, 240, 120.0, 120.0, 159.5, 119.5, "equidistant", (0.05, -0.04, 0.0, 0.0))
    tokens = network.tokens(points, fisheye, SIZE)
    assert int(tokens.known.sum()) == 2
    assert tokens.bearing.isfinite().all()


def test_a_camera_is_the_same_at_any_resolution(network: Kinaema):
    image = np.zeros((240, 320, 3), np.uint8)
    random = np.random.default_rng(0)
    for _ in range(60):
        x, y = random.integers(0, (300, 220))
        image[y : y + 20, x : x + 20] = random.integers(0, 256, 3)
    rgb = torch.from_numpy(image)
    by_own = network.view(rgb, CAMERA)
    by_large = network.view(rgb, CAMERA.scaled_to(1280, 960))
    assert by_own.known.sum() > 40
    torch.testing.assert_close(by_large.bearing, by_own.bearing)
    assert by_own.bearing[by_own.known][:, 0].min() > 0.5  # all within the field of view


@pytest.mark.parametrize("size", [(480, 360), (1920, 1440)])
def test_another_cameras_photo_is_read_out_at_the_scale_of_the_robots_frames(
    network: Kinaema, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
):
    asked: list[float] = []
    detect = network.features.detect

    def recorded(rgb: torch.Tensor, area: float, most: int) -> Keypoints:
        asked.append(area)
        return detect(rgb, area, most)

    monkeypatch.setattr(network.features, "detect", recorded)
    rgb = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8))
    narrow = Intrinsics.from_hfov(*size, math.radians(60.0))
    photo = network.photo(rgb, narrow, CAMERA)
    sizes = CONFIG.tokens
    of_frame = math.sqrt(sizes.view_pixels / (CAMERA.width * CAMERA.height)) * CAMERA.fx  # pixels per radian
    of_photo = [math.sqrt(area / (size[0] * size[1])) * narrow.fx for area in asked]
    assert of_photo == pytest.approx([sizes.photo_coarse * of_frame, sizes.photo_fine * of_frame])
    known = photo.bearing[photo.known]
    assert len(photo.quality) == 2 * sizes.photo_tokens
    assert len(known) > 20
    assert known[:, 1].abs().max() < math.sin(math.radians(31.0))
    assert (photo.quality.diff() <= 0).all()  # the strongest first: these vote

    asked.clear()
    wide = Intrinsics.from_hfov(*size, math.radians(120.0))
    network.photo(rgb, wide, Intrinsics.from_hfov(320, 240, math.radians(45.0)))
    assert max(asked) <= MOST_PIXELS * sizes.view_pixels


def test_a_photo_is_answered_in_the_frame_of_the_robot(network: Kinaema, room: Landmarks, known: TokenMemory):
    robot, true = circle()[-1], np.array([2.2 * np.sin(2.0), -2.7 * np.cos(2.0), 2.2])
    best = network.locate(known, room.view(true), 0.0)[0]
    off = geometry.between(geometry.between(robot, true), best.pose.numpy())
    assert np.hypot(off[0], off[1]) < 0.1
    assert abs(off[2]) < 0.03
    assert best.seen > 0.9
    assert 0.9 * best.seen <= best.confidence <= best.seen


@pytest.fixture(scope="module")
def twin_answers(network: Kinaema, room: Landmarks) -> list[Answer]:
    """To a photo that was taken in one of two rooms, 20 m apart, that nobody can tell from each other."""
    poses = circle()
    twins = remember(room, np.concatenate([poses, poses]), np.concatenate([poses, poses + [20.0, 0.0, 0.0]]))
    return network.locate(twins, room.view(np.array([2.2 * np.sin(2.0), -2.7 * np.cos(2.0), 2.2])), 0.0)


def test_of_two_rooms_that_look_alike_both_are_named(twin_answers: list[Answer]):
    assert len(twin_answers) >= 2
    gap = geometry.between(twin_answers[0].pose.numpy(), twin_answers[1].pose.numpy())
    assert np.hypot(gap[0], gap[1]) == pytest.approx(20.0, abs=0.2)
    assert abs(gap[2]) < 0.05
    assert twin_answers[0].seen > 0.9


def test_who_has_drifted_by_metres_since_is_not_sure_how_surely_the_place_is_recognised(network: Kinaema):
    terms = network.judge.mean + 2.0 * network.judge.deviation * network.judge.trust.weight[0, :TERMS].sign()
    wander = network.judge.wander.exp()
    for position, yaw, sure in ((0.01, 0.001, True), (4.0, 0.001, False), (0.01, 1.0, False)):
        (answer,) = network.judged(
            Candidates(
                terms[None],
                torch.zeros(1, 3, dtype=torch.float64),
                1e-4 * torch.eye(3, dtype=torch.float64)[None],
                torch.tensor([[position, yaw]]) / wander,
                torch.ones(1, dtype=torch.bool),
            )
        )
        assert answer.recognised > 0.9
        assert (answer.confidence > 0.9) == sure


def test_of_two_rooms_that_look_alike_neither_is_sure(twin_answers: list[Answer]):
    assert sum(answer.confidence for answer in twin_answers) < 1.1
    assert twin_answers[0].confidence < 0.7


def test_a_photo_that_fits_nowhere_is_answered_with_the_likeliest_place_and_no_confidence(
    network: Kinaema, room: Landmarks, known: TokenMemory
):
    view = room.view(circle()[10])
    random = torch.Generator().manual_seed(0)
    other = torch.randn(view.descriptor.shape, generator=random)
    other -= (other * view.descriptor).sum(-1, keepdim=True) * view.descriptor
    # Alike enough to vote, and not enough to match.
    unlike = 0.6 * view.descriptor + 0.8 * F.normalize(other, dim=-1) * view.known[:, None]
    assert hypotheses(CONFIG, known, replace(view, descriptor=unlike), 0.0) == []
    (only,) = network.locate(known, replace(view, descriptor=unlike), 0.0)
    assert (only.seen, only.confidence) == (0.0, 0.0)
    assert only.covariance is not None
    expected = torch.tensor([LOST_POSITION, LOST_POSITION, LOST_YAW]).double().diag() ** 2
    torch.testing.assert_close(only.covariance, expected)
    places = geometry.between(known.robot.numpy(), known.pose[known.count > 0].numpy())
    assert np.abs(places - only.pose.numpy()).max(axis=1).min() < 1e-9  # it is one of the memory's
    off = geometry.between(geometry.between(circle()[-1], circle()[10]), only.pose.numpy())
    assert np.hypot(off[0], off[1]) < 1.0


def test_a_photo_without_tokens_is_answered_too(network: Kinaema, room: Landmarks, known: TokenMemory):
    view = room.view(circle()[0])
    blank = replace(view, quality=view.quality * 0, descriptor=view.descriptor * 0)
    (only,) = network.locate(known, blank, None)
    assert only.confidence == 0.0
    assert only.pose.isfinite().all()


def test_judged_answers_are_distinct_and_the_best_comes_first(network: Kinaema):
    random = torch.Generator().manual_seed(2)
    for _ in range(20):
        of = Candidates(
            torch.randn(12, TERMS, generator=random) * network.judge.deviation + network.judge.mean,
            torch.rand(12, 3, generator=random, dtype=torch.float64) * torch.tensor([4.0, 4.0, 2.0]),
            0.01 * torch.eye(3, dtype=torch.float64).expand(12, 3, 3),
            torch.rand(12, 2, generator=random) * 1e-3,
            torch.ones(12, dtype=torch.bool),
        )
        answers = network.judged(of)
        score = network.judge.score(of)
        index = [int((of.pose == answer.pose).all(-1).nonzero()[0, 0]) for answer in answers]
        assert index[0] == int(score.argmax())
        assert (score[index].diff() <= 0).all()
        for number, answer in enumerate(answers):
            assert 0.0 <= answer.confidence <= answer.seen <= 1.0
            assert answer.seen == answers[0].seen
            for other in answers[:number]:
                gap = geometry.between(other.pose.numpy(), answer.pose.numpy())
                assert np.hypot(gap[0], gap[1]) > 1.0 or abs(gap[2]) > math.radians(30)
        # What is left out is nearly one of the kept.
        for left_out in set(range(12)) - set(index):
            gaps = [geometry.between(of.pose[left_out].numpy(), answer.pose.numpy()) for answer in answers]
            assert any(np.hypot(g[0], g[1]) <= 1.0 and abs(g[2]) <= math.radians(30) for g in gaps)


def test_what_no_simulator_knows_grows_with_the_distance():
    near, far = unmodelled(torch.tensor([[0.0, 0.0, 1.0], [12.0, 16.0, 0.0]], dtype=torch.float64))
    assert near.diagonal().sqrt().tolist() == pytest.approx([0.02, 0.02, np.radians(0.5)])
    assert far.diagonal().sqrt().tolist() == pytest.approx([0.102, 0.102, np.radians(0.5)], rel=1e-3)
