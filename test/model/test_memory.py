"""SpatialMemory: what it promises to callers, with the shipped checkpoint and a drive it has never seen."""

import math
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kinaema_ros import Intrinsics, SpatialMemory, geometry
from kinaema_ros.errors import KinaemaError
from kinaema_ros.memory import EmptyMemoryError
from kinaema_ros.model.cell import MemoryState, follow
from kinaema_ros.model.checkpoint import CheckpointError
from kinaema_ros.sim import Camera, SceneConfig, explore, generate_scene, render, sample_viewpoints

CHECKPOINT = Path(__file__).resolve().parents[2] / "models" / "kinaema.safetensors"
FRAMES, QUERIES = 48, 24


@dataclass
class Drive:
    images: np.ndarray  # (FRAMES, H, W, 3)
    poses: np.ndarray  # (FRAMES, 3) true, here also the odometry
    queries: np.ndarray  # (QUERIES, H, W, 3)
    query_poses: np.ndarray  # (QUERIES, 3)


def make_drive(seed: int) -> Drive:
    rng = np.random.default_rng(seed)
    scene = generate_scene(seed, SceneConfig(size_min=8, size_max=10, texture_seed=4242))
    poses = explore(scene, rng, FRAMES)
    views, _ = sample_viewpoints(scene, rng, poses, QUERIES)
    images = render(scene, np.concatenate([poses, views]), Camera())
    return Drive(images[:FRAMES], poses, images[FRAMES:], views)


@pytest.fixture(scope="module")
def drive() -> Drive:
    return make_drive(20261122)


@pytest.fixture(scope="module")
def driven(drive) -> SpatialMemory:
    """A memory after the drive; tests that change it make their own."""
    memory = SpatialMemory.from_checkpoint(CHECKPOINT)
    remember(memory, drive)
    return memory


def remember(
    memory: SpatialMemory, drive: Drive, odom_T_world: np.ndarray | None = None, frames: int = FRAMES
) -> None:
    for image, pose in zip(drive.images[:frames], drive.poses[:frames], strict=True):
        memory.update(image, pose if odom_T_world is None else geometry.compose(odom_T_world, pose))


def poses_of(memory: SpatialMemory, drive: Drive, count: int) -> np.ndarray:
    return np.array([memory.locate(query).pose for query in drive.queries[:count]])


def assert_same_poses(a: np.ndarray, b: np.ndarray, tolerance: float) -> None:
    np.testing.assert_allclose(a[:, :2], b[:, :2], atol=tolerance)
    np.testing.assert_allclose(geometry.wrap_angle(a[:, 2] - b[:, 2]), 0.0, atol=tolerance)


def test_places_of_an_unseen_scene_are_found(drive, driven):
    truth = geometry.between(drive.poses[-1], drive.query_poses)
    error = poses_of(driven, drive, QUERIES) - truth
    distance = np.linalg.norm(error[:, :2], axis=1)
    angle = np.degrees(np.abs(geometry.wrap_angle(error[:, 2])))
    assert np.mean((distance < 1.0) & (angle < 20.0)) >= 0.75


def test_a_place_of_another_scene_is_not_taken_for_seen(drive, driven):
    strange = make_drive(7)
    here = np.median([driven.locate(image).seen for image in drive.queries])
    elsewhere = np.median([driven.locate(image).seen for image in strange.queries])
    assert here > 0.8
    assert elsewhere < 0.2


def test_the_covariance_is_one(driven, drive):
    covariance = driven.locate(drive.queries[0]).covariance
    assert covariance.shape == (3, 3)
    assert np.allclose(covariance, covariance.T)
    assert np.linalg.eigvalsh(covariance).min() > 0


def test_odom_pose_is_the_pose_seen_from_the_odom_frame(driven, drive):
    estimate = driven.locate(drive.queries[0])
    expected = geometry.compose(drive.poses[-1], estimate.pose)
    assert_same_poses(np.array([estimate.odom_pose]), expected[None], 1e-6)


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4), st.floats(-math.pi, math.pi))
def test_the_answer_does_not_depend_on_the_odom_frame(drive, x, y, yaw):
    near, far = (SpatialMemory.from_checkpoint(CHECKPOINT) for _ in range(2))
    remember(near, drive, frames=16)
    remember(far, drive, np.array([x, y, yaw]), frames=16)
    assert_same_poses(poses_of(near, drive, 4), poses_of(far, drive, 4), 1e-3)


