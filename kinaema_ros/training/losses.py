"""What the network is trained to say, before and through the memory."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from kinaema_ros.model.decoder import PairEstimate
from kinaema_ros.model.se2 import difference, wrap_angle

NEAR_M, NEAR_RAD = 0.7, math.radians(30.0)  # widths of the soft target: what counts as the same place
MATCH_M, MATCH_RAD = 1.5, math.radians(50.0)  # a pair within both can be recognised and is worth regressing


def pose_distance(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Metres and radians between poses (..., 3)."""
    delta = difference(a, b)
    return torch.linalg.vector_norm(delta[..., :2], dim=-1), delta[..., 2].abs()


def contrastive_loss(keys: Tensor, target: Tensor, temperature: Tensor) -> Tensor:
    """InfoNCE with soft targets (van den Oord et al., arXiv 1807.03748) of each view against all others.

    keys (V, D) of unit length, target (V, V) non-negative with at least one positive a row off the diagonal.
    """
    itself = torch.eye(len(keys), dtype=torch.bool, device=keys.device)
    logits = (keys @ keys.T * temperature).masked_fill(itself, -1e4)
    target = target.masked_fill(itself, 0.0)
    return -(target / target.sum(1, keepdim=True) * F.log_softmax(logits, dim=1)).sum(1).mean()


def soft_target(query_poses: Tensor, frame_poses: Tensor) -> Tensor:
    """(..., Q, 3), (..., F, 3) -> (..., Q, F): 1 at the same pose, falling with distance and angle."""
    distance, angle = pose_distance(query_poses[..., :, None, :], frame_poses[..., None, :, :])
    return torch.exp(-((distance / NEAR_M) ** 2) - (angle / NEAR_RAD) ** 2)


def pose_log_likelihood(estimate: PairEstimate, truth: Tensor) -> Tensor:
    """Log-likelihood (...) of the truth given the estimate.

    It is an isotropic Laplace distribution in the plane, and a Laplace one in the chord of the yaw.
    ``truth`` (..., 3) is the pose that ``estimate`` describes, in the same frame.
    """
    distance = torch.linalg.vector_norm(estimate.xy - truth[..., :2] + 1e-6, dim=-1)
    direction = torch.stack([truth[..., 2].cos(), truth[..., 2].sin()], dim=-1)
    chord = torch.linalg.vector_norm(estimate.direction - direction + 1e-6, dim=-1)
    position_scale, direction_scale = estimate.scale.unbind(-1)
    return (
        -distance / position_scale
        - 2 * position_scale.log()
        - chord / direction_scale
        - direction_scale.log()
        - math.log(4 * math.pi)
    )


def is_match(truth: Tensor) -> Tensor:
    """Whether relative poses (..., 3) are near enough to be recognised, bool (...)."""
    return (torch.linalg.vector_norm(truth[..., :2], dim=-1) < MATCH_M) & (
        wrap_angle(truth[..., 2]).abs() < MATCH_RAD
    )
