"""The memory of local tokens: drives through a room of landmarks, and questions."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from landmark_support import CONFIG, Landmarks, as_pose, circle

from kinaema_ros import geometry
from kinaema_ros.model import cell, localise, pose_graph
from kinaema_ros.model.config import KinaemaConfig, RevisitConfig
from kinaema_ros.model.localise import Hypothesis, expect, hypotheses
from kinaema_ros.model.pose_graph import LoopClosure
from kinaema_ros.model.revisit import find_revisit
from kinaema_ros.model.se2 import between
from kinaema_ros.model.token_memory import NONE, TokenMemory

NO_LOOPS = replace(CONFIG, revisit=RevisitConfig(enabled=False))


def drive(
    room: Landmarks, poses: np.ndarray, odometry: np.ndarray | None = None, config: KinaemaConfig = CONFIG,
    **camera: object,
) -> TokenMemory:  # fmt: skip
    memory = TokenMemory.empty(config)
    for true, told in zip(poses, poses if odometry is None else odometry, strict=True):
        memory = cell.update(config, memory, room.view(true, config=config, **camera), as_pose(told))
    return memory


def best(
    memory: TokenMemory, room: Landmarks, pose: np.ndarray, mount: float | None = 0.0, **camera: object
) -> Hypothesis:
    found = hypotheses(CONFIG, memory, room.view(pose, **camera), mount)
    assert found
    return max(found, key=lambda hypothesis: hypothesis.evidence.similarity * hypothesis.evidence.share)


@pytest.fixture(scope="module")
def room() -> Landmarks:
    return Landmarks()


@pytest.fixture(scope="module")
def known(room: Landmarks) -> TokenMemory:
    """After one and a half rounds, by exact odometry that does not begin at zero."""
    poses = circle(rounds=1.5)
    return drive(room, poses, geometry.compose([5.0, -3.0, 1.0], poses))


@pytest.mark.parametrize(
    ("hfov", "tilt", "height"),
    [(90.0, (0.0, 0.0), 0.0), (60.0, (0.0, 0.0), 0.0), (70.0, (0.05, 0.2), 0.8)],
    ids=["own camera", "narrow", "phone"],
)
def test_a_photo_is_placed_to_centimetres(
    room: Landmarks, known: TokenMemory, hfov: float, tilt: tuple, height: float
) -> None:
    start, end = circle(rounds=1.5)[[0, -1]]
    for angle in (0.3, 2.0, 4.5):
        true = np.array([2.2 * np.sin(angle), -2.7 * np.cos(angle), angle + 0.2])
        mount = None if height else 0.0
        found = best(known, room, true, mount, hfov=np.radians(hfov), tilt=tilt, height=height)
        expected = geometry.between(start, true)  # the memory's frame begins at the first view
        off = geometry.between(expected, found.memory_T_photo.numpy())
        assert np.hypot(off[0], off[1]) < 0.08
        assert abs(off[2]) < 0.03
        assert abs(found.evidence.roll - tilt[0]) < 0.03
        assert abs(found.evidence.pitch - tilt[1]) < 0.03
        assert abs(found.evidence.height - height) < 0.08
        assert found.evidence.inliers > 15
    off = geometry.between(geometry.between(start, end), known.robot.numpy())
    np.testing.assert_allclose(off, np.zeros(3), atol=0.08)


def test_a_photo_taken_beside_a_robot_that_only_turned_is_placed_by_directions(room: Landmarks) -> None:
    turns = np.stack([np.zeros(8), np.zeros(8), np.arange(8) * 0.4], axis=-1)
    memory = drive(room, turns)
    assert not bool((memory.tokens.depth_std[memory.count > 0] < CONFIG.tokens.prior_depth_std - 1e-3).any())
    for pose in ([0.5, 0.3, 0.9], [-0.4, 0.6, 1.7], [0.0, -0.6, 2.2], [0.8, 0.0, 0.4]):
        found = best(memory, room, np.array(pose))
        x, y, yaw = found.memory_T_photo.tolist()
        assert abs(yaw - pose[2]) < 0.1
        whither = math.atan2(y, x) - math.atan2(pose[1], pose[0])
        assert abs(geometry.wrap_angle(whither)) < 0.5
        off, std = math.dist((x, y), pose[:2]), float(found.covariance[0, 0].sqrt())
        assert off < min(0.6, 3.0 * std), "how far is unsure, and says so"


def test_poses_that_lead_to_one_are_looked_at_again_once(
    room: Landmarks, known: TokenMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A photo that many embeddings know has as many first poses, all about the same."""
    looked: list[np.ndarray] = []

    def counted(config, memory, photo, place, pose, size):
        looked.append(geometry.compose(memory.pose[place].numpy(), pose.planar[0].double().numpy()))
        return expect(config, memory, photo, place, pose, size)

    monkeypatch.setattr(localise, "expect", counted)
    for pose in circle(steps=6):
        looked.clear()
        assert hypotheses(CONFIG, known, room.view(pose), 0.0)
        for number, one in enumerate(looked):
            for other in looked[:number]:
                off = geometry.between(other, one)
                assert (
                    np.hypot(off[0], off[1]) >= CONFIG.search.same_distance
                    or abs(off[2]) >= CONFIG.search.same_angle
                )