def test_nothing_is_lost_after_a_hundred_thousand_updates_ten_kilometres_away(drive, driven):
    memory = SpatialMemory.from_checkpoint(CHECKPOINT)
    config = memory._network.config
    state = MemoryState.empty(config)
    yaw = 0.0007 * np.arange(100_000)
    xy = np.cumsum(0.1 * np.stack([np.cos(yaw), np.sin(yaw)], axis=1), axis=0)
    poses = np.concatenate([xy, geometry.wrap_angle(yaw + 0.0007)[:, None]], axis=1)
    with torch.inference_mode():  # drives on without looking: the recurrence of poses alone
        for pose in torch.from_numpy(poses).split(1):
            state = follow(config, state, pose)
    assert int(state.updates[0]) == 100_000
    far = geometry.compose([1e4, -1e4, 0.0], poses[-1])
    memory._state = follow(config, state, torch.from_numpy(far)[None])
    remember(memory, drive, geometry.compose(far, geometry.inverse(drive.poses[0])))
    assert_same_poses(poses_of(memory, drive, 6), poses_of(driven, drive, 6), 1e-3)


def test_the_state_does_not_grow_with_history(drive):
    memory = SpatialMemory.from_checkpoint(CHECKPOINT)
    before = memory.state_bytes
    remember(memory, drive)
    assert memory.state_bytes == before <= 2_000_000
    assert memory.num_updates == FRAMES


def test_a_query_reads_a_snapshot_and_never_waits_for_an_update(drive, monkeypatch):
    memory = SpatialMemory.from_checkpoint(CHECKPOINT)
    remember(memory, drive, frames=8)
    expected = memory.locate(drive.queries[0])
    entered, release = threading.Event(), threading.Event()
    update = memory._network.update

    def slow_update(*args):
        state = update(*args)
        entered.set()
        assert release.wait(60)
        return state

    monkeypatch.setattr(memory._network, "update", slow_update)
    thread = threading.Thread(target=memory.update, args=(drive.images[8], drive.poses[8]))
    thread.start()
    try:
        assert entered.wait(60)
        during = memory.locate(drive.queries[0])  # would never return if it waited
        assert during.pose == expected.pose
        assert during.num_updates == 8
    finally:
        release.set()
        thread.join()
    assert memory.num_updates == 9


def test_save_and_load_give_back_the_same_memory(drive, driven, tmp_path):
    driven.save(tmp_path / "state.safetensors")
    other = SpatialMemory.from_checkpoint(CHECKPOINT)
    other.load(tmp_path / "state.safetensors")
    assert other.num_updates == driven.num_updates
    assert_same_poses(poses_of(other, drive, 4), poses_of(driven, drive, 4), 1e-6)


