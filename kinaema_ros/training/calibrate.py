"""Fit what the network says of its own certainty, on scenes never trained on."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from kinaema_ros import metrics
from kinaema_ros.model.cell import MemoryState
from kinaema_ros.model.decoder import Fusion, PairEstimate, fuse
from kinaema_ros.model.network import Kinaema, distinctness
from kinaema_ros.model.se2 import between
from kinaema_ros.training.config import TrainConfig
from kinaema_ros.training.data import Trajectory, in_batches
from kinaema_ros.training.losses import pose_distance, pose_log_likelihood
from kinaema_ros.training.memory_stage import drifting_odometry

BATCH = 8
LENGTHS = (0.25, 0.5, 1.0)  # of a drive, after which is asked: short memories and long ones
CHI2_90 = (4.605, 2.706)  # 90 % quantiles of chi squared with 2 (position) and 1 (yaw) degrees of freedom


Kind = TypeVar("Kind", bound="Rows")


class Rows:
    """Tensors with one row for each of V answers."""

    def __getitem__(self: Kind, which: Tensor) -> Kind:
        return type(self)(*(getattr(self, field.name)[which] for field in fields(self)))  # type: ignore[arg-type]

    @classmethod
    def joined(cls: type[Kind], parts: Iterable[Kind]) -> Kind:
        """The rows of all ``parts``, one after another."""
        columns = zip(*([getattr(part, field.name) for field in fields(part)] for part in parts), strict=True)  # type: ignore[arg-type]
        return cls(*(torch.cat(column) for column in columns))


@dataclass
class Asked(Rows):
    """Questions about seen and unseen places, and what K embeddings said of each."""

    xy: Tensor  # (V, K, 2), this and the next three as in PairEstimate
    direction: Tensor  # (V, K, 2)
    scale: Tensor  # (V, K, 2)
    match: Tensor  # (V, K)
    similarity: Tensor  # (V, K)
    distinctness: Tensor  # (V, 1)
    truth: Tensor  # (V, 3); of no meaning for unseen places
    label: Tensor  # (V,) 1: seen, 0: unseen

    @property
    def estimate(self) -> PairEstimate:
        """What the K embeddings said, as estimates (V, K)."""
        return PairEstimate(self.xy, self.direction, self.scale, self.match)


@dataclass
class Evidence(Rows):
    """What the fused answers are judged by."""

    spread: Tensor  # (V, Fusion.EVIDENCE) what the deviations are judged by
    seen: Tensor  # (V, 1) what `seen` is judged by
    error: Tensor  # (V, 2) metres and radians; of no meaning for unseen places
    label: Tensor  # (V,) 1: seen, 0: unseen


def calibrate(
    network: Kinaema, config: TrainConfig, device: torch.device, trajectories: list[Trajectory]
) -> dict[str, float]:
    """Fit how ``network`` chooses between hypotheses, its deviations and `seen`, in place.

    The odometry of every drive drifts, by up to ``config.max_odometry_noise``, as a robot's does. Returns accuracy,
    coverage and AUROC on a half of the questions that nothing was fitted on.
    """
    network.eval()
    generator = torch.Generator().manual_seed(config.seed)
    asked = Asked.joined(
        part
        for batch in in_batches(trajectories, BATCH)
        for part in ask(network, batch, config.max_odometry_noise, generator, device)
    )
    fit = torch.arange(len(asked.label), device=device) % 2 == 0
    with torch.enable_grad():
        fit_choice(network, asked[fit & (asked.label > 0.5)])
    with torch.no_grad():
        evidence = judge(network, asked)
    with torch.enable_grad():
        fit_fusion(network.fusion, evidence[fit])
    with torch.no_grad():
        return report(network.fusion, evidence[~fit])


@torch.no_grad()
def ask(
    network: Kinaema,
    trajectories: list[Trajectory],
    max_noise: tuple[float, float],
    generator: torch.Generator,
    device: torch.device,
) -> list[Asked]:
    """Drive through the trajectories side by side and ask, at each of LENGTHS, about all that was seen so far."""
    frames = len(trajectories[0].features) - len(trajectories[0].source)
    features = torch.stack([s.features for s in trajectories])
    poses = torch.stack([s.poses for s in trajectories]).double()
    source = torch.stack([s.source for s in trajectories])
    strength = torch.rand(len(trajectories), 1, generator=generator, dtype=torch.float64)
    odometry = drifting_odometry(
        poses[:, :frames], strength * max_noise[0], strength * max_noise[1], generator
    )
    queries = features[:, frames:].to(device, torch.float32)
    state = MemoryState.empty(network.config, len(trajectories), device)
    asked_after = {round(share * frames) for share in LENGTHS}
    parts = []
    for t in range(frames):
        state = network.update(state, features[:, t].to(device, torch.float32), odometry[:, t].to(device))
        if t + 1 not in asked_after:
            continue
        truth = between(poses[:, t, None], poses[:, frames:]).to(device)
        passed = (source <= t).flatten().to(device)
        parts.append(answers(network, state, queries, truth, 1.0)[passed])
        parts.append(answers(network, state, queries.roll(1, dims=0), truth, 0.0)[passed])
    return parts


def answers(network: Kinaema, state: MemoryState, queries: Tensor, truth: Tensor, label: float) -> Asked:
    """What the memory says of queries (B, Q, F) with relative poses ``truth`` (B, Q, 3)."""
    h = network.hypotheses(state, queries)
    distinct = distinctness(network.config.distinctness, state, h.similarity)
    e, labels = h.estimate, torch.full_like(distinct, label)
    parts = (e.xy, e.direction, e.scale, e.match, h.similarity, distinct[..., None], truth, labels)
    return Asked(*(tensor.flatten(0, 1).float() for tensor in parts))


def fit_choice(network: Kinaema, asked: Asked) -> None:
    """How much match and similarity count in the choice between hypotheses: where the truth is likeliest."""
    likelihood = pose_log_likelihood(asked.estimate, asked.truth[:, None])  # (V, K)
    network.choice.requires_grad_(True)
    optimiser = torch.optim.LBFGS([network.choice], lr=0.5, max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        log_weight = F.log_softmax(network.logit(asked.match, asked.similarity), dim=-1)
        total = -torch.logsumexp(log_weight + likelihood, dim=-1).mean()
        total.backward()
        return total

    optimiser.step(loss)
    network.choice.requires_grad_(False)


def judge(network: Kinaema, asked: Asked) -> Evidence:
    """The fused answers."""
    fused = fuse(asked.estimate, network.logit(asked.match, asked.similarity))
    error = torch.stack(pose_distance(fused.pose, asked.truth), dim=-1)
    spread = network.fusion.evidence(fused, asked.match, asked.similarity)
    return Evidence(spread, asked.distinctness, error, asked.label)


def fit_fusion(fusion: Fusion, evidence: Evidence) -> None:
    """Logistic regression of seen; log-linear deviations by likelihood, then scaled to hold 90 % of the errors."""
    fusion.requires_grad_(True)
    optimiser = torch.optim.LBFGS(fusion.parameters(), lr=0.5, max_iter=200, line_search_fn="strong_wolfe")
    here = evidence[evidence.label > 0.5]

    def loss() -> Tensor:
        optimiser.zero_grad()
        std, probability = fusion.deviations(here.spread), fusion.probability(evidence.seen)
        recognition = F.binary_cross_entropy(probability.clamp(1e-6, 1 - 1e-6), evidence.label)
        # Student's t with 4 degrees of freedom: a wrong hypothesis must not widen all ellipses
        spread = 2.5 * torch.log1p((here.error / std) ** 2 / 4.0) + std.log()
        total = recognition + spread.mean()
        total.backward()
        return total

    optimiser.step(loss)
    fusion.requires_grad_(False)
    std = fusion.deviations(here.spread)
    for axis, quantile in enumerate(CHI2_90):
        ratio = torch.quantile(here.error[:, axis] / std[:, axis], 0.9) / math.sqrt(quantile)
        fusion.spread.bias[axis] += ratio.log()


def report(fusion: Fusion, evidence: Evidence) -> dict[str, float]:
    """Accuracy, coverage and AUROC."""
    std, probability = fusion.deviations(evidence.spread), fusion.probability(evidence.seen)
    here = evidence.label > 0.5
    position, yaw = evidence.error[here].unbind(1)
    inside = [
        (evidence.error[here, axis] / std[here, axis] < math.sqrt(q)).float().mean().item()
        for axis, q in enumerate(CHI2_90)
    ]
    auroc = metrics.auroc(probability.cpu().numpy(), here.cpu().numpy())
    return {
        "acc_0.5m_10deg": round(((position < 0.5) & (yaw < math.radians(10))).float().mean().item(), 4),
        "acc_1m_20deg": round(((position < 1.0) & (yaw < math.radians(20))).float().mean().item(), 4),
        "acc_2m_30deg": round(((position < 2.0) & (yaw < math.radians(30))).float().mean().item(), 4),
        "median_position_m": round(position.median().item(), 4),
        "median_yaw_deg": round(math.degrees(yaw.median().item()), 4),
        "inside_90_position": round(inside[0], 4),
        "inside_90_yaw": round(inside[1], 4),
        "seen_auroc": round(auroc or 0.0, 4),
    }