def test_a_photo_of_another_room_is_not_explained(room: Landmarks, known: TokenMemory) -> None:
    here = [best(known, room, pose).evidence for pose in circle(steps=6)]
    elsewhere = Landmarks(seed=7)
    there = [
        hypothesis.evidence
        for pose in circle(steps=6)
        for hypothesis in hypotheses(CONFIG, known, elsewhere.view(pose), 0.0)
    ]
    assert max([e.similarity * e.share for e in there], default=0.0) < 0.3 * min(
        e.similarity * e.share for e in here
    )


def test_a_photo_of_a_blank_wall_has_no_answer(room: Landmarks, known: TokenMemory) -> None:
    view = room.view(circle()[0])
    blank = replace(view, quality=view.quality * 0, descriptor=view.descriptor * 0)
    assert hypotheses(CONFIG, known, blank, 0.0) == []


def test_an_empty_memory_has_no_answer(room: Landmarks) -> None:
    assert hypotheses(CONFIG, TokenMemory.empty(CONFIG), room.view(circle()[0]), 0.0) == []


def test_distances_come_from_the_drive(room: Landmarks, known: TokenMemory) -> None:
    slots = (known.count > 0).nonzero()[:, 0]
    tokens = known.tokens.unpack(slots)
    sure = tokens.known & (tokens.depth_std < 0.03)
    assert sure.sum() > 0.5 * tokens.known.sum()
    place, token = sure.nonzero().unbind(-1)
    poses = geometry.compose(circle()[0], known.pose[slots].numpy())[place]
    point = room.points[(tokens.descriptor[place, token] @ room.looks.T).argmax(-1)].numpy()
    distance = np.linalg.norm(point - np.c_[poses[:, :2], np.zeros(len(poses))], axis=-1)
    off = np.abs(tokens.inverse_depth[place, token].numpy() - 1 / distance)
    assert np.median(off) < 0.012
    assert np.mean(off < 3 * tokens.depth_std[place, token].numpy() + 0.003) > 0.9


@pytest.fixture(scope="module")
def rounds() -> tuple[np.ndarray, np.ndarray]:
    """Two rounds, and an odometry that turns too far and drives too long."""
    poses = circle(rounds=2.0)
    odometry = [poses[0]]
    for step in geometry.between(poses[:-1], poses[1:]):
        odometry.append(geometry.compose(odometry[-1], step * [1.01, 1.0, 1.02]))
    return poses, np.array(odometry)


