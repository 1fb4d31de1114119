"""What the learned baselines are trained on: drives through procedural scenes, encoded by the frozen trunk.

A trajectory is a drive of ``frames`` views and ``queries`` further views near it. Trajectory ``k`` depends on
(seed, k) only, and which trajectories a step sees depends on the step only, so that a resumed run sees what an
uninterrupted one would have seen. No data set is kept on disk.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from kinaema_ros.baselines.config import LearnedConfig
from kinaema_ros.baselines.encoder import Trunk
from kinaema_ros.baselines.learned import load_baseline
from kinaema_ros.model.se2 import between, compose
from kinaema_ros.paths import shipped
from kinaema_ros.sim import (
    Camera,
    SceneConfig,
    explore,
    generate_scene,
    random_lighting,
    render,
    sample_viewpoints,
)

ENCODE_BATCH = 32
CALIBRATION_SEED = 1_000_003  # added to a run's: trajectories that no step sees
SCENES_PER_TEXTURE_POOL = 128  # drawing a pool of textures takes as long as rendering two hundred views


@dataclass(frozen=True)
class DataConfig:
    """What a trajectory looks like. Lengths in frames, angles in degrees."""

    seed: int = 0
    frames: int = 128
    queries: int = 48
    min_size: float = 8.0  # metres, shorter and longer side of a scene's footprint lie between these
    max_size: float = 18.0
    camera_height: tuple[float, float] = (0.3, 0.8)
    hfov_deg: tuple[float, float] = (60.0, 110.0)
    narrow_fraction: float = 0.3  # of trajectories, and of single queries, seen through a narrower lens
    pool: int = 4000  # trajectories kept in memory, 1.5 MB each on a CPU
    pool_start: int = 64  # trajectories rendered before the first step
    new_per_step: float = 0.4  # trajectories rendered for each step; the oldest leave the pool
    workers: int = 1
    compile: bool = True  # the trunk; halves its time on a CPU, costs half a minute at the start

    def __post_init__(self) -> None:
        for name in ("pool", "pool_start"):  # a step asks one trajectory for places of another one
            if getattr(self, name) < 2:
                raise ValueError(f"{name} = {getattr(self, name)} is out of range: it must be at least 2")


@dataclass
class Trajectory:
    """One encoded drive. ``T`` frames, ``Q`` queries."""

    features: Tensor  # (T + Q, FEATURE_DIM) float16, or (T + Q, 3, H, W) uint8 images until encoded
    poses: Tensor  # (T + Q, 3) float32, true poses of the robot
    source: Tensor  # (Q,) int64, frame near which each query was taken


def mask_field_of_view(image: np.ndarray, hfov: float, canonical_hfov: float) -> None:
    """Blank, in place, what a camera with a narrower field of view would not have seen (H, W, 3)."""
    ratio = math.tan(hfov / 2) / math.tan(canonical_hfov / 2)
    if ratio >= 1.0:
        return
    height, width = image.shape[:2]
    top, left = round(height * (1 - ratio) / 2), round(width * (1 - ratio) / 2)
    image[:top], image[height - top :] = 127, 127
    image[:, :left], image[:, width - left :] = 127, 127


def render_trajectory(config: DataConfig, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images (T + Q, H, W, 3) uint8, poses (T + Q, 3), sources (Q,) of trajectory ``index``."""
    rng = np.random.default_rng([config.seed, index])
    scene_config = SceneConfig(
        size_min=config.min_size,
        size_max=config.max_size,
        texture_seed=(config.seed + index // SCENES_PER_TEXTURE_POOL) % 2**31,
    )
    scene = generate_scene(int(rng.integers(2**31)), scene_config)
    poses = explore(scene, rng, config.frames)
    views, source = sample_viewpoints(scene, rng, poses, config.queries)
    canonical = LearnedConfig()  # what evaluation resamples every image to
    camera = Camera(
        canonical.image_width,
        canonical.image_height,
        math.radians(canonical.hfov_deg),
        z=float(rng.uniform(*config.camera_height)),
    )
    lighting = random_lighting(rng)
    everything = np.concatenate([poses, views])
    images = render(scene, everything, camera, lighting)
    hfov = rng.uniform(*config.hfov_deg, size=len(images))
    narrow = rng.random(len(images)) < config.narrow_fraction
    hfov[: config.frames], narrow[: config.frames] = hfov[0], narrow[0]  # one camera a drive
    for image, angle in zip(images[narrow], hfov[narrow], strict=True):
        mask_field_of_view(image, math.radians(angle), camera.hfov)
    vary_exposure(images, rng)
    return images, everything, source


def vary_exposure(images: np.ndarray, rng: np.random.Generator) -> None:
    """Gain, gamma and noise of each single image, in place: a camera adapts while it drives."""
    gain = rng.normal(1.0, 0.12, len(images)).clip(0.6, 1.5)
    gamma = rng.normal(1.0, 0.1, len(images)).clip(0.7, 1.4)
    levels = np.arange(256) / 255.0
    for image, g, power in zip(images, gain, gamma, strict=True):
        table = (255.0 * (g * levels**power).clip(0, 1)).astype(np.uint8)
        image[:] = table[image]


class TrajectoryDataset(Dataset[Trajectory]):
    """Trajectories ``start``, ``start + stride``, ... (a rank of several takes every ``stride``-th)."""

    def __init__(self, config: DataConfig, start: int, stride: int, length: int, encode: bool):
        self.config, self.start, self.stride, self.length, self.encode = config, start, stride, length, encode
        self._trunk: Trunk | None = None

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, item: int) -> Trajectory:
        images, poses, source = render_trajectory(self.config, self.start + item * self.stride)
        features = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
        if self.encode:
            features = encode(self.trunk, features)
        return Trajectory(features, torch.from_numpy(poses).float(), torch.from_numpy(source).long())

    @property
    def trunk(self) -> Trunk:
        """The baselines' trunk, which is frozen, made at first use."""
        if self._trunk is None:  # each worker process builds its own
            torch.set_num_threads(1)
            trunk = load_baseline(shipped("models/baseline-gru.safetensors"), "gru").trunk
            self._trunk = torch.compile(trunk) if self.config.compile else trunk  # type: ignore[assignment]
        return self._trunk  # type: ignore[return-value]


