"""SE(2) on tensors: the three operations of kinaema_ros.geometry that the network needs, differentiable."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def wrap_angle(angle: Tensor) -> Tensor:
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


def difference(a: Tensor, b: Tensor) -> Tensor:
    """a - b component by component (..., 3), the yaw wrapped: not a pose, but how far two of one frame are apart."""
    delta = a - b
    return torch.cat([delta[..., :2], wrap_angle(delta[..., 2:])], dim=-1)


def compose(a_T_b: Tensor, b_T_c: Tensor) -> Tensor:
    """(..., 3), (..., 3) -> (..., 3)."""
    cos, sin = torch.cos(a_T_b[..., 2]), torch.sin(a_T_b[..., 2])
    return torch.stack(
        [
            a_T_b[..., 0] + cos * b_T_c[..., 0] - sin * b_T_c[..., 1],
            a_T_b[..., 1] + sin * b_T_c[..., 0] + cos * b_T_c[..., 1],
            wrap_angle(a_T_b[..., 2] + b_T_c[..., 2]),
        ],
        dim=-1,
    )


def between(w_T_a: Tensor, w_T_b: Tensor) -> Tensor:
    """a_T_b, (..., 3)."""
    delta = w_T_b - w_T_a
    cos, sin = torch.cos(w_T_a[..., 2]), torch.sin(w_T_a[..., 2])
    return torch.stack(
        [
            cos * delta[..., 0] + sin * delta[..., 1],
            cos * delta[..., 1] - sin * delta[..., 0],
            wrap_angle(delta[..., 2]),
        ],
        dim=-1,
    )


def inverse(a_T_b: Tensor) -> Tensor:
    """b_T_a, (..., 3)."""
    return between(a_T_b, torch.zeros_like(a_T_b))
