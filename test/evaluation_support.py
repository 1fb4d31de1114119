"""A small network with the shipped weights, small untrained baselines, and drives for tests of evaluation and training."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from kinaema_ros.baselines.baseline import Baseline
from kinaema_ros.baselines.checkpoint import KINDS
from kinaema_ros.baselines.config import LearnedConfig, PaperConfig
from kinaema_ros.baselines.encoder import FEATURE_DIM
from kinaema_ros.evaluation.episodes import Episode, EpisodeConfig, plan_episode
from kinaema_ros.model.checkpoint import load_network
from kinaema_ros.model.network import Kinaema
from kinaema_ros.paths import default_checkpoint
from kinaema_ros.training.trajectories import Trajectory

# An update takes 15 ms with this, and it still finds places that it has just seen.
SMALL: dict[str, Any] = {
    "num_embeddings": 24,
    "tokens": {"tokens": 32, "view_tokens": 64, "view_pixels": 160 * 120},
    "window": {"size": 3},
    "search": {"shortlist": 8, "hypotheses": 4, "verified": 3, "iterations": 200},
}
SMALL_BASELINE = LearnedConfig(
    image_width=64,
    image_height=48,
    key_dim=16,
    content_dim=32,
    head_dim=32,
    feature_dropout=0.15,
    paper=PaperConfig(embeddings=6, dim=16, heads=2, decoder_layers=1),
)


@functools.cache
def shipped_network() -> Kinaema:
    """Not to be changed."""
    return load_network(default_checkpoint())[0]


def small_network(**changes: Any) -> Kinaema:
    network = shipped_network()
    return network.with_config(network.config.changed(SMALL).changed(changes))


def small_baseline(name: str, seed: int = 1) -> Baseline:
    """Untrained."""
    torch.manual_seed(seed)
    return KINDS[name](SMALL_BASELINE).requires_grad_(False).eval()


def short_episode(seed: int = 0, lengths: tuple[int, ...] = (6, 12), queries: int = 2) -> Episode:
    return plan_episode(EpisodeConfig(seed, lengths, queries), 0)


def random_walk(rng: np.random.Generator, frames: int) -> np.ndarray:
    """Poses (frames, 3) of steps of 0.25 m along a wavering heading."""
    yaw = np.cumsum(rng.uniform(-0.4, 0.4, frames))
    xy = np.cumsum(0.25 * np.stack([np.cos(yaw), np.sin(yaw)], axis=1), axis=0)
    return np.concatenate([xy, np.remainder(yaw + np.pi, 2 * np.pi)[:, None] - np.pi], axis=1)


def random_trajectory(seed: int, frames: int = 16, queries: int = 8) -> Trajectory:
    """What baselines are trained on, without pictures: random features, and queries that are frames of the drive."""
    rng = np.random.default_rng(seed)
    source = torch.from_numpy(rng.integers(frames, size=queries))
    features = torch.from_numpy(rng.standard_normal((frames, FEATURE_DIM))).half()
    poses = torch.from_numpy(random_walk(rng, frames)).float()
    return Trajectory(torch.cat([features, features[source]]), torch.cat([poses, poses[source]]), source)


def folder_of_drives(folder: Path, drives: int = 6, held: int = 3, frames: int = 16) -> Path:
    """As ``kinaema train --render`` leaves it."""
    for part, first, count in (("train", 0, drives), ("held", 1000, held)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        for k in range(first, first + count):
            save_file(vars(random_trajectory(k, frames)), folder / part / f"{k:06d}.safetensors")
    return folder
