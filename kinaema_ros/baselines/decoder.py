"""What the learned baselines answer: a pose, its scales, how sure the match is, and the calibration of all that."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

MIN_SCALE, MAX_SCALE = 0.02, 5.0  # metres for position; for yaw in units of the unit circle's chord


@dataclass
class PoseEstimate:
    """Where a query lies in a stored frame, that of the drive's start."""

    xy: Tensor  # (..., 2) metres
    direction: Tensor  # (..., 2) cos and sin of the yaw, not normalised
    scale: Tensor  # (..., 2) Laplace scales of position (metres) and direction
    match: Tensor  # (...) logit that the drive has seen the place

    @property
    def pose(self) -> Tensor:
        """stored_T_query, (..., 3)."""
        yaw = torch.atan2(self.direction[..., 1], self.direction[..., 0])
        return torch.cat([self.xy, yaw[..., None]], dim=-1)

    def moved(self, a_T_stored: Tensor) -> PoseEstimate:
        """The same estimate in frame a, in which the stored frame has pose (..., 3)."""
        cos, sin = a_T_stored[..., 2].cos(), a_T_stored[..., 2].sin()

        def rotate(v: Tensor) -> Tensor:
            return torch.stack([cos * v[..., 0] - sin * v[..., 1], sin * v[..., 0] + cos * v[..., 1]], dim=-1)

        return PoseEstimate(
            a_T_stored[..., :2] + rotate(self.xy), rotate(self.direction), self.scale, self.match
        )


class Calibration(nn.Module):
    """How far an answer can be trusted, fitted on scenes never trained on."""

    EVIDENCE = 3

    def __init__(self) -> None:
        super().__init__()
        self.spread = nn.Linear(self.EVIDENCE, 2)  # log standard deviations
        self.seen = nn.Linear(self.EVIDENCE, 1)
        with torch.no_grad():
            for layer in (self.spread, self.seen):
                layer.weight.zero_()
                layer.bias.zero_()
            self.spread.weight[0, 0] = self.spread.weight[1, 1] = 1.0
            self.spread.bias.fill_(0.55)  # sqrt(3): deviation of one axis of a planar Laplace of scale 1
        self.requires_grad_(False)

    def deviations(self, evidence: Tensor) -> Tensor:
        """Standard deviations (..., 2) of position (each axis, metres) and yaw (radians)."""
        return self.spread(evidence).clamp(-5.0, 3.0).exp()

    def probability(self, evidence: Tensor) -> Tensor:
        """That the drive has seen the place, (...)."""
        return torch.sigmoid(self.seen(evidence)[..., 0])

    @staticmethod
    def evidence(estimate: PoseEstimate) -> Tensor:
        """What both are judged by, (..., EVIDENCE)."""
        return torch.cat([estimate.scale.log(), estimate.match[..., None]], dim=-1)