def encode(trunk: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """(B, 3, H, W) uint8 -> (B, FEATURE_DIM) float16, in batches of one size so that one compilation serves."""
    padding = -len(images) % ENCODE_BATCH
    padded = torch.cat([images, images[:1].expand(padding, -1, -1, -1)]) if padding else images
    parts = [trunk(part).half() for part in padded.split(ENCODE_BATCH)]
    return torch.cat(parts)[: len(images)]


def stream(config: DataConfig, start: int, stride: int, encode_in_worker: bool) -> Iterator[Trajectory]:
    """Endless trajectories in order of their index, whatever the number of workers."""
    dataset = TrajectoryDataset(config, start, stride, length=2**40, encode=encode_in_worker)
    loader = DataLoader(
        dataset,
        batch_size=None,
        sampler=_Count(),
        num_workers=config.workers,
        prefetch_factor=4 if config.workers else None,
        multiprocessing_context="spawn" if config.workers else None,
    )
    return iter(loader)


class _Count(torch.utils.data.Sampler[int]):
    def __iter__(self) -> Iterator[int]:
        index = 0
        while True:
            yield index
            index += 1


class Pool:
    """The newest ``config.pool`` trajectories; each step brings ``new_per_step`` more and samples from all."""

    def __init__(self, config: DataConfig, stream: Iterator[Trajectory], step: int):
        """As it stands before ``step``; ``stream`` begins with trajectory ``first_in_pool(config, step)``."""
        self.config, self.stream = config, stream
        self.trajectories: list[Trajectory] = []
        self.next_index = first_in_pool(config, step)
        self.advance(step)

    def advance(self, step: int) -> None:
        """Render what ``step`` has and the step before had not."""
        while self.next_index < rendered_before(self.config, step):
            self.trajectories.append(next(self.stream))
            self.next_index += 1
        del self.trajectories[: max(0, len(self.trajectories) - self.config.pool)]

    def sample(self, rng: np.random.Generator, count: int) -> list[Trajectory]:
        """``count`` different trajectories, drawn with equal chances."""
        chosen = rng.choice(len(self.trajectories), size=min(count, len(self.trajectories)), replace=False)
        return [self.trajectories[i] for i in chosen]


def rendered_before(config: DataConfig, step: int) -> int:
    """Trajectories that have been in the pool when ``step`` is taken."""
    return config.pool_start + math.floor(step * config.new_per_step)


def first_in_pool(config: DataConfig, step: int) -> int:
    """Oldest of them that is still there."""
    return max(0, rendered_before(config, step) - config.pool)


def in_batches(trajectories: list[Trajectory], size: int) -> Iterator[list[Trajectory]]:
    """``size`` at a time. A single one at the end is left out: there is no other whose places it has not seen."""
    for start in range(0, len(trajectories) - 1, size):
        yield trajectories[start : start + size]


@dataclass
class TrajectoryBatch:
    """S drives of T frames, with Q queries each and as many about places that the drive never saw."""

    features: Tensor  # (S, T, F)
    poses: Tensor  # (S, T, 3) float64, true
    odometry: Tensor  # (S, T, 3) float64, drifting
    queries: Tensor  # (S, Q, F)
    query_poses: Tensor  # (S, Q, 3) float64
    source: Tensor  # (S, Q) frame near which the query lies
    unseen: Tensor  # (S, Q, F) queries of another trajectory of the batch


def drifting_odometry(poses: Tensor, fraction: Tensor, degrees: Tensor, generator: torch.Generator) -> Tensor:
    """Odometry (S, T, 3) of drives ``poses``: each step's motion with noise of its own, from identity.

    fraction and degrees (S, 1): deviation of a step's motion relative to its length, and of its turn.
    """
    motion = between(poses[:, :-1], poses[:, 1:])
    noise = torch.randn(motion.shape, generator=generator, dtype=motion.dtype)
    length = torch.linalg.vector_norm(motion[..., :2], dim=-1)
    motion = motion + noise * torch.stack(
        [fraction * length, fraction * length, torch.deg2rad(degrees).expand_as(length)], dim=-1
    )
    odometry = [torch.zeros_like(poses[:, 0])]
    for step in motion.unbind(1):
        odometry.append(compose(odometry[-1], step))
    return torch.stack(odometry, dim=1)


def trajectory_batch(
    trajectories: list[Trajectory],
    rng: np.random.Generator,
    device: torch.device,
    frames: int,
    queries: int,
    max_noise: tuple[float, float],
) -> TrajectoryBatch:
    """TrajectoryBatch of the given length cut from trajectories of at least that length.

    ``ValueError`` for fewer than two trajectories: the places that one has not seen are those of another one.
    """
    if len(trajectories) < 2:
        raise ValueError("a batch needs at least 2 trajectories: one has not seen the places of another one")
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    parts: dict[str, list[Tensor]] = {
        name: [] for name in ("features", "poses", "queries", "query_poses", "source")
    }
    for trajectory in trajectories:
        total = len(trajectory.features) - len(trajectory.source)
        start = int(rng.integers(total - frames + 1))
        inside = np.flatnonzero(((trajectory.source >= start) & (trajectory.source < start + frames)).numpy())
        if len(inside) == 0:
            inside = np.array([int((trajectory.source - start - frames // 2).abs().argmin())])
        chosen = rng.choice(inside, size=queries, replace=len(inside) < queries)
        parts["features"].append(trajectory.features[start : start + frames])
        parts["poses"].append(trajectory.poses[start : start + frames])
        parts["queries"].append(trajectory.features[total + chosen])
        parts["query_poses"].append(trajectory.poses[total + chosen])
        parts["source"].append(trajectory.source[chosen] - start)
    batch = {name: torch.stack(tensors) for name, tensors in parts.items()}
    poses = batch["poses"].double()
    strength = torch.rand(len(poses), 1, generator=generator, dtype=torch.float64) ** 2
    odometry = drifting_odometry(poses, strength * max_noise[0], strength * max_noise[1], generator)
    return TrajectoryBatch(
        features=batch["features"].to(device, torch.float32),
        poses=poses.to(device),
        odometry=odometry.to(device),
        queries=batch["queries"].to(device, torch.float32),
        query_poses=batch["query_poses"].double().to(device),
        source=batch["source"].to(device),
        unseen=batch["queries"].roll(1, dims=0).to(device, torch.float32),
    )
