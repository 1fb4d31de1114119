"""A small network and drives without pictures, for tests of evaluation and baselines."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from kinaema_ros.evaluation.episodes import Episode
from kinaema_ros.model.config import CellConfig, KinaemaConfig
from kinaema_ros.model.encoder import FEATURE_DIM
from kinaema_ros.model.network import Kinaema
from kinaema_ros.training.data import Trajectory

SMALL = KinaemaConfig(
    num_embeddings=24,
    key_dim=16,
    content_dim=32,
    head_dim=32,
    num_hypotheses=4,
    cell=CellConfig(context_size=4, context_layers=0),
)


def small_network(**changes: Any) -> Kinaema:
    torch.manual_seed(0)
    network = Kinaema(SMALL.changed(changes))
    return network.requires_grad_(False).eval()


def random_walk(rng: np.random.Generator, frames: int) -> np.ndarray:
    """Poses (frames, 3) of steps of 0.25 m along a wavering heading."""
    yaw = np.cumsum(rng.uniform(-0.4, 0.4, frames))
    xy = np.cumsum(0.25 * np.stack([np.cos(yaw), np.sin(yaw)], axis=1), axis=0)
    return np.concatenate([xy, np.remainder(yaw + np.pi, 2 * np.pi)[:, None] - np.pi], axis=1)


def random_episode(seed: int, lengths: tuple[int, ...] = (6, 12), queries: int = 3) -> Episode:
    """Features at random; the seen questions are frames of the drive, unseen ones are like nothing in it."""
    rng = np.random.default_rng(seed)
    poses = random_walk(rng, max(lengths))
    features = torch.from_numpy(rng.standard_normal((max(lengths), FEATURE_DIM))).half()
    views = np.zeros((len(lengths), 2 * queries, 3))
    asked = torch.from_numpy(rng.standard_normal((*views.shape[:2], FEATURE_DIM))).half()
    for which, length in enumerate(lengths):
        source = rng.integers(length, size=queries)
        views[which, :queries] = poses[source]
        asked[which, :queries] = features[source]
    outside = np.zeros(views.shape[:2], bool)
    outside[:, queries:] = True
    return Episode(features, asked, poses, views, outside)


def random_sequence(seed: int, frames: int = 16, queries: int = 8) -> Trajectory:
    """Training data of the same kind: queries are frames of the drive."""
    rng = np.random.default_rng(seed)
    source = torch.from_numpy(rng.integers(frames, size=queries))
    features = torch.from_numpy(rng.standard_normal((frames, FEATURE_DIM))).half()
    poses = torch.from_numpy(random_walk(rng, frames)).float()
    return Trajectory(torch.cat([features, features[source]]), torch.cat([poses, poses[source]]), source)
