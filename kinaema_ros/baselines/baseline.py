"""What all learned baselines share: the view that they are told of, and how a pose is told and answered."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from kinaema_ros.baselines.config import LearnedConfig
from kinaema_ros.baselines.decoder import MAX_SCALE, MIN_SCALE, Calibration, PoseEstimate
from kinaema_ros.baselines.encoder import Descriptor, Trunk

ROOM = 5.0  # metres that count as one in what the networks read and write


def pose_code(pose: Tensor) -> Tensor:
    """(..., 3) -> (..., 4) of order one: x, y, cos yaw, sin yaw."""
    pose = pose.float()
    return torch.cat([pose[..., :2] / ROOM, pose[..., 2:].cos(), pose[..., 2:].sin()], dim=-1)


def decode_pose(x: Tensor) -> PoseEstimate:
    """The last layer's seven numbers (..., 7) as an estimate."""
    x = x.float()
    scale = torch.exp(x[..., 4:6].clamp(-4.0, 2.0)).clamp(MIN_SCALE, MAX_SCALE)
    return PoseEstimate(ROOM * x[..., 0:2], x[..., 2:4], scale, x[..., 6])


class Baseline(nn.Module):
    """What they share. A subclass says what is kept of B drives and reads start_T_query from it.

    A view is what trunk and descriptor, both frozen, make of an image: V numbers.
    """

    name: str

    def __init__(self, config: LearnedConfig):
        super().__init__()
        self.config = config
        self.trunk = Trunk()
        self.descriptor = Descriptor(config)
        self.dropout = nn.Dropout(config.feature_dropout)
        self.calibration = Calibration()

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.descriptor.mean.device

    def encode(self, images: Tensor) -> Tensor:
        """Views (B, V) of images (B, 3, H, W) uint8 RGB of the canonical camera."""
        return self.describe(self.trunk(images))

    def describe(self, features: Tensor) -> Tensor:
        """Views (..., V) of the trunk's features (..., FEATURE_DIM): key, content and probe in one."""
        return torch.cat(self.descriptor(features), dim=-1)

    def parts(self, views: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Key (..., Dk), content and probe (..., Dc) of views (..., V), each number of order one."""
        dim = self.config.content_dim
        key, content, probe = self.dropout(views.float()).split([self.config.key_dim, dim, dim], dim=-1)
        return math.sqrt(self.config.key_dim) * key, content, probe

    def start(self, batch: int, capacity: int) -> Any:
        """Return the state of B drives of at most ``capacity`` frames before their first one."""
        raise NotImplementedError

    def update(self, state: Any, views: Tensor, odometry: Tensor) -> Any:
        """Return the state after one more frame: views (B, V), odometry (B, 3) float64."""
        raise NotImplementedError

    def estimate(self, state: Any, views: Tensor) -> tuple[PoseEstimate, Tensor]:
        """start_T_query for views (B, Q, V), and start_T_robot (B, 3)."""
        raise NotImplementedError

    def num_bytes(self, state: Any) -> int:
        """Size of one drive's state."""
        raise NotImplementedError

    def remember(self, state: Any, views: Tensor, odometry: Tensor) -> Any:
        """The state after T more frames, views (B, T, V), odometry (B, T, 3), differentiable; as that of T updates."""
        raise NotImplementedError

    def forget_gradient(self, state: Any) -> Any:
        """The same state; what led to it is not learned from any more."""
        tensors = {name: part.detach() for name, part in vars(state).items() if isinstance(part, Tensor)}
        return replace(state, **tensors)
