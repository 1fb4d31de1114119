"""A camera that looks elsewhere than its mount says is noticed by the way it goes, and one that does not is left alone."""

from __future__ import annotations

import math
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from landmark_support import Landmarks, as_pose

from kinaema_ros import Intrinsics, SpatialMemory, geometry
from kinaema_ros.camera import Mount
from kinaema_ros.model.config import KinaemaConfig
from kinaema_ros.model.course import course
from kinaema_ros.model.mount_check import FEWEST, KEPT, MountCheck, MountError, together
from kinaema_ros.model.se2 import between
from kinaema_ros.paths import default_checkpoint

CONFIG = KinaemaConfig()


class Furnished(Landmarks):
    """Points near and far, as in a room full of things."""

    def __init__(self) -> None:
        super().__init__(number=3000)
        random = torch.Generator().manual_seed(1)
        self.points = (torch.rand(3000, 3, generator=random) - 0.5) * torch.tensor([14.0, 14.0, 3.0])


WORLD = Furnished()


class Views:
    """Stands for a network of which only ``course`` is asked."""

    def course(self, before, after, motion):
        return course(CONFIG, before, after, motion)


def lanes(
    turn: float, slip: float = 1.0, step: float = 0.3, rounds: int = 5
) -> tuple[np.ndarray, np.ndarray]:
    """A robot that drives to and fro, and its odometry: turned by ``turn`` degrees a lane, and all of it ``slip`` times as far."""
    true, odometry = [np.zeros(3)], [np.array([5.0, -3.0, 0.7])]
    for _lane in range(2 * rounds):
        straight = [np.array([step, 0.0, 0.0])] * 12
        for motion in [*straight, np.array([0.0, 0.0, math.pi])]:
            true.append(geometry.compose(true[-1], motion))
            told = motion * [slip, slip, 1.0] + [0.0, 0.0, math.radians(turn) / 12]
            odometry.append(geometry.compose(odometry[-1], told))
    return geometry.compose(np.array([-1.8, 0.0, 0.0]), np.array(true)), np.array(odometry)


def check(poses: np.ndarray, odometry: np.ndarray, off: float, mount: float = 0.0) -> MountCheck:
    """What is found where the camera looks at ``mount`` degrees on the robot, and is said to look ``off`` further to the left."""
    looks, told = (np.array([0.1, 0.0, math.radians(yaw)]) for yaw in (mount, mount + off))
    found = MountCheck()
    for pose, odom in zip(poses, odometry, strict=True):
        view = WORLD.view(geometry.compose(pose, looks), config=CONFIG)
        found.add(view, as_pose(geometry.compose(odom, told)))
        found.look(Views())
    return found


@pytest.mark.parametrize("mount", [0.0, 30.0, 180.0])
@pytest.mark.parametrize("off", [-3.0, 0.0, 2.0])
def test_a_camera_is_seen_to_look_elsewhere_than_its_mount_says(off: float, mount: float) -> None:
    error = check(*lanes(turn=0.0), off, mount).error
    assert error is not None
    assert error.stretches >= FEWEST
    assert math.degrees(error.yaw) == pytest.approx(off, abs=0.25 * abs(off) + 0.4)
    assert error.matters == (off != 0.0)


@pytest.mark.parametrize(("turn", "slip"), [(4.0, 1.0), (-4.0, 1.0), (0.0, 1.05)])
def test_an_odometry_that_drifts_is_not_taken_for_a_camera_that_looks_elsewhere(
    turn: float, slip: float
) -> None:
    error = check(*lanes(turn, slip), off=0.0).error
    assert error is not None
    assert not error.matters


def test_a_robot_that_turns_or_is_seen_too_seldom_tells_nothing() -> None:
    poses, odometry = lanes(turn=0.0)
    assert check(poses[::8], odometry[::8], off=3.0).error is None  # 2.4 m between two views
    angle = np.linspace(0.0, 20.0, 200)
    circle = np.stack([2 * np.sin(angle), -2 * np.cos(angle), angle], axis=-1)
    assert check(circle, circle, off=3.0).error is None


def test_views_of_different_places_tell_no_course() -> None:
    views = [WORLD.view(np.array([0.0, 0.0, yaw]), config=CONFIG) for yaw in (0.0, math.pi)]
    empty = type(views[0]).empty((CONFIG.tokens.view_tokens,), CONFIG.tokens.dim)
    for before, after in ([*views], [views[0], empty], [empty, empty]):
        motion = between(as_pose(np.zeros(3)), as_pose(np.array([0.6, 0.0, 0.0])))
        assert course(CONFIG, before, after, motion) is None


def test_stretches_far_from_the_others_say_nothing_and_few_are_not_enough() -> None:
    rng = np.random.default_rng(0)
    seen = [(float(angle), 0.01) for angle in rng.normal(0.03, 0.01, 40)]
    assert together(seen[: FEWEST - 1]) is None
    error = together(seen + [(1.5, 0.01)] * 10)
    assert error is not None
    assert error.stretches <= 40
    assert error.yaw == pytest.approx(0.03, abs=3 * error.std)
    assert together([(0.0, 0.01)] * FEWEST) == MountError(0.0, 0.0, FEWEST)


def test_it_keeps_the_newest_stretches_and_looks_at_each_once() -> None:
    poses, odometry = lanes(turn=0.0, rounds=12)
    asked = Mock(side_effect=Views().course)
    found = MountCheck()
    for pose, odom in zip(poses, odometry, strict=True):
        found.add(WORLD.view(pose, config=CONFIG), as_pose(odom))
        told = found.look(Mock(course=asked))
        assert told in (None, found.error)
        assert found.look(Mock(course=asked)) is None
    assert asked.call_count == 12 * 2 * 6
    assert len(found._seen) == KEPT


def test_the_remedy_is_the_yaw_that_fits() -> None:
    error = MountError(math.radians(2.0), math.radians(0.2), 40)
    assert "2.0 +- 0.2 degrees further to the right" in str(error)
    assert "(-0.5 degrees)" in error.remedy(Mount(yaw=math.radians(1.5)))
    assert not MountError(math.radians(2.0), math.radians(0.9), 40).matters
    assert not MountError(math.radians(0.8), math.radians(0.1), 40).matters


def test_a_memory_tells_it_and_begins_anew_with_another_mount() -> None:
    memory = SpatialMemory.from_checkpoint(default_checkpoint(), num_embeddings=16)
    camera = Intrinsics.from_hfov(160, 120, math.radians(90))
    memory.set_camera(camera)
    assert memory.mount_error is None
    poses, odometry = lanes(turn=0.0)
    told = np.array([0.0, 0.0, math.radians(2.0)])
    views = iter([WORLD.view(pose, config=CONFIG) for pose in poses])
    memory._network.view = lambda rgb, camera, mount: next(views)
    memory.set_camera(camera, Mount(yaw=float(told[2])))
    with torch.inference_mode():
        for odom in odometry:
            memory.update(np.zeros((120, 160, 3), np.uint8), odom)
            memory.check_mount()
    assert memory.mount_error is not None
    assert memory.mount_error.matters
    memory.set_camera(camera, Mount(yaw=float(told[2])))
    assert memory.mount_error is not None
    memory.set_camera(camera, Mount())
    assert memory.mount_error is None
