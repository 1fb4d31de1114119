"""A full memory forgets what it needs least, and goes on at the same cost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from landmark_support import CONFIG, Landmarks, as_pose, circle
from torch.utils.flop_counter import FlopCounterMode

from kinaema_ros.model import cell
from kinaema_ros.model.config import KinaemaConfig
from kinaema_ros.model.folding import in_common, merge, neighbours
from kinaema_ros.model.localise import hypotheses
from kinaema_ros.model.se2 import apart
from kinaema_ros.model.token_memory import TokenMemory
from kinaema_ros.model.tokens import Tokens

FULL = replace(CONFIG, num_embeddings=20, window=replace(CONFIG.window, size=4))
ROOMS = 5
WALL = np.array(
    [0.0, 0.4, 0.0]
)  # from a view in a room to the one in the next room, both looking the same way


def stroll(views: list[tuple[Tokens, np.ndarray]]) -> TokenMemory:
    memory = TokenMemory.empty(FULL)
    for view, pose in views:
        memory = cell.update(FULL, memory, view, as_pose(pose))
    return memory


@pytest.fixture(scope="module")
def rooms() -> list[Landmarks]:
    return [Landmarks(seed=seed) for seed in range(ROOMS)]


@pytest.fixture(scope="module")
def full(rooms: list[Landmarks]) -> TokenMemory:
    """One view of each of some rooms, wall to wall, and then twice as many as there is room for of the last one."""
    views = [(room.view(WALL * number), WALL * number) for number, room in enumerate(rooms)]
    views += [(rooms[-1].view(pose), pose) for pose in circle(radius=2.0, steps=40)]
    return stroll(views)


def test_the_only_view_of_a_room_is_never_forgotten(rooms: list[Landmarks], full: TokenMemory) -> None:
    """Though views of two rooms are nearer to each other than any two of the room that was driven through."""
    assert (full.count > 0).all()
    for number, room in enumerate(rooms):
        found = hypotheses(FULL, full, room.view(WALL * number), 0.0)
        best = max(found, key=lambda hypothesis: hypothesis.evidence.similarity, default=None)
        assert best is not None, f"room {number} is forgotten"
        np.testing.assert_allclose(best.memory_T_photo, WALL * number, atol=0.1)
        assert best.evidence.best_share > 0.8


def test_views_of_one_place_have_more_in_common_than_those_of_two(rooms: list[Landmarks]) -> None:
    poses = [WALL * 0, WALL, WALL]
    views = [(rooms[room].view(pose), pose) for room, pose in zip((0, 0, 1), poses, strict=True)]
    memory = stroll(views)
    common = in_common(FULL, memory, torch.tensor([0, 0, 1]), torch.tensor([1, 2, 2]))
    assert common[0] > 0.5
    assert (common[1:] < 0.1).all()


@pytest.fixture(scope="module")
def scattered(rooms: list[Landmarks]) -> tuple[KinaemaConfig, TokenMemory]:
    """A full memory of 40 views from anywhere in a room."""
    config = replace(FULL, num_embeddings=40)
    memory = TokenMemory.empty(config)
    for pose in np.random.default_rng(0).uniform([-2, -2, -np.pi], [2, 2, np.pi], (60, 3)):
        memory = cell.update(config, memory, rooms[0].view(pose), as_pose(pose))
    assert (memory.count > 0).all()
    return config, memory


def test_the_same_two_become_one_however_far_off_the_building_lies(
    scattered: tuple[KinaemaConfig, TokenMemory],
) -> None:
    config, memory = scattered
    far = replace(memory, pose=memory.pose + torch.tensor([5000.0, -3000.0, 0.0]))
    here, there = (merge(config, one) for one in (memory, far))
    assert int((here.count == 0).sum()) == 1
    torch.testing.assert_close(there.count, here.count)


def test_the_nearest_is_found_by_distance_and_turn(scattered: tuple[KinaemaConfig, TokenMemory]) -> None:
    config, memory = scattered
    distance, turn = apart(memory.pose[:, None], memory.pose)
    limits = config.fold
    shares = torch.stack([distance / limits.max_distance, 2.0 * (turn / 2.0).sin() / limits.max_angle])
    expected = torch.linalg.vector_norm(shares, dim=0).fill_diagonal_(torch.inf).min(dim=1)
    found, nearest = neighbours(config, memory.pose)
    torch.testing.assert_close(found, expected.values)
    assert torch.equal(nearest, expected.indices)


def test_two_at_one_pose_are_each_other_s_nearest(scattered: tuple[KinaemaConfig, TokenMemory]) -> None:
    config, memory = scattered
    distance, nearest = neighbours(config, memory.pose[[3, 0, 3, 1]])
    assert distance[0] == distance[2] == 0
    assert nearest[[0, 2]].tolist() == [2, 0]


def test_an_update_of_a_full_memory_costs_the_same_however_long_it_was_driven(rooms: list[Landmarks]) -> None:
    """In operations of matrix products, which make up most of it, and in bytes."""
    poses = circle(radius=2.0, steps=40, rounds=3.0)
    memory, costs, sizes = TokenMemory.empty(FULL), [], []
    for pose in poses:
        with FlopCounterMode(display=False) as counter:
            memory = cell.update(FULL, memory, rooms[0].view(pose), as_pose(pose))
        costs.append(counter.get_total_flops())
        sizes.append(memory.num_bytes)
    assert len(set(sizes)) == 1
    assert max(costs[80:]) <= 1.1 * max(costs[30:80])
