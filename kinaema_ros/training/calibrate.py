"""Fit what the network says of its own certainty, on scenes never trained on."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from kinaema_ros import metrics
from kinaema_ros.model.cell import MemoryState
from kinaema_ros.model.decoder import Fusion, fuse
from kinaema_ros.model.network import Kinaema, distinctness
from kinaema_ros.model.se2 import between
from kinaema_ros.training.config import TrainConfig
from kinaema_ros.training.data import Sequence
from kinaema_ros.training.losses import pose_distance
from kinaema_ros.training.through_memory import drifting_odometry

BATCH = 8
LENGTHS = (0.25, 0.5, 1.0)  # of a drive, after which is asked: short memories and long ones
CHI2_90 = (4.605, 2.706)  # 90 % quantiles of chi squared with 2 (position) and 1 (yaw) degrees of freedom


@dataclass
class Evidence:
    """Of V answers about seen and unseen places."""

    spread: Tensor  # (V, Fusion.EVIDENCE) what the deviations are judged by
    seen: Tensor  # (V, 1) what `seen` is judged by
    error: Tensor  # (V, 2) metres and radians; of no meaning for unseen places
    label: Tensor  # (V,) 1: seen, 0: unseen

    def __getitem__(self, which: Tensor) -> Evidence:
        return Evidence(self.spread[which], self.seen[which], self.error[which], self.label[which])

    @staticmethod
    def joined(parts: list[Evidence]) -> Evidence:
        names = [field.name for field in fields(Evidence)]
        return Evidence(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


def calibrate(
    network: Kinaema, config: TrainConfig, device: torch.device, sequences: list[Sequence]
) -> dict[str, float]:
    """Fit ``network.fusion`` in place; returns accuracy, coverage and AUROC on a half that it was not fitted on.

    Half of the drives have exact odometry, the others noise up to ``config.max_odometry_noise``.
    """
    network.eval()
    generator = torch.Generator().manual_seed(config.seed)
    parts = []
    for start in range(0, len(sequences) - 1, BATCH):  # two at least: the unseen places are another one's
        parts += collect_evidence(network, sequences[start : start + BATCH], config.max_odometry_noise, generator, device)
    everything = Evidence.joined(parts)
    fit = torch.arange(len(everything.label), device=device) % 2 == 0
    with torch.enable_grad():
        fit_fusion(network.fusion, everything[fit])
    with torch.no_grad():
        return report(network.fusion, everything[~fit])


@torch.no_grad()
def collect_evidence(
    network: Kinaema,
    sequences: list[Sequence],
    max_noise: tuple[float, float],
    generator: torch.Generator,
    device: torch.device,
) -> list[Evidence]:
    """Drive through the sequences side by side and ask, at each of LENGTHS, about all that was seen so far."""
    frames = len(sequences[0].features) - len(sequences[0].source)
    features = torch.stack([s.features for s in sequences])
    poses = torch.stack([s.poses for s in sequences]).double()
    source = torch.stack([s.source for s in sequences])
    strength = torch.rand(len(sequences), 1, generator=generator, dtype=torch.float64)
    strength[::2] = 0.0
    odometry = drifting_odometry(poses[:, :frames], strength * max_noise[0], strength * max_noise[1], generator)
    queries = features[:, frames:].to(device, torch.float32)
    state = MemoryState.empty(network.config, len(sequences), device)
    asked_after = {round(share * frames) for share in LENGTHS}
    parts = []
    for t in range(frames):
        state = network.update(state, features[:, t].to(device, torch.float32), odometry[:, t].to(device))
        if t + 1 not in asked_after:
            continue
        truth = between(poses[:, t, None], poses[:, frames:]).to(device)
        passed = (source <= t).to(device)
        parts.append(judged(network, state, queries, truth, 1.0)[passed.flatten()])
        parts.append(judged(network, state, queries.roll(1, dims=0), truth, 0.0)[passed.flatten()])
    return parts


def judged(network: Kinaema, state: MemoryState, queries: Tensor, truth: Tensor, label: float) -> Evidence:
    """What the answers to queries (B, Q, F) with relative poses ``truth`` (B, Q, 3) are judged by."""
    h = network.hypotheses(state, queries)
    fused = fuse(h.estimate, h.logit)
    error = torch.stack(pose_distance(fused.pose, truth), dim=-1)
    spread = network.fusion.evidence(fused, h.estimate.match, h.similarity)
    seen = distinctness(state, h.similarity)[..., None]
    parts = (spread, seen, error, torch.full_like(seen[..., 0], label))
    return Evidence(*(tensor.flatten(0, 1).float() for tensor in parts))


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
