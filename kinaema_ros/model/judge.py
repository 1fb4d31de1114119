"""What the hypotheses about a photo are worth: which is the best, was the place seen, is the pose right, how exact is it.

A few numbers of each hypothesis say it all, so that what is fitted on simulated drives holds elsewhere: whether a photo
matches is counted, not learned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinaema_ros.metrics import RIGHT
from kinaema_ros.model.config import SearchConfig
from kinaema_ros.model.localise import Evidence
from kinaema_ros.model.se2 import apart

TERMS = 7  # numbers that a hypothesis is judged by
MAX_MARGIN = 6.0  # of the score; a hypothesis without a rival has as much
NEVER = -1e9  # score of no hypothesis
MAX_SPREAD = 3.0  # log of the largest factor on a deviation
MAX_ASTRAY = 2.5  # log of the largest deviation, metres and radians, of an answer that may be wrong


@dataclass
class Candidates:
    """K hypotheses about each of ... photos, in any order."""

    terms: Tensor  # (..., K, TERMS)
    pose: Tensor  # (..., K, 3) float64 in one frame
    covariance: Tensor  # (..., K, 3, 3) by the residuals' own noise, in the axes of that frame
    drift: Tensor  # (..., K, 2) variances of position and yaw between the robot and the place
    there: Tensor  # (..., K) bool, False: padding

    def __getitem__(self, index: Tensor) -> Candidates:
        return Candidates(*(getattr(self, field.name)[index] for field in fields(self)))


def terms(evidence: Evidence, height: float | None) -> list[float]:
    """The TERMS numbers of a hypothesis.

    The robot's own camera is level, and as high as its mount (``height``); of another one (None) neither is known.
    """
    tilt = abs(evidence.roll) if height is None else math.hypot(evidence.roll, evidence.pitch)
    rise = 0.0 if height is None else abs(evidence.height - height)
    return [
        math.log(evidence.similarity + 0.3),
        math.log(evidence.share + 0.01),
        math.log(evidence.best_share + 0.02),
        evidence.coverage,
        math.log(evidence.inliers + 1.0),
        math.log(min(tilt, 0.5) + 0.05),
        math.log(min(rise, 0.5) + 0.05),
    ]


class Judge(nn.Module):
    """Linear in the terms, but for the deviations, whose logarithm is."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(TERMS))
        self.register_buffer("deviation", torch.ones(TERMS))
        self.rank = nn.Linear(TERMS, 1, bias=False)
        self.recognise = nn.Linear(TERMS, 1)
        self.trust = nn.Linear(TERMS + 2, 1)
        self.spread = nn.Linear(TERMS, 2)  # log of the factors on the deviations of position and yaw
        self.wander = nn.Parameter(torch.zeros(2))  # log of the factors on the drift's variances
        self.stray = nn.Linear(1, 2)  # log of the deviations, metres and radians, by the logit of being right
        with torch.no_grad():
            self.rank.weight.copy_(torch.tensor([[0.375, 2.66, 2.31, 7.29, 0.0, -0.5, -0.8]]))
        self.requires_grad_(False)

    def score(self, candidates: Candidates) -> Tensor:
        """(..., K): the higher the likelier, NEVER for padding."""
        return torch.where(candidates.there, self.rating(candidates.terms), NEVER)

    def rating(self, terms: Tensor) -> Tensor:
        """(...): the higher, the better hypotheses of these terms (..., TERMS) explain the photo."""
        return self.rank(self._standard(terms))[..., 0]

    def seen(self, candidates: Candidates) -> Tensor:
        """(..., K) logit that the place was ever seen, if this hypothesis is the best."""
        return self.recognise(self._standard(candidates.terms))[..., 0]

    def right(self, candidates: Candidates, score: Tensor, distinct: Tensor) -> Tensor:
        """(..., K) logit that a hypothesis is within 1 m and 20 degrees of the truth; see ``rivals``.

        However well it fits, it shares with its rivals: of two places that look alike one is wrong.
        """
        variance = candidates.covariance.diagonal(dim1=-2, dim2=-1)[..., :2].sum(-1)
        exact = variance.clamp(1e-6, 1e2).log() / 4.0
        inputs = [self._standard(candidates.terms), margin(score, distinct)[..., None], exact[..., None]]
        fits = F.logsigmoid(self.trust(torch.cat([part.float() for part in inputs], dim=-1))[..., 0])
        against = torch.where(distinct, score[..., None, :], NEVER)
        share = -F.softplus(against.logsumexp(-1) - score)
        log_right = (fits + share).clamp(-20.0, -1e-6)
        return log_right - torch.log(-torch.expm1(log_right))

    def covariance(self, candidates: Candidates) -> Tensor:
        """(..., K, 3, 3) calibrated, of hypotheses that are right: the residuals' widened, and the drift's."""
        factor = self.spread(self._standard(candidates.terms)).clamp(-MAX_SPREAD, MAX_SPREAD).exp()
        factor = torch.cat([factor[..., :1], factor], dim=-1).double()
        own = candidates.covariance * factor[..., None] * factor[..., None, :]
        return own + self.drift_covariance(candidates.drift)

    def astray(self, right: Tensor) -> Tensor:
        """(..., 3, 3) to be added, of answers that are right with a logit ``right`` (...): they may be elsewhere altogether."""
        deviation = self.stray(right[..., None].float()).clamp_max(MAX_ASTRAY).exp()
        return torch.diag_embed(torch.cat([deviation[..., :1], deviation], dim=-1).double().square())

    def drift_covariance(self, drift: Tensor) -> Tensor:
        """(..., 3, 3) calibrated, of variances (..., 2) of position and yaw by ``pose_graph.drift``."""
        drift = drift * self.wander.exp()
        return torch.diag_embed(torch.cat([drift[..., :1], drift], dim=-1).double())

    def _standard(self, values: Tensor) -> Tensor:
        return (values - self.mean) / self.deviation


def within(covariance: Tensor) -> Tensor:
    """(...) the probability that a pose of this covariance (..., 3, 3), alike in x and y, is within 1 m and 20 degrees."""
    distance, angle = RIGHT
    position, yaw = covariance[..., 0, 0].clamp_min(1e-12), covariance[..., 2, 2].clamp_min(1e-12)
    return -torch.expm1(-(distance**2) / (2.0 * position)) * torch.erf(angle / (2.0 * yaw).sqrt())


def rivals(limits: SearchConfig, pose: Tensor, there: Tensor) -> Tensor:
    """(..., K, K) bool: which hypotheses at ``pose`` (..., K, 3) are about another place than which."""
    distance, turn = apart(pose[..., :, None, :], pose[..., None, :, :])
    far = (distance > limits.distinct_distance) | (turn > limits.distinct_angle)
    return far & there[..., None, :]


def margin(score: Tensor, distinct: Tensor) -> Tensor:
    """By how much (..., K) the score of each hypothesis lies above that of its best rival."""
    best = torch.where(distinct, score[..., None, :], NEVER).amax(-1)
    return (score - best).clamp(-MAX_MARGIN, MAX_MARGIN)
