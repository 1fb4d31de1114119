"""A world of landmarks with random looks: what a camera sees of them, without pictures."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kinaema_ros.model.camera_pose import planar_rotation, tilt_rotation
from kinaema_ros.model.config import (
    KinaemaConfig,
    PoseGraphConfig,
    RevisitConfig,
    SearchConfig,
    TokensConfig,
    WindowConfig,
)
from kinaema_ros.model.tokens import Tokens

CONFIG = KinaemaConfig(
    num_embeddings=64,
    tokens=TokensConfig(tokens=48, view_tokens=96, dim=32),
    window=WindowConfig(size=6),
    revisit=RevisitConfig(min_age=12),
    search=SearchConfig(vote_tokens=64, vote_stored=32, shortlist=16, hypotheses=6, verified=4),
    pose_graph=PoseGraphConfig(optimise_every=2),
)


class Landmarks:
    """Points on the walls of a room, each with a look of its own."""

    def __init__(self, number: int = 700, size: float = 10.0, seed: int = 0, dim: int = 32):
        random = torch.Generator().manual_seed(seed)
        along = torch.rand(number, generator=random) * size - size / 2
        wall = torch.randint(0, 4, (number,), generator=random)
        xy = torch.stack([along, torch.full_like(along, size / 2)], dim=-1)
        turn = planar_rotation(wall * (np.pi / 2))[:, :2, :2]
        height = torch.rand(number, generator=random) * 2.0 - 1.0
        self.points = torch.cat([(turn @ xy[..., None])[..., 0], height[:, None]], dim=-1)
        self.looks = F.normalize(torch.randn(number, dim, generator=random), dim=-1)

    def view(
        self,
        pose: np.ndarray,
        hfov: float = np.pi / 2,
        tilt: tuple[float, float] = (0.0, 0.0),
        height: float = 0.0,
        config: KinaemaConfig = CONFIG,
    ) -> Tokens:
        """The tokens of a camera at pose (x, y, yaw) with roll and pitch, ``height`` above the usual."""
        x, y, yaw = (float(value) for value in pose)
        rotation = planar_rotation(torch.tensor(yaw)) @ tilt_rotation(torch.tensor(tilt))
        seen = F.normalize((self.points - torch.tensor([x, y, height])) @ rotation, dim=-1)
        edge = np.tan(hfov / 2)
        left, up = (seen[:, 1:] / seen[:, :1].clamp_min(1e-3)).unbind(-1)
        visible = (seen[:, 0] > 0.1) & (left.abs() < edge) & (up.abs() < edge)
        size, dim = config.tokens.view_tokens, config.tokens.dim
        index = visible.nonzero()[:size, 0]
        random = torch.Generator().manual_seed(
            hash((x, y, yaw))
        )  # the same pose sees the same, whatever came before
        noise = torch.randn(len(index), 3 + dim, generator=random)
        bearing = F.normalize(seen[index] + 0.002 * noise[:, :3], dim=-1)
        look = F.normalize(self.looks[index] + 0.05 * noise[:, 3:], dim=-1)
        empty = Tokens.empty((size - len(index),), dim)
        return Tokens(
            torch.cat([look, empty.descriptor]),
            torch.cat([bearing, empty.bearing]),
            torch.full((size,), config.tokens.prior_depth),
            torch.full((size,), config.tokens.prior_depth_std),
            torch.cat([torch.full((len(index),), 0.4), empty.quality]),
        )


def circle(radius: float = 2.5, steps: int = 40, rounds: float = 1.0) -> np.ndarray:
    """Poses (T, 3) of a robot that drives round the middle of the room, to the left."""
    angle = np.linspace(0.0, 2 * np.pi * rounds, round(steps * rounds) + 1)
    return np.stack([radius * np.sin(angle), -radius * np.cos(angle), angle], axis=-1)


def as_pose(pose: np.ndarray) -> Tensor:
    """(3,) float64."""
    return torch.from_numpy(np.asarray(pose, dtype=np.float64))
