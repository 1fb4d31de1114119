"""What the learned baselines are trained on: drives through procedural scenes, encoded by the frozen trunk.

A trajectory is a drive of ``frames`` views and ``queries`` further views near it. Trajectory ``k`` depends on
(seed, k) only. They are kept in a folder (drive_folder.py), from which parts are drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from kinaema_ros.baselines.checkpoint import load_baseline
from kinaema_ros.baselines.config import LearnedConfig
from kinaema_ros.baselines.encoder import Trunk
from kinaema_ros.model.se2 import between, compose, wrap_angle
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
    workers: int = 1
    compile: bool = True  # the trunk; halves its time on a CPU, costs half a minute at the start


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
    for k in np.flatnonzero(narrow):  # images[narrow] would be a copy
        mask_field_of_view(images[k], math.radians(hfov[k]), camera.hfov)
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
    """The trajectories of ``indices``, encoded or as images."""

    def __init__(self, config: DataConfig, indices: Sequence[int], encode: bool = True):
        self.config, self.indices, self.encode = config, indices, encode
        self._trunk: Trunk | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, item: int) -> Trajectory:
        images, poses, source = render_trajectory(self.config, self.indices[item])
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


def stream(config: DataConfig, indices: Sequence[int]) -> Iterator[Trajectory]:
    """The trajectories of ``indices`` in their order, whatever the number of workers."""
    loader = DataLoader(
        TrajectoryDataset(config, indices),
        batch_size=None,
        num_workers=config.workers,
        prefetch_factor=4 if config.workers else None,
        multiprocessing_context="spawn" if config.workers else None,
    )
    return iter(loader)


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
    yaw = F.pad(motion[..., 2].cumsum(1), (1, 0))
    steps = compose(F.pad(yaw[:, :-1, None], (2, 0)), motion)[..., :2]
    return torch.cat([F.pad(steps.cumsum(1), (0, 0, 1, 0)), wrap_angle(yaw)[..., None]], dim=-1)
