"""Named places of SpatialMemory, with the shipped checkpoint: here, by a photo, by a pose; saved, loaded and localised."""

from __future__ import annotations

import math
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from kinaema_ros import SpatialMemory, geometry
from kinaema_ros.camera import Mount
from kinaema_ros.errors import InputError, NoSuchPlaceError, UnsurePlaceError
from kinaema_ros.memory import EmptyMemoryError, NotLocalizedError
from kinaema_ros.memory_file import FORMAT, VERSION
from kinaema_ros.metrics import pose_errors
from kinaema_ros.model.checkpoint import read_tensors, write_tensors
from kinaema_ros.paths import default_checkpoint
from kinaema_ros.sim import SceneConfig, explore, generate_scene, render

HOUSE, ELSEWHERE = 20261122, 7  # seeds of two buildings
FRAMES, SEEN = 60, 40  # frames of the drive, and those of them that go into the memory
DESK, SOFA, DOOR = 10, 25, 32  # frames
Drive = tuple[np.ndarray, np.ndarray]


def drive(seed: int, frames: int) -> Drive:
    """True poses (T, 3) and images (T, H, W, 3)."""
    scene = generate_scene(seed, SceneConfig(size_min=8, size_max=10, texture_seed=4242))
    poses = explore(scene, np.random.default_rng(seed), frames)
    return poses, render(scene, poses)


@pytest.fixture(scope="module")
def house() -> Drive:
    return drive(HOUSE, FRAMES)


def new_memory() -> SpatialMemory:
    return SpatialMemory.from_checkpoint(default_checkpoint())


def remember(memory: SpatialMemory, house: Drive, places: bool = True) -> None:
    for number, (pose, rgb) in enumerate(zip(*house, strict=True)):
        memory.update(rgb, pose)
        if number == DESK and places:
            assert memory.add_place("desk") is False
        if number == SEEN:
            break


