"""A saved memory in a robot whose odometry starts anew: it localises first, and writes nothing wrong meanwhile."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from kinaema_ros import SpatialMemory, geometry
from kinaema_ros.memory import NotLocalizedError
from kinaema_ros.metrics import pose_errors
from kinaema_ros.paths import default_checkpoint
from kinaema_ros.sim import SceneConfig, explore, generate_scene, render

HOUSE, ELSEWHERE = 20261122, 7  # seeds of two buildings
FIRST_DRIVE = 60  # frames


def new_memory() -> SpatialMemory:
    return SpatialMemory.from_checkpoint(default_checkpoint())


def drive(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """True poses (T, 3) and images (T, H, W, 3)."""
    scene = generate_scene(seed, SceneConfig(size_min=8, size_max=10, texture_seed=4242))
    poses = explore(scene, np.random.default_rng(seed), FIRST_DRIVE)
    return poses, render(scene, poses)


@pytest.fixture(scope="module")
def house() -> tuple[np.ndarray, np.ndarray]:
    return drive(HOUSE)


@pytest.fixture(scope="module")
def saved(house: tuple[np.ndarray, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    memory = new_memory()
    for pose, rgb in zip(*house, strict=True):
        memory.update(rgb, pose)
    path = tmp_path_factory.mktemp("memory") / "house.safetensors"
    memory.save(path)
    return path


def test_a_restarted_robot_finds_itself_and_goes_on(
    house: tuple[np.ndarray, np.ndarray], saved: Path
) -> None:
    poses, images = house
    odom_T_map = geometry.inverse(poses[20])  # the odometry is zero where the robot was at frame 20
    memory = new_memory()
    memory.load(saved, localize=True)
    assert not memory.localized
    assert "agreeing views; turn or drive on" in memory.missing
    with pytest.raises(NotLocalizedError, match="does not know yet where the robot is: 0 of"):
        memory.locate(images[0])
    updates = memory.num_updates
    for number in range(20, 45):
        memory.update(images[number], geometry.compose(odom_T_map, poses[number]))
        if memory.localized:
            break
        assert memory.num_updates == updates  # nothing is written
    assert memory.localized
    assert memory.num_updates == updates + 1
    for before in (0, 10, 50):
        estimate = memory.locate(images[before])
        error, turn = pose_errors(estimate.pose, geometry.between(poses[number], poses[before]))
        assert error < 0.3
        assert turn < math.radians(5.0)
        np.testing.assert_allclose(estimate.odom_pose, geometry.compose(odom_T_map, poses[before]), atol=0.3)


def test_a_robot_in_another_building_is_never_localized(saved: Path) -> None:
    poses, images = drive(ELSEWHERE)
    memory = new_memory()
    memory.load(saved, localize=True)
    before = memory.num_updates
    for pose, rgb in zip(poses[:40], images, strict=False):
        memory.update(rgb, pose)
    assert not memory.localized
    assert memory.num_updates == before


def test_reset_and_a_plain_load_end_the_search(saved: Path) -> None:
    memory = new_memory()
    memory.load(saved, localize=True)
    memory.load(saved)
    assert memory.localized
    memory.load(saved, localize=True)
    memory.reset()
    assert memory.localized
    assert memory.num_updates == 0


def test_an_empty_memory_has_nothing_to_find(tmp_path: Path, house: tuple[np.ndarray, np.ndarray]) -> None:
    memory = new_memory()
    memory.save(tmp_path / "empty.safetensors")
    memory.load(tmp_path / "empty.safetensors", localize=True)
    assert memory.localized
    memory.update(house[1][0], house[0][0])
    assert memory.num_updates == 1
