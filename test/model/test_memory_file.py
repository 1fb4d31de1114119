"""What a saved memory keeps beside its embeddings: the camera, and of which odometry it is."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kinaema_ros import SpatialMemory, geometry
from kinaema_ros.camera import Intrinsics, Mount
from kinaema_ros.errors import InputError
from kinaema_ros.memory import OdomFrameError
from kinaema_ros.memory_file import FORMAT, VERSION
from kinaema_ros.model.checkpoint import CheckpointError, read_tensors, write_tensors
from kinaema_ros.odometry import OdomFrame
from kinaema_ros.paths import default_checkpoint

LENS = Intrinsics(160, 120, 91.5, 90.25, 79.1, 60.3, "plumb_bob", (-0.2, 0.03, 0.001, 0.0, 0.0))
MOUNT = Mount(0.15, -0.05, 0.75, 1.2, 0.12, math.pi)
ODOM = OdomFrame("ant/odom", (3.5, -2.0, 1.25), "first")


def new_memory(num_embeddings: int | None = None) -> SpatialMemory:
    return SpatialMemory.from_checkpoint(default_checkpoint(), num_embeddings=num_embeddings)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    memory = new_memory()
    memory.set_camera(LENS, MOUNT)
    memory.update(np.zeros((120, 160, 3), dtype=np.uint8), (1.0, 2.0, 0.5))
    memory.save(tmp_path / "home.safetensors", ODOM)
    return tmp_path / "home.safetensors"


def rewrite(path: Path, **changes: Any) -> None:
    """The file with other metadata, and a hash that fits; None: without that key."""
    tensors, metadata = read_tensors(path, FORMAT, VERSION)
    del metadata["sha256"]
    metadata.update(changes)
    write_tensors(path, tensors, {key: value for key, value in metadata.items() if value is not None})


def test_camera_mount_and_odometry_come_back(saved: Path) -> None:
    memory = new_memory()
    assert memory.load(saved) == ODOM
    assert (memory.camera, memory.mount) == (LENS, MOUNT)


def test_a_robot_with_a_camera_of_its_own_keeps_it(saved: Path) -> None:
    memory, own = new_memory(), Intrinsics.from_hfov(640, 480, 1.2)
    memory.set_camera(own, Mount(z=0.3))
    memory.load(saved, localize=True)
    assert (memory.camera, memory.mount) == (own, Mount(z=0.3))


def test_a_memory_that_nobody_told_a_camera_saves_none(tmp_path: Path) -> None:
    new_memory().save(tmp_path / "empty.safetensors")
    memory = new_memory()
    assert memory.load(tmp_path / "empty.safetensors") is None
    assert memory.camera is None


@pytest.mark.parametrize("says", [{"localized": False}, {}])
def test_a_memory_that_did_not_know_where_the_robot_was_looks_for_it(saved: Path, says: dict) -> None:
    memory = new_memory()
    memory.load(saved)
    if says:
        memory.localize()
        memory.save(saved, ODOM)
    else:  # a file of before says nothing of it
        robot = read_tensors(saved, FORMAT, VERSION)[1]["robot"]
        rewrite(saved, robot={key: value for key, value in robot.items() if key != "localized"})
    again = new_memory()
    assert again.load(saved, odom_frame="other" if says else "") == ODOM
    assert again.localized is not bool(says)


def test_another_mount_is_no_motion_of_the_camera(saved: Path) -> None:
    memory = new_memory()
    memory.load(saved)
    before = memory.localization()
    memory.set_camera(LENS, replace(MOUNT, yaw=MOUNT.yaw + 0.2, x=MOUNT.x + 0.1))
    memory.update(np.zeros((120, 160, 3), dtype=np.uint8), (1.0, 2.0, 0.5))  # where the robot was
    after = memory.localization()
    assert before is not None
    assert after is not None
    camera = [
        geometry.compose(one.pose, mount.planar) for one, mount in ((before, MOUNT), (after, memory.mount))
    ]
    np.testing.assert_allclose(camera[1], camera[0], atol=1e-6)
    np.testing.assert_allclose(after.odom_pose, before.odom_pose, atol=1e-6)


def test_files_of_before_still_load(saved: Path) -> None:
    rewrite(saved, robot=None)
    memory = new_memory()
    assert memory.load(saved, odom_frame="odom") is None
    assert memory.num_updates == 1
    assert memory.camera is None


@pytest.mark.parametrize("localize", [False, True])
def test_a_saved_memory_gets_the_room_of_the_larger_one_that_loads_it(saved: Path, localize: bool) -> None:
    memory = new_memory(600)
    size = memory.state_bytes
    assert 1500 < (size - new_memory().state_bytes) / 88 < 2200  # bytes an embedding
    assert memory.load(saved, localize=localize) == ODOM
    assert memory.localized is not localize
    assert (memory.num_updates, len(memory.viewpoints), memory.state_bytes) == (1, 1, size)
    memory.save(saved)
    again = new_memory(600)
    again.load(saved)
    assert again.num_updates == 1


def test_a_memory_that_has_no_room_for_a_saved_one_says_so_and_stays(saved: Path) -> None:
    memory = new_memory(64)
    memory.update(np.zeros((120, 160, 3), dtype=np.uint8), (0.0, 0.0, 0.0))
    before, file = memory._state, saved.read_bytes()
    with pytest.raises(
        CheckpointError,
        match=r"512 embeddings, for which this one of 64 has no room.*num_embeddings .* to 512",
    ):
        memory.load(saved)
    assert memory._state is before
    assert saved.read_bytes() == file


@pytest.mark.parametrize("number", [-1, 0, 15, 65537])
def test_a_number_of_embeddings_that_makes_no_memory_is_refused(number: int) -> None:
    with pytest.raises(InputError, match=rf"num_embeddings is {number}, must be in \[16, 65536\]"):
        new_memory(number)


@pytest.mark.parametrize("localize", [False, True])
def test_odometry_of_another_frame_is_told_unless_the_robot_is_looked_for(
    saved: Path, localize: bool
) -> None:
    memory = new_memory()
    memory.load(saved, odom_frame="ant/odom")
    before = memory._state
    if localize:
        assert memory.load(saved, localize=True, odom_frame="bee/odom") == ODOM
        return
    with pytest.raises(
        OdomFrameError,
        match=r"in the frame 'ant/odom', and now it comes in 'bee/odom'.*load it with localize",
    ):
        memory.load(saved, odom_frame="bee/odom")
    assert memory._state is before


@pytest.mark.parametrize(
    "robot",
    [
        "nothing",
        {"camera": None},
        {"camera": {"width": 0}, "mount": None, "odom": None},
        {"camera": {**vars(LENS), "fx": math.nan}, "mount": None, "odom": None},
        {"camera": {**vars(LENS), "distortion_model": "wavy"}, "mount": None, "odom": None},
        {"camera": None, "mount": {**vars(MOUNT), "z": math.inf}, "odom": None},
        {"camera": None, "mount": None, "odom": {**vars(ODOM), "name": "n" * 300}},
        {"camera": None, "mount": None, "odom": {**vars(ODOM), "memory_T_odom": [0.0, math.nan, 0.0]}},
        {"camera": None, "mount": None, "odom": {**vars(ODOM), "memory_T_odom": [0.0]}},
    ],
)
def test_a_camera_or_odometry_that_cannot_be_is_refused(saved: Path, robot: Any) -> None:
    rewrite(saved, robot=robot)
    with pytest.raises(CheckpointError, match="not written by this program"):
        new_memory().load(saved)
