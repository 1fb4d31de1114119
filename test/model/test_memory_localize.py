"""A saved memory in a robot whose odometry starts anew: it localises first, and writes nothing wrong meanwhile."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from kinaema_ros import SpatialMemory, geometry
from kinaema_ros.camera import Mount
from kinaema_ros.memory import NotLocalizedError
from kinaema_ros.metrics import pose_errors
from kinaema_ros.paths import default_checkpoint
from kinaema_ros.sim import Camera, SceneConfig, explore, generate_scene, render
from kinaema_ros.training.drives import intrinsics

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


def drive_on(
    memory: SpatialMemory,
    house: tuple[np.ndarray, np.ndarray],
    at: int,
    frames: range,
    first: int | None = None,
) -> int | None:
    """The robot, lifted at frame ``at`` to ``first`` of ``frames``, drives on; its odometry knows nothing of the lift.

    Returns the frame at which the lift was noticed.
    """
    poses, images = house
    first = frames[0] if first is None else first
    for number in frames:
        odometry = geometry.compose(poses[at], geometry.between(poses[first], poses[number]))
        memory.update(images[number], odometry)
        if memory.num_lifts:
            return number
    return None


def test_a_lift_that_odometry_does_not_notice_is_noticed_and_nothing_wrong_is_kept(
    house: tuple[np.ndarray, np.ndarray], saved: Path
) -> None:
    poses, images = house
    at, there = FIRST_DRIVE - 1, 15
    assert np.hypot(*(poses[at] - poses[there])[:2]) > 3.0
    memory = new_memory()
    memory.load(saved)
    before = memory._state
    noticed = drive_on(memory, house, at, range(there, there + 25))
    assert noticed is not None
    after = memory._state
    assert int(after.updates) == int(before.updates) + 1  # the view by which it was noticed
    there_before = before.count > 0
    np.testing.assert_array_equal(after.pose[there_before], before.pose[there_before])
    added = (after.count > 0) & ~there_before
    assert int(added.sum()) == 1
    true = geometry.between(poses[0], poses[noticed])
    for pose in (after.robot.numpy(), after.pose[added].numpy()[0]):
        error, turn = pose_errors(pose, true)
        assert error < 0.3
        assert turn < math.radians(5.0)
    estimate = memory.locate(images[5])
    error, _ = pose_errors(estimate.pose, geometry.between(poses[noticed], poses[5]))
    assert error < 0.3


def test_what_is_written_in_doubt_is_not_saved_once_views_say_that_the_robot_is_elsewhere(
    house: tuple[np.ndarray, np.ndarray], saved: Path, tmp_path: Path
) -> None:
    memory, again = new_memory(), new_memory()
    memory.load(saved)
    before, frames = memory._state, range(15, 40)
    for number in frames:
        drive_on(memory, house, FIRST_DRIVE - 1, range(number, number + 1), frames[0])
        assert memory.num_lifts == 0
        memory.save(tmp_path / "doubted.safetensors")
        again.load(tmp_path / "doubted.safetensors")
        if not again.localized:
            break
        assert again.num_updates == memory.num_updates  # a bare wall makes doubt, too
    assert not again.localized
    assert memory.num_updates > int(before.updates)  # written by an odometry that is wrong
    assert again.num_updates == int(before.updates)
    np.testing.assert_array_equal(again._state.pose.numpy(), before.pose.numpy())


def name_places(memory: SpatialMemory, odometry: np.ndarray, photo: np.ndarray) -> None:
    memory.add_place("here")
    memory.add_place("pointed at", odom_pose=odometry)
    memory.add_place("photo", photo)


def assert_named(memory: SpatialMemory, robot: np.ndarray, true: dict[str, np.ndarray]) -> None:
    """true: poses (3,) of the places, and robot (3,), in one frame."""
    assert memory.places.keys() == true.keys()
    for name, pose in true.items():
        error, turn = pose_errors(memory.locate_place(name).pose, geometry.between(robot, pose))
        assert error < 0.35, name
        assert turn < math.radians(6.0), name


def test_places_that_are_named_while_the_memory_doubts_where_it_is_are_kept_where_they_are(
    house: tuple[np.ndarray, np.ndarray], saved: Path
) -> None:
    poses, images = house
    at, there = FIRST_DRIVE - 1, 15
    memory = new_memory()
    memory.load(saved)
    memory.add_place("gone", odom_pose=poses[at])
    memory.add_place("pointed at", odom_pose=poses[at])
    named = None
    for number in range(there, there + 25):
        odometry = geometry.compose(poses[at], geometry.between(poses[there], poses[number]))
        memory.update(images[number], odometry)
        if memory.num_lifts:
            break
        if named is None and memory._seeking is not None:
            named = number
            name_places(memory, odometry, images[5])
            memory.add_place("not any more")
            memory.remove_place(" not any more ")
            memory.remove_place("gone")
    assert memory.num_lifts == 1
    assert named is not None
    assert named < number
    true = {"here": poses[named], "pointed at": poses[named], "photo": poses[5]}
    assert_named(memory, poses[number], true)
    assert memory.locate_place("here").confidence > 0.5


def test_places_that_are_named_before_an_anchor_is_given_up_are_known_again_with_the_next_one(
    house: tuple[np.ndarray, np.ndarray], saved: Path
) -> None:
    poses, images = house
    odom_T_map = geometry.inverse(poses[20])
    memory = new_memory()
    memory.load(saved, localize=True)
    named = None
    for number in range(20, FIRST_DRIVE):
        odometry = geometry.compose(odom_T_map, poses[number])
        memory.update(images[number], odometry)
        if not memory.localized:
            continue
        if named is not None:
            break
        named = number
        name_places(memory, odometry, images[5])
        assert memory._seeking is not None
        memory._seeking._anchoring = type(memory._seeking._anchoring)(memory._seeking.asked.viewpoints)
        assert not memory.localized  # as where the next views contradict the anchor
    assert named is not None
    assert named < number
    assert memory.localized
    assert_named(memory, poses[number], {"here": poses[named], "pointed at": poses[named], "photo": poses[5]})


def test_somebody_in_front_of_the_camera_makes_no_lift(
    house: tuple[np.ndarray, np.ndarray],
) -> None:
    poses, images = house
    memory = new_memory()
    for number, (pose, rgb) in enumerate(zip(poses, images, strict=True)):
        hidden = 30 <= number < 34
        memory.update(np.full_like(rgb, 40) if hidden else rgb, pose)
        assert memory.localized
        if number == 32:
            memory.add_place("passer-by")
    assert memory.num_lifts == 0
    assert memory.num_updates == FIRST_DRIVE
    assert_named(memory, poses[-1], {"passer-by": poses[32]})


@pytest.mark.parametrize("second_is_low", [True, False])
def test_another_robot_finds_itself_in_the_memory_of_one_with_another_camera(
    house: tuple[np.ndarray, np.ndarray], tmp_path: Path, second_is_low: bool
) -> None:
    poses, _ = house
    scene = generate_scene(HOUSE, SceneConfig(size_min=8, size_max=10, texture_seed=4242))
    low = Camera(320, 240, math.radians(90.0), z=0.3)
    high = Camera(640, 360, math.radians(69.0), z=1.0)
    first, second = (high, low) if second_is_low else (low, high)
    memory = new_memory()
    memory.set_camera(intrinsics(first), Mount(z=first.z))
    for pose, rgb in zip(poses, render(scene, poses, first), strict=True):
        memory.update(rgb, pose)
    memory.save(tmp_path / "first.safetensors")

    robot, begin = new_memory(), 20
    robot.set_camera(intrinsics(second), Mount(z=second.z))
    robot.load(tmp_path / "first.safetensors", localize=True)
    for number in range(begin, FIRST_DRIVE):
        rgb = render(scene, poses[number : number + 1], second)[0]
        robot.update(rgb, geometry.between(poses[begin], poses[number]))
        if robot.localized:
            break
    assert robot.localized
    error, turn = pose_errors(robot._state.robot.numpy(), geometry.between(poses[0], poses[number]))
    assert error < 0.3
    assert turn < math.radians(5.0)