def test_a_damaged_memory_file_is_refused_and_the_present_memory_stays(drive, driven, tmp_path):
    path = tmp_path / "state.safetensors"
    driven.save(path)
    whole = path.read_bytes()
    before = driven.locate(drive.queries[0]).pose
    for damaged in (whole[: len(whole) // 2], whole[:-4] + b"\0\1\2\3", b"", b"hello"):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"state\.safetensors"):
            driven.load(path)
    with pytest.raises(CheckpointError, match="no such file"):
        driven.load(tmp_path / "absent.safetensors")
    with pytest.raises(CheckpointError, match="not a kinaema-memory"):
        driven.load(CHECKPOINT)
    assert driven.locate(drive.queries[0]).pose == before


def test_reset_forgets(drive):
    memory = SpatialMemory.from_checkpoint(CHECKPOINT)
    remember(memory, drive, frames=2)
    memory.reset()
    assert memory.num_updates == 0
    with pytest.raises(EmptyMemoryError, match="drive the robot"):
        memory.locate(drive.queries[0])


IMAGE = np.zeros((120, 160, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("image", "pose", "complaint"),
    [
        (np.zeros((120, 160), np.uint8), (0, 0, 0), "must be \\(H, W, 3\\)"),
        (np.zeros((120, 160, 3), np.float32), (0, 0, 0), "uint8"),
        (np.zeros((0, 160, 3), np.uint8), (0, 0, 0), "at least 8"),
        (IMAGE, (0, 0), "must be \\(x, y, yaw\\)"),
        (IMAGE, (math.nan, 0, 0), "not finite"),
        (IMAGE, (0, math.inf, 0), "not finite"),
        (IMAGE, (1e9, 0, 0), "beyond"),
    ],
)
def test_bad_input_is_refused_and_changes_nothing(driven, image, pose, complaint):
    before = driven.num_updates
    with pytest.raises(ValueError, match=complaint):
        driven.update(image, pose)
    assert driven.num_updates == before


@pytest.mark.parametrize(("hfov_deg", "share"), [(60, 0.5), (75, 0.6), (110, 0.6)])
def test_other_cameras_see_the_same_places(drive, driven, hfov_deg, share):
    """The drive was seen with 90 degrees; photos of other lenses are still placed."""
    rng = np.random.default_rng(20261122)
    scene = generate_scene(20261122, SceneConfig(size_min=8, size_max=10, texture_seed=4242))
    camera = Camera(width=320, height=200, hfov=math.radians(hfov_deg))
    chosen = rng.choice(QUERIES, 12, replace=False)
    photos = render(scene, drive.query_poses[chosen], camera)
    truth = geometry.between(drive.poses[-1], drive.query_poses[chosen])
    answers = np.array([driven.locate(photo, hfov=camera.hfov).pose for photo in photos])
    distance = np.linalg.norm((answers - truth)[:, :2], axis=1)
    assert np.mean(distance < 1.0) >= share


def test_camera_info_and_field_of_view_agree(drive):
    by_fov = SpatialMemory.from_checkpoint(CHECKPOINT, hfov=math.radians(90))
    by_info = SpatialMemory.from_checkpoint(CHECKPOINT, hfov=math.radians(60))
    by_info.set_camera(Intrinsics(320, 240, 160.0, 160.0, 159.5, 119.5))  # calibrated at another resolution
    for memory in (by_fov, by_info):
        remember(memory, drive, frames=4)
    assert_same_poses(poses_of(by_fov, drive, 2), poses_of(by_info, drive, 2), 1e-5)


def test_an_image_of_another_aspect_than_the_camera_is_refused_with_both_sizes_and_the_remedy(drive):
    memory = SpatialMemory.from_checkpoint(CHECKPOINT)
    memory.set_camera(Intrinsics(640, 480, 320.0, 320.0, 319.5, 239.5))
    wide = np.zeros((360, 640, 3), dtype=np.uint8)
    with pytest.raises(KinaemaError, match=r"640 x 360 pixels.* 640 x 480 .*call set_camera") as refused:
        memory.update(wide, (0, 0, 0))
    assert isinstance(refused.value, ValueError)
    assert memory.num_updates == 0
    remember(memory, drive, frames=1)
    with pytest.raises(KinaemaError, match=r"640 x 360 pixels.* 640 x 480 .*pass its hfov to locate"):
        memory.locate(wide)
    memory.locate(wide, hfov=math.pi / 2)
    memory.locate(drive.queries[0])
    memory.set_camera(Intrinsics(640, 360, 320.0, 320.0, 319.5, 179.5))
    memory.update(wide, (0, 0, 0))
    assert memory.num_updates == 2


def test_an_impossible_camera_is_refused():
    with pytest.raises(ValueError, match="field of view"):
        SpatialMemory.from_checkpoint(CHECKPOINT, hfov=4.0)
    with pytest.raises(ValueError, match="must be positive"):
        Intrinsics(640, 480, 0.0, 0.0, 320.0, 240.0)
    memory = SpatialMemory.from_checkpoint(CHECKPOINT)
    with pytest.raises(ValueError, match=r"plumb_bob distortion: rectify"):
        memory.set_camera(Intrinsics(640, 480, 500.0, 500.0, 320.0, 240.0, "plumb_bob", (0.1, 0.0, 0.0, 0.0)))


def test_a_wrong_checkpoint_is_refused(tmp_path):
    whole = CHECKPOINT.read_bytes()
    path = tmp_path / "net.safetensors"
    for damaged in (whole[: len(whole) // 2], whole[:-1] + bytes([whole[-1] ^ 1]), b"\x80\x04pickle"):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"net\.safetensors"):
            SpatialMemory.from_checkpoint(path)
    with pytest.raises(CheckpointError, match="no such file"):
        SpatialMemory.from_checkpoint(tmp_path / "absent.safetensors")
