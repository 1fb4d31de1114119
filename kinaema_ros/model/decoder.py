"""Query decoder: a view attends to the memory; out come poses, their scales and how sure each match is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinaema_ros.model.config import KinaemaConfig
from kinaema_ros.model.se2 import difference

MIN_SCALE, MAX_SCALE = 0.02, 5.0  # metres for position; for yaw in units of the unit circle's chord


@dataclass
class PairEstimate:
    """Where one view lies as seen from another one: offset in the stored view's frame."""

    xy: Tensor  # (..., 2) metres
    direction: Tensor  # (..., 2) cos and sin of the yaw, not normalised
    scale: Tensor  # (..., 2) Laplace scales of position (metres) and direction
    match: Tensor  # (...) logit that the two views show the same place

    @property
    def pose(self) -> Tensor:
        """stored_T_query, (..., 3)."""
        yaw = torch.atan2(self.direction[..., 1], self.direction[..., 0])
        return torch.cat([self.xy, yaw[..., None]], dim=-1)

    def moved(self, a_T_stored: Tensor) -> PairEstimate:
        """The same estimate in frame a, in which the stored view's frame has pose (..., 3)."""
        cos, sin = a_T_stored[..., 2].cos(), a_T_stored[..., 2].sin()

        def rotate(v: Tensor) -> Tensor:
            return torch.stack([cos * v[..., 0] - sin * v[..., 1], sin * v[..., 0] + cos * v[..., 1]], dim=-1)

        return PairEstimate(
            a_T_stored[..., :2] + rotate(self.xy), rotate(self.direction), self.scale, self.match
        )


class PairHead(nn.Module):
    """Relative pose of two views by regression on [probe, content, probe * content].

    The product lets the head compare the two, dimension by dimension.
    """

    def __init__(self, config: KinaemaConfig):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(3 * config.content_dim, config.head_dim),
            nn.GELU(),
            nn.Linear(config.head_dim, config.head_dim),
            nn.GELU(),
            nn.Linear(config.head_dim, 7),
        )

    def forward(self, probe: Tensor, content: Tensor) -> PairEstimate:
        """Estimate from the query's probe and the memory's content, (..., Dc) each, which are broadcast."""
        probe, content = torch.broadcast_tensors(probe, content)
        x = self.layers(torch.cat([probe, content, probe * content], dim=-1))
        offset = torch.zeros(2, device=x.device, dtype=x.dtype)
        offset[0] = 1.0
        return PairEstimate(
            xy=x[..., 0:2],
            direction=x[..., 2:4] + offset,
            scale=torch.exp(x[..., 4:6].clamp(-4.0, 2.0)).clamp(MIN_SCALE, MAX_SCALE),
            match=x[..., 6],
        )


@dataclass
class Fused:
    """One answer from K hypotheses, (...) without their axis."""

    pose: Tensor  # (..., 3)
    scale: Tensor  # (..., 2) mean Laplace scales of the hypotheses that agree
    agreement: Tensor  # (...) weight of the hypotheses that agree with the chosen one, in [0, 1]
    spread: Tensor  # (..., 2) RMS distance of all hypotheses from the answer, by weight: metres, radians


def fuse(estimate: PairEstimate, logit: Tensor) -> Fused:
    """Choose the best supported hypothesis and average those that agree with it by weight and precision.

    Several embeddings usually see the same place and their errors partly cancel; a look-alike elsewhere must
    not be averaged in. estimate (..., K, .), logit (..., K).
    """
    weight = torch.softmax(logit, dim=-1)
    position_scale = estimate.scale[..., 0]
    gap = torch.linalg.vector_norm(estimate.xy[..., :, None, :] - estimate.xy[..., None, :, :], dim=-1)
    width = position_scale[..., :, None] + position_scale[..., None, :]
    agree = torch.exp(-0.5 * (gap / (2.0 * width)) ** 2)  # (..., K, K)
    support = (agree * weight[..., None, :]).sum(-1)
    best = (support * weight.sqrt()).argmax(dim=-1)[..., None]  # of the same support, the better match
    agree = agree.take_along_dim(best[..., None], dim=-2)[..., 0, :]  # (..., K)
    share = weight * agree
    precision = share[..., None] / estimate.scale**2
    precision = precision / precision.sum(-2, keepdim=True)
    xy = (precision[..., :1] * estimate.xy).sum(-2)
    unit = F.normalize(estimate.direction, dim=-1, eps=1e-6)
    direction = (precision[..., 1:] * unit).sum(-2)
    yaw = torch.atan2(direction[..., 1], direction[..., 0])
    scale = (precision * estimate.scale).sum(-2)
    pose = torch.cat([xy, yaw[..., None]], dim=-1)
    away = difference(estimate.pose, pose[..., None, :])
    squared = torch.stack([(away[..., :2] ** 2).sum(-1), away[..., 2] ** 2], dim=-1)
    spread = (weight[..., None] * squared).sum(-2).sqrt()
    return Fused(pose, scale, share.sum(-1), spread)


class Fusion(nn.Module):
    """Calibration: how far the fused answer can be trusted, fitted on scenes never trained on."""

    EVIDENCE = 7
    LEAST_SPREAD = (0.03, 0.02)  # metres and radians: hypotheses that agree better than this agree

    def __init__(self, seen_inputs: int = 1) -> None:
        super().__init__()
        self.spread = nn.Linear(self.EVIDENCE, 2)  # log standard deviations
        self.seen = nn.Linear(seen_inputs, 1)
        with torch.no_grad():
            for layer in (self.spread, self.seen):
                layer.weight.zero_()
                layer.bias.zero_()
            self.spread.weight[0, 0] = self.spread.weight[1, 1] = 1.0
            self.spread.bias.fill_(0.55)  # sqrt(3): deviation of one axis of a planar Laplace of scale 1

    def deviations(self, evidence: Tensor) -> Tensor:
        """Standard deviations (..., 2) of position (each axis, metres) and yaw (radians)."""
        return self.spread(evidence).clamp(-5.0, 3.0).exp()

    def probability(self, evidence: Tensor) -> Tensor:
        """That the place is in memory, (...), judged by evidence (..., seen_inputs)."""
        return torch.sigmoid(self.seen(evidence)[..., 0])

    @staticmethod
    def evidence(fused: Fused, match: Tensor, similarity: Tensor) -> Tensor:
        """What the deviations are judged by, (..., EVIDENCE)."""
        spread = fused.spread + torch.tensor(Fusion.LEAST_SPREAD, device=fused.spread.device)
        return torch.cat(
            [
                fused.scale.log(),
                match.max(dim=-1, keepdim=True).values,
                similarity.max(dim=-1, keepdim=True).values.clamp_min(-1.0),
                fused.agreement[..., None],
                spread.log(),
            ],
            dim=-1,
        )