def off(poses: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Metres and radians by which a pose at the end of a drive, as seen from its start, is wrong."""
    gap = geometry.between(pose, geometry.between(poses[0], poses[-1]))
    return np.array([np.hypot(gap[0], gap[1]), abs(gap[2])])


def test_drift_is_corrected_by_old_places(room: Landmarks, rounds: tuple[np.ndarray, np.ndarray]) -> None:
    poses, odometry = rounds
    corrected = off(poses, drive(room, poses, odometry).robot.numpy())
    assert corrected.sum() < 0.35 * off(poses, geometry.between(odometry[0], odometry[-1])).sum()


@pytest.mark.parametrize(
    ("off", "kept"), [(0.02, True), (2.3, False)], ids=["as drift may have it", "a shelf further"]
)
def test_a_loop_that_no_drift_explains_is_not_believed(known: TokenMemory, off: float, kept: bool) -> None:
    """However sure it is; but it tells that the odometry may be worse than thought."""
    place = (known.count > 0).nonzero()[0, 0]
    place_T_robot = between(known.pose[place], known.robot)
    loop = LoopClosure(
        place,
        place_T_robot + torch.tensor([off, 0.0, 0.0]),
        torch.tensor([0.03**2, 0.006**2], dtype=torch.float64),
    )
    after = cell.believe(CONFIG, known, loop)
    same = torch.equal(after.graph.tail_T_head, known.graph.tail_T_head)
    assert same != kept
    assert (after.graph.noise[0] > known.graph.noise[0]) == (not kept)


def test_the_heading_is_corrected_by_what_is_seen_on_the_way(
    room: Landmarks, rounds: tuple[np.ndarray, np.ndarray]
) -> None:
    """No place is recognised: what the camera sees of the last few views is enough, once the odometry is known to err."""
    poses, odometry = rounds
    alone = off(poses, drive(room, poses, odometry, NO_LOOPS).robot.numpy())
    assert alone[1] < 0.35 * off(poses, geometry.between(odometry[0], odometry[-1]))[1]


def test_an_exact_heading_is_left_alone(room: Landmarks, rounds: tuple[np.ndarray, np.ndarray]) -> None:
    """Sight errs, too: by what it says of exact odometry this is soon known to be exact."""
    poses, odometry = rounds
    exact, drifting = drive(room, poses, poses, NO_LOOPS), drive(room, poses, odometry, NO_LOOPS)
    assert off(poses, exact.robot.numpy())[1] < 0.02
    assert float(exact.graph.noise[1]) < 0.2 * float(drifting.graph.noise[1])
    by_odometry = replace(NO_LOOPS, window=replace(CONFIG.window, heading_by_sight=False))
    turned = drive(room, poses, odometry, by_odometry).robot.numpy()
    assert off(poses, turned)[1] == pytest.approx(
        off(poses, geometry.between(odometry[0], odometry[-1]))[1], abs=1e-6
    )


def test_a_nodding_camera_is_levelled_and_a_level_one_stays_level(room: Landmarks) -> None:
    memory = TokenMemory.empty(CONFIG)
    for number, pose in enumerate(circle(steps=60)[:14]):
        tilt = (0.0, 0.1 if number % 2 else -0.05)
        view = room.view(pose, tilt=tilt, height=0.02 * (number % 2))
        memory = cell.update(CONFIG, memory, view, as_pose(pose))
        if number >= 6:
            relative = 0.15 if number % 2 else 0.0  # all tilts are against that of the first view
            assert abs(float(memory.tilt[1]) - relative) < 0.04
    level = drive(room, circle())
    torch.testing.assert_close(level.tilt, torch.zeros(3))
    torch.testing.assert_close(level.height, torch.zeros(CONFIG.num_embeddings))


def test_a_tilt_that_stays_is_taken_for_level_in_the_end_and_distances_stay_right(room: Landmarks) -> None:
    """A first view that was tilted makes all others look tilted: what is tilted for long is the memory, not the robot."""
    memory = TokenMemory.empty(CONFIG)
    tilts = []
    for number, pose in enumerate(circle(steps=60)[:50]):
        memory = cell.update(
            CONFIG, memory, room.view(pose, tilt=(0.12, 0.0) if number == 0 else (0.0, 0.0)), as_pose(pose)
        )
        tilts.append(float(memory.tilt[:2].norm()))
    assert max(tilts[1:4]) > 0.08
    assert max(tilts[-10:]) < 0.03
    embedding = int(memory.window_slot[memory.viewed][0])
    tokens = memory.tokens.unpack(torch.tensor([embedding]))
    placed = tokens.known[0] & (tokens.depth_std[0] < 0.3 * tokens.inverse_depth[0])
    assert int(placed.sum()) > 10


def test_a_pose_that_tilts_a_levelled_view_is_no_loop(room: Landmarks, known: TokenMemory) -> None:
    pose = circle(rounds=1.5)[-1]
    loop = find_revisit(CONFIG, known, room.view(pose), 0.0)
    assert loop is not None
    assert find_revisit(CONFIG, known, room.view(pose, tilt=(0.0, 0.03)), 0.0) is not None
    for tilt in ((0.4, 0.0), (0.0, 0.3)):
        assert find_revisit(CONFIG, known, room.view(pose, tilt=tilt), 0.0) is None


def test_the_memory_stays_as_large_as_it_is(room: Landmarks) -> None:
    config = replace(CONFIG, num_embeddings=12)
    memory = TokenMemory.empty(config)
    size = memory.num_bytes
    for pose in circle(rounds=1.5):
        memory = cell.update(config, memory, room.view(pose), as_pose(pose))
        assert memory.num_bytes == size
        assert int(memory.count.sum()) == int(memory.updates)  # no view is lost, all are folded
        assert (memory.count[memory.window_slot[memory.viewed]] == 1).all()
    assert (memory.count > 0).all()
    assert int((memory.window_slot != NONE).sum()) == config.window.size


def test_a_place_seen_again_takes_no_more_room(room: Landmarks) -> None:
    once = drive(room, circle(rounds=1.0))
    again = drive(room, circle(rounds=1.9))
    assert int((again.count > 0).sum()) < int((once.count > 0).sum()) + 2 * CONFIG.window.size


def test_an_update_leaves_the_old_state_as_it_was(room: Landmarks, known: TokenMemory) -> None:
    before = {name: tensor.clone() for name, tensor in known.tensors().items()}
    cell.update(CONFIG, known, room.view(circle()[3]), known.odometry + 0.2)
    for name, tensor in known.tensors().items():
        torch.testing.assert_close(tensor, before[name], msg=name)


def test_a_memory_of_tensors_is_the_same_memory(known: TokenMemory) -> None:
    again = TokenMemory.from_tensors(known.tensors())
    assert again.tensors().keys() == known.tensors().keys()
    assert again.num_bytes == known.num_bytes
    torch.testing.assert_close(again.tokens.descriptor, known.tokens.descriptor)
    torch.testing.assert_close(again.graph.tail, known.graph.tail)


def test_loops_move_all_but_the_oldest_place_which_holds_the_memorys_frame(room: Landmarks) -> None:
    """Odometry that turns 2 % too far; in the second round loops correct the first one."""
    poses = circle(rounds=2.0)
    steps = geometry.between(poses[:-1], poses[1:]) * [1.0, 1.0, 1.02]
    odometry = [poses[0]]
    for step in steps:
        odometry.append(geometry.compose(odometry[-1], step))
    memory = drive(room, poses, np.array(odometry))
    assert int(memory.graph.loops) > 0
    oldest = int(pose_graph.root(CONFIG.pose_graph, memory.graph))
    np.testing.assert_allclose(memory.pose[oldest].numpy(), 0.0, atol=1e-6)
    memory_T_robot, expected = memory.robot.numpy(), geometry.between(poses[0], poses[-1])
    drifted = geometry.between(poses[0], odometry[-1])
    off, off_by_odometry = (np.hypot(*(pose - expected)[:2]) for pose in (memory_T_robot, drifted))
    assert off < 0.5 * off_by_odometry


def test_a_memory_that_is_given_more_room_goes_on_as_it_was_and_merges_no_more(room: Landmarks) -> None:
    small, large = (replace(CONFIG, num_embeddings=n) for n in (24, 64))
    poses = circle(rounds=1.5)
    full = drive(room, poses, config=small)
    assert (full.count > 0).all()
    assert int(full.graph.loops) > 0
    wider = full.enlarged(TokenMemory.empty(large))
    wider.check()
    layout = {
        name: (tensor.shape, tensor.dtype) for name, tensor in TokenMemory.empty(large).tensors().items()
    }
    assert {name: (tensor.shape, tensor.dtype) for name, tensor in wider.tensors().items()} == layout
    settled, narrow = (cell.settle(config, memory) for config, memory in ((large, wider), (small, full)))
    torch.testing.assert_close(settled.pose[:24], narrow.pose)
    torch.testing.assert_close(settled.robot, narrow.robot)
    before = [best(memory, room, poses[5]).place_T_photo for memory in (full, wider)]
    torch.testing.assert_close(*before)
    for pose in circle(radius=1.0)[:12]:
        wider = cell.update(large, wider, room.view(pose), as_pose(pose))
    wider.check()
    assert int((wider.count > 0).sum()) > 24
    assert int(wider.updates) == len(poses) + 12


def test_a_memory_of_the_same_size_stays_as_it_is(known: TokenMemory) -> None:
    same = known.enlarged(TokenMemory.empty(CONFIG))
    for name, tensor in known.tensors().items():
        torch.testing.assert_close(same.tensors()[name], tensor, msg=name)
