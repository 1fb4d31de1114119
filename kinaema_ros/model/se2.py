"""SE(2) on tensors: the three operations of kinaema_ros.geometry that the network needs, differentiable."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def wrap_angle(angle: Tensor) -> Tensor:
    """Any angle in radians -> the same direction in [-pi, pi)."""
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


def difference(a: Tensor, b: Tensor) -> Tensor:
    """The components of a - b, (..., 3), yaw wrapped: not a pose, but how far two of one frame are apart."""
    delta = a - b
    return torch.cat([delta[..., :2], wrap_angle(delta[..., 2:])], dim=-1)


def compose(a_T_b: Tensor, b_T_c: Tensor) -> Tensor:
    """(..., 3), (..., 3) -> (..., 3)."""
    (x, y, yaw), (u, v, turn) = a_T_b.unbind(-1), b_T_c.unbind(-1)
    cos, sin = torch.cos(yaw), torch.sin(yaw)
    x = torch.addcmul(torch.addcmul(x, cos, u), sin, v, value=-1)
    y = torch.addcmul(torch.addcmul(y, sin, u), cos, v)
    return torch.stack([x, y, wrap_angle(yaw + turn)], dim=-1)


def between(w_T_a: Tensor, w_T_b: Tensor) -> Tensor:
    """a_T_b, (..., 3)."""
    u, v, turn = (w_T_b - w_T_a).unbind(-1)
    yaw = w_T_a[..., 2]
    cos, sin = torch.cos(yaw), torch.sin(yaw)
    x = torch.addcmul(cos * u, sin, v)
    y = torch.addcmul(cos * v, sin, u, value=-1)
    return torch.stack([x, y, wrap_angle(turn)], dim=-1)


def apart(w_T_a: Tensor, w_T_b: Tensor) -> tuple[Tensor, Tensor]:
    """Metres (...) between two poses (..., 3), and radians (...) between their headings, neither with a sign."""
    delta = difference(w_T_b, w_T_a)
    return torch.linalg.vector_norm(delta[..., :2], dim=-1), delta[..., 2].abs()


def inverse(a_T_b: Tensor) -> Tensor:
    """b_T_a, (..., 3)."""
    return between(a_T_b, torch.zeros_like(a_T_b))
