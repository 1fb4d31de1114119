"""Places with names in a memory of landmarks: they move with their embeddings, and say when these are gone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from landmark_support import CONFIG, Landmarks, as_pose, circle

from kinaema_ros import geometry
from kinaema_ros.errors import ForgottenPlaceError, InputError, NoSuchPlaceError
from kinaema_ros.model import cell, place_poses
from kinaema_ros.model.network import Kinaema
from kinaema_ros.model.places import MAX_PLACES, Places, checked_name
from kinaema_ros.model.token_memory import TokenMemory

NETWORK = Kinaema(CONFIG)


@pytest.fixture(scope="module")
def room() -> Landmarks:
    return Landmarks()


def drifting(poses: np.ndarray) -> list[np.ndarray]:
    """Odometry of wheels that measure too much."""
    odometry = [poses[0]]
    for step in geometry.between(poses[:-1], poses[1:]):
        odometry.append(geometry.compose(odometry[-1], step * [1.01, 1.0, 1.02]))
    return odometry


def off(memory: TokenMemory, name: str, robot_T_place: np.ndarray) -> float:
    """Metres and radians between where the memory says that a place lies from the robot, and where it does."""
    there = place_poses.poses(memory)[memory.places.row(name)]
    gap = geometry.between(geometry.between(memory.robot.numpy(), there.numpy()), robot_T_place)
    return float(np.hypot(gap[0], gap[1]) + abs(gap[2]))


def test_a_place_moves_with_the_memory_when_drift_is_corrected(room: Landmarks) -> None:
    poses, place = circle(rounds=2.0), 36  # named near the end of the first round
    memory = TokenMemory.empty(CONFIG)
    told = drifting(poses)
    for number, (true, odometry) in enumerate(zip(poses, told, strict=True)):
        memory = cell.update(CONFIG, memory, room.view(true), as_pose(odometry))
        if number == place:
            memory = place_poses.add(NETWORK, memory, "desk", memory.robot)
            named = memory.robot.numpy()
    truth = geometry.between(poses[-1], poses[place])
    by_odometry = geometry.between(told[-1], told[place])
    gap = geometry.between(by_odometry, truth)
    drifted = np.hypot(gap[0], gap[1]) + abs(gap[2])
    assert off(memory, "desk", truth) < 0.5 * drifted
    there = place_poses.poses(memory)[memory.places.row("desk")].numpy()
    assert np.abs(there - named).max() > 0.01, "it has moved from where it was put"
    assert bool(place_poses.in_memory(memory)[memory.places.row("desk")])


def test_a_place_goes_along_when_embeddings_become_one(room: Landmarks) -> None:
    config = replace(CONFIG, num_embeddings=12)  # far fewer than views: most are merged
    memory = TokenMemory.empty(config)
    poses = circle(rounds=1.5)
    for number, pose in enumerate(poses):
        memory = cell.update(config, memory, room.view(pose), as_pose(pose))
        if number == 5:
            memory = place_poses.add(NETWORK, memory, "desk", memory.robot)
            slot = int(memory.places.embedding[0])
    assert int(memory.places.embedding[0]) != slot, "the embedding has become part of another"
    assert float(memory.count[memory.places.embedding[0]]) > 1
    assert off(memory, "desk", geometry.between(poses[-1], poses[5])) < 0.1


def test_a_place_whose_surroundings_are_gone_says_so(room: Landmarks) -> None:
    memory = TokenMemory.empty(CONFIG)
    for pose in circle()[:4]:
        memory = cell.update(CONFIG, memory, room.view(pose), as_pose(pose))
    memory = place_poses.add(NETWORK, memory, "desk", memory.robot)
    row = memory.places.row("desk")
    assert place_poses.locate(NETWORK, memory, "desk").seen == 1.0
    elsewhere = memory.pose + torch.tensor([2.0 * place_poses.SURROUNDINGS, 0.0, 0.0])
    merged_far_off = replace(
        memory,
        pose=elsewhere,
        places=replace(
            memory.places,
            embedding_T_place=memory.places.embedding_T_place
            + torch.tensor([-2.0 * place_poses.SURROUNDINGS, 0.0, 0.0]),
        ),
    )
    forgotten = replace(memory, count=torch.zeros_like(memory.count))
    for gone in (merged_far_off, forgotten):
        assert not bool(place_poses.in_memory(gone)[row])
        with pytest.raises(ForgottenPlaceError, match="no longer in memory"):
            place_poses.locate(NETWORK, gone, "desk")


def test_a_place_far_from_all_that_was_seen_is_refused(room: Landmarks) -> None:
    memory = cell.update(CONFIG, TokenMemory.empty(CONFIG), room.view(circle()[0]), as_pose(np.zeros(3)))
    with pytest.raises(InputError, match=r"never within 3 m of there.*choose a place that it has seen"):
        place_poses.add(NETWORK, memory, "moon", as_pose(np.array([40.0, 0.0, 0.0])))


def test_drift_makes_a_place_less_sure(room: Landmarks) -> None:
    memory = TokenMemory.empty(CONFIG)
    for pose in circle()[:3]:
        memory = cell.update(CONFIG, memory, room.view(pose), as_pose(pose))
    memory = place_poses.add(NETWORK, memory, "desk", memory.robot)
    near = place_poses.locate(NETWORK, memory, "desk")
    assert near.confidence > 0.99
    far = cell.follow(CONFIG, memory, memory.odometry + as_pose(np.array([500.0, 0.0, 0.0])))
    answer = place_poses.locate(NETWORK, far, "desk")
    assert answer.covariance is not None
    assert near.covariance is not None
    assert float(answer.covariance[0, 0]) > 10.0 * float(near.covariance[0, 0])
    assert answer.confidence < 0.9


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("kitchen", "kitchen"),
        ("  sofa ", "sofa"),
        ("Ku\u0308che", "Küche"),
        ("台所", "台所"),
        ("🛋" * 64, "🛋" * 64),
    ],
)
def test_names_are_kept_composed_and_without_blanks_around(given: str, kept: str) -> None:
    assert checked_name(given) == kept
    places = put(Places.empty(), given)
    assert places.rows() == {kept: 0}
    assert places.row(given) == 0


@pytest.mark.parametrize("name", ["", "  ", "x" * 65, "a\nb", "a\x00b", "\x1b[2J", "a\u2028b", "\ud800"])
def test_names_that_are_none_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"1 to 64 characters|control character"):
        checked_name(name)


def put(places: Places, name: str) -> Places:
    zeros = torch.zeros(3, dtype=torch.float64)
    return places.put(checked_name(name), torch.tensor(0), zeros, torch.diag(zeros), 1.0)


def test_a_name_that_exists_is_given_to_the_new_place_and_a_removed_one_is_free() -> None:
    places = put(put(put(Places.empty(), "Küche"), "desk"), "Ku\u0308che")
    assert places.rows() == {"Küche": 0, "desk": 1}
    places = put(places.without(0), "sofa")
    assert places.rows() == {"sofa": 0, "desk": 1}
    with pytest.raises(NoSuchPlaceError, match=r"no place 'Küche'; of the places there are: desk, sofa"):
        places.row("Küche")


def test_a_memory_holds_so_many_places_and_not_one_more() -> None:
    places = Places.empty()
    size = sum(tensor.nbytes for tensor in vars(places).values())
    for number in range(MAX_PLACES):
        places = put(places, f"place {number}")
    assert sum(tensor.nbytes for tensor in vars(places).values()) == size
    with pytest.raises(InputError, match="no room for more; remove one"):
        put(places, "one more")
    assert len(put(places, "place 7").rows()) == MAX_PLACES


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", 0xFF), ("name", 0x0A), ("covariance", -1.0)],
    ids=["no UTF-8", "a line's end", "no covariance"],
)
def test_places_that_no_program_wrote_are_refused(field: str, value: float) -> None:
    places = put(put(Places.empty(), "desk"), "sofa")
    getattr(places, field)[0].view(-1)[0] = value
    with pytest.raises(InputError):
        places.check()
    twice = replace(places, name=places.name[1:].repeat(2, 1)[:MAX_PLACES])
    with pytest.raises(InputError):
        twice.check()