@pytest.fixture(scope="module")
def saved(house: Drive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A memory with a desk (added there), a sofa (by a photo) and a door (by its pose)."""
    memory = new_memory()
    remember(memory, house)
    assert memory.add_place("sofa", house[1][SOFA]) is False
    assert memory.add_place("door", odom_pose=house[0][DOOR]) is False
    path = tmp_path_factory.mktemp("memory") / "house.safetensors"
    memory.save(path)
    return path


@pytest.fixture
def memory(saved: Path) -> SpatialMemory:
    memory = new_memory()
    memory.load(saved)
    return memory


def assert_near(pose: object, truth: np.ndarray, metres: float = 0.15) -> None:
    error, turn = pose_errors(pose, truth)
    assert error < metres
    assert turn < math.radians(5.0)


def test_places_lie_where_they_were_added_also_after_saving_and_loading(memory: SpatialMemory, house: Drive):
    assert list(memory.places) == ["desk", "door", "sofa"]
    for name, frame in (("desk", DESK), ("sofa", SOFA), ("door", DOOR)):
        estimate = memory.locate_place(name)
        assert_near(estimate.pose, geometry.between(house[0][SEEN], house[0][frame]))
        assert_near(estimate.odom_pose, house[0][frame])
        assert estimate.seen == 1.0
        assert 0.5 < estimate.confidence <= 1.0
        assert (np.linalg.eigvalsh(estimate.covariance) > 0).all()
        assert math.sqrt(estimate.covariance[0, 0]) < 0.5
        assert estimate.num_updates == memory.num_updates
        assert memory.places[name].in_memory
        np.testing.assert_allclose(memory.places[name].pose, estimate.odom_pose)


def test_a_place_by_a_photo_is_as_sure_as_the_photo(memory: SpatialMemory, house: Drive):
    photo, place = memory.locate(house[1][SOFA]), memory.locate_place("sofa")
    np.testing.assert_allclose(place.pose, photo.pose, atol=1e-6)
    np.testing.assert_allclose(place.covariance, photo.covariance, atol=2e-3)
    assert photo.confidence - 0.05 < place.confidence <= photo.confidence


def test_a_photo_that_is_not_recognised_adds_nothing(memory: SpatialMemory):
    _, strange = drive(ELSEWHERE, 3)
    for photo in strange:
        with pytest.raises(UnsurePlaceError, match=r"probably not in memory|not sure enough"):
            memory.add_place("nowhere", photo)
    with pytest.raises(InputError, match="uint8"):
        memory.add_place("nowhere", np.zeros((4, 4)))
    assert "nowhere" not in memory.places


def test_a_name_that_exists_is_replaced_and_that_is_told(memory: SpatialMemory, house: Drive):
    assert memory.add_place("  desk ", odom_pose=house[0][DOOR]) is True
    assert_near(memory.locate_place("desk").odom_pose, house[0][DOOR])
    assert len(memory.places) == 3
    memory.remove_place("desk")
    assert list(memory.places) == ["door", "sofa"]
    for ask in (memory.remove_place, memory.locate_place):
        with pytest.raises(NoSuchPlaceError, match=r"no place 'desk'; of the places there are: door, sofa"):
            ask("desk")


def test_the_mount_counts_a_place_is_where_the_robots_base_was(house: Drive):
    mount, memory = Mount(x=0.3, y=0.1, yaw=0.5), new_memory()
    camera = memory._own_camera(house[1][0])
    memory.set_camera(camera, mount)
    bases = geometry.compose(house[0], geometry.inverse(mount.planar))
    for number in range(12):
        memory.update(house[1][number], bases[number])
        if number == 4:
            memory.add_place("desk")
    assert_near(memory.locate_place("desk").odom_pose, bases[4], 0.1)
    assert_near(memory.locate_place("desk").pose, geometry.between(bases[11], bases[4]), 0.1)


def test_a_restarted_robot_knows_its_places_once_it_knows_where_it_is(saved: Path, house: Drive):
    poses, images = house
    odom_T_map = geometry.inverse(poses[20])
    memory = new_memory()
    memory.load(saved, localize=True)
    assert list(memory.places) == ["desk", "door", "sofa"]
    assert memory.places["desk"].pose is None
    for ask in (memory.locate_place, memory.add_place):
        with pytest.raises(NotLocalizedError, match="does not know yet where the robot is"):
            ask("desk")
    memory.remove_place("door")  # a name can go at any time
    for number in range(20, SEEN):
        memory.update(images[number], geometry.compose(odom_T_map, poses[number]))
        if memory.localized:
            break
    assert list(memory.places) == ["desk", "sofa"]
    for name, frame in (("desk", DESK), ("sofa", SOFA)):
        assert_near(memory.locate_place(name).odom_pose, geometry.compose(odom_T_map, poses[frame]), 0.3)


def test_a_file_that_lacks_a_part_of_the_places_is_refused(saved: Path, tmp_path: Path):
    part = tmp_path / "part.safetensors"
    tensors, metadata = read_tensors(saved, FORMAT, VERSION)
    del metadata["sha256"]
    write_tensors(part, {n: t for n, t in tensors.items() if n != "places.name"}, metadata)
    with pytest.raises(InputError, match=r"'places.name' is missing"):
        new_memory().load(part)


def test_a_reset_forgets_the_places_and_an_empty_memory_takes_none(memory: SpatialMemory):
    size = memory.state_bytes
    memory.reset()
    assert memory.places == {}
    assert memory.state_bytes == size
    with pytest.raises(EmptyMemoryError, match="drive the robot"):
        memory.add_place("here")


def test_a_kind_of_memory_that_keeps_no_places_says_so(memory: SpatialMemory):
    memory._state = Mock(updates=3, robot=memory._state.robot, odometry=memory._state.odometry)
    assert memory.places == {}
    for ask in (memory.add_place, memory.locate_place, memory.remove_place):
        with pytest.raises(InputError, match="this kind of memory keeps no named places"):
            ask("desk")
