"""SpatialMemory with the paper's own memory: the same promises, and a clear word where it cannot keep one."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluation_support import short_episode, small_baseline

from kinaema_ros import Intrinsics, SpatialMemory, geometry, memory_file
from kinaema_ros.baselines.checkpoint import save_baseline
from kinaema_ros.baselines.encoder import BLANK, resample
from kinaema_ros.baselines.network import PaperNetwork, load_network
from kinaema_ros.camera import Mount
from kinaema_ros.comparison import Verdict
from kinaema_ros.errors import InputError
from kinaema_ros.memory import EmptyMemoryError
from kinaema_ros.model.checkpoint import CheckpointError, read_tensors, write_tensors
from kinaema_ros.model.network import Kinaema
from kinaema_ros.paths import default_checkpoint
from kinaema_ros.sim import Camera, SceneConfig, explore, generate_scene, render


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "baseline-paper.safetensors"
    save_baseline(path, small_baseline("paper"), {})
    return path


@pytest.fixture
def memory(checkpoint: Path) -> SpatialMemory:
    memory = SpatialMemory.from_checkpoint(checkpoint)
    episode = short_episode()
    for rgb, pose in zip(episode.frames(), episode.poses, strict=True):
        memory.update(rgb, pose)
    return memory


def photo() -> np.ndarray:
    return next(short_episode().photos(0))[0]


def test_a_checkpoint_says_which_kind_of_memory_it_is(checkpoint: Path, tmp_path: Path) -> None:
    network, metadata = load_network(checkpoint)
    assert isinstance(network, PaperNetwork)
    assert metadata["config"]["kind"] == "paper"
    assert isinstance(load_network(default_checkpoint())[0], Kinaema)
    other = tmp_path / "baseline-gru.safetensors"
    save_baseline(other, small_baseline("gru"), {})
    with pytest.raises(CheckpointError, match="holds the baseline gru, not paper"):
        SpatialMemory.from_checkpoint(other)
    with pytest.raises(CheckpointError, match="no such file"):
        SpatialMemory.from_checkpoint(tmp_path / "nowhere")


def test_its_number_of_embeddings_cannot_be_chosen(checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match="fixed by its training; leave num_embeddings"):
        SpatialMemory.from_checkpoint(checkpoint, num_embeddings=64)


def test_it_answers_with_a_covariance_and_its_size_stays(checkpoint: Path, memory: SpatialMemory) -> None:
    empty = SpatialMemory.from_checkpoint(checkpoint)
    with pytest.raises(EmptyMemoryError):
        empty.locate(photo())
    assert empty.state_bytes == memory.state_bytes > 0
    assert (memory.num_updates, memory.localized, len(memory.viewpoints)) == (12, True, 0)
    estimate = memory.locate(photo())
    assert np.isfinite(estimate.pose).all()
    assert (np.linalg.eigvalsh(estimate.covariance) > 0).all()
    assert 0.0 < estimate.confidence <= estimate.seen < 1.0
    assert estimate.alternatives == ()
    robot = short_episode().poses[-1]
    np.testing.assert_allclose(estimate.odom_pose, geometry.compose(robot, estimate.pose), atol=1e-9)
    memory.reset()
    assert memory.num_updates == 0


def test_a_saved_memory_goes_on_where_it_was(checkpoint: Path, memory: SpatialMemory, tmp_path: Path) -> None:
    memory.save(tmp_path / "memory")
    again = SpatialMemory.from_checkpoint(checkpoint)
    again.load(tmp_path / "memory")
    assert again.locate(photo()).pose == memory.locate(photo()).pose
    episode = short_episode()
    for each in (memory, again):
        each.update(next(episode.frames()), episode.poses[3])
    assert again.locate(photo()).pose == memory.locate(photo()).pose


def test_it_says_that_it_cannot_find_out_where_the_robot_is(memory: SpatialMemory, tmp_path: Path) -> None:
    memory.save(tmp_path / "memory")
    before = memory.locate(photo()).pose
    with pytest.raises(InputError, match=r"cannot find out where the robot is.*such as the shipped one"):
        memory.load(tmp_path / "memory", localize=True)
    with pytest.raises(InputError, match="cannot find out where the robot is"):
        memory.localize()
    assert memory.localized
    assert memory.locate(photo()).pose == before


def test_what_it_does_not_know_it_does_not_make_up(memory: SpatialMemory) -> None:
    assert memory.localization() is None
    assert memory.places == {}
    with pytest.raises(InputError, match="keeps no named places"):
        memory.add_place("kitchen")
    compared = memory.compare(photo(), photo(), (0.0, 0.0, 0.0))
    assert (compared.verdict, compared.pose) == (Verdict.UNDECIDED, None)
    assert "cannot compare" in compared.why


def test_a_memory_of_another_kind_or_with_impossible_numbers_is_refused(
    memory: SpatialMemory, tmp_path: Path
) -> None:
    shipped = SpatialMemory.from_checkpoint(default_checkpoint())
    shipped.save(tmp_path / "shipped")
    with pytest.raises(CheckpointError, match="not written by this version"):
        memory.load(tmp_path / "shipped")
    memory.save(tmp_path / "memory")
    tensors, metadata = read_tensors(tmp_path / "memory", memory_file.FORMAT, memory_file.VERSION)
    del metadata["sha256"]
    for name, value in (("embeddings", math.nan), ("updates", -1)):
        wrong = {**tensors, name: torch.full_like(tensors[name], value)}
        write_tensors(tmp_path / "wrong", wrong, metadata)
        with pytest.raises(CheckpointError, match=f"{name}.*outside"):
            memory.load(tmp_path / "wrong")


def test_a_camera_that_looks_down_is_turned_level() -> None:
    """What it saw is rendered level, and where it saw nothing is blank."""
    scene = generate_scene(5, SceneConfig(size_min=8, size_max=10, texture_seed=7))
    pose = explore(scene, np.random.default_rng(0), 3)[-1:]
    pitch, camera = math.radians(15.0), Camera(320, 240, hfov=math.radians(80.0))
    tilted = render(scene, pose, Camera(320, 240, hfov=math.radians(100.0), pitch=pitch))[0]
    level = render(scene, pose, camera)[0]
    target = Intrinsics.from_hfov(320, 240, camera.hfov)
    turned = resample(tilted, Intrinsics.from_hfov(320, 240, math.radians(100.0)), target, (0.0, pitch))
    seen = (turned != BLANK).any(-1)
    assert 0.6 < seen.mean() < 1.0
    unturned = resample(tilted, Intrinsics.from_hfov(320, 240, math.radians(100.0)), target)
    off = [np.abs(image.astype(int) - level)[seen].mean() for image in (turned, unturned)]
    assert off[0] < 0.3 * off[1]
    assert Mount(pitch=pitch).pitch == pitch


@pytest.mark.parametrize(
    "lens",
    [("none", ()), ("plumb_bob", (-0.1, 0.02, 0.001, 0.001)), ("equidistant", (0.01, -0.02, 0.001, 0.0))],
)
def test_a_ray_is_seen_where_it_comes_from(lens: tuple[str, tuple[float, ...]]) -> None:
    camera = Intrinsics(320, 240, 200.0, 210.0, 150.0, 110.0, *lens)
    pixels = np.random.default_rng(0).uniform([0, 0], [320, 240], (50, 2))
    np.testing.assert_allclose(camera.pixels(camera.rays(pixels)), pixels, atol=0.01)
    assert (np.abs(camera.pixels(np.array([[-1.0, 0.1, 0.0], [0.0, 1.0, 0.0]]))) > 1e5).all(), "behind"
