"""Fit what the network says of its own certainty, on scenes never trained on."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kinaema_ros.model.cell import MemoryState
from kinaema_ros.model.decoder import Fusion, fuse
from kinaema_ros.model.network import Kinaema, distinctness
from kinaema_ros.model.se2 import between
from kinaema_ros.training.config import TrainConfig
from kinaema_ros.training.data import Sequence
from kinaema_ros.training.losses import pose_distance
from kinaema_ros.training.through_memory import drives_batch, remember

BATCH = 8
CHI2_90 = (4.605, 2.706)  # 90 % quantiles of chi squared with 2 (position) and 1 (yaw) degrees of freedom


def calibrate(
    network: Kinaema, config: TrainConfig, device: torch.device, sequences: list[Sequence]
) -> dict[str, float]:
    """Fit ``network.fusion`` in place; returns accuracy, coverage and AUROC on a half that it was not fitted on."""
    network.eval()
    rng = np.random.default_rng(config.seed)
    collected: list[tuple[Tensor, ...]] = []
    for start in range(0, len(sequences) - 1, BATCH):  # two at least: the unseen places are another one's
        drives = drives_batch(
            sequences[start : start + BATCH], rng, device, config.data.frames, config.data.queries, (0.0, 0.0)
        )
        with torch.no_grad():
            state = MemoryState.empty(network.config, len(drives.features), device)
            state = remember(network, drives, state, 0)
            truth = between(drives.poses[:, -1:], drives.query_poses)
            for features, known in ((drives.queries, 1.0), (drives.unseen, 0.0)):
                h = network.hypotheses(state, features)
                fused = fuse(h.estimate, h.logit)
                error = torch.stack(pose_distance(fused.pose, truth), dim=-1)
                evidence = network.fusion.evidence(fused, h.estimate.match, h.similarity)
                standing_out = distinctness(state, h.similarity)[..., None]
                label = torch.full_like(standing_out[..., 0], known)
                collected.append(tuple(t.flatten(0, 1).float() for t in (evidence, standing_out, error, label)))
    evidence, standing_out, error, seen = (torch.cat(parts) for parts in zip(*collected, strict=True))
    fit = torch.arange(len(seen), device=device) % 2 == 0
    with torch.enable_grad():
        fit_fusion(network.fusion, evidence[fit], standing_out[fit], error[fit], seen[fit])
    with torch.no_grad():
        std = network.fusion.deviations(evidence[~fit])
        probability = network.fusion.probability(standing_out[~fit])
    return report(std, probability, error[~fit], seen[~fit])


def fit_fusion(fusion: Fusion, evidence: Tensor, standing_out: Tensor, error: Tensor, seen: Tensor) -> None:
    """Logistic regression of seen; log-linear deviations by likelihood, then scaled to hold 90 % of the errors."""
    fusion.requires_grad_(True)
    optimiser = torch.optim.LBFGS(fusion.parameters(), lr=0.5, max_iter=200, line_search_fn="strong_wolfe")
    here = seen > 0.5

    def loss() -> Tensor:
        optimiser.zero_grad()
        std, probability = fusion.deviations(evidence), fusion.probability(standing_out)
        recognition = F.binary_cross_entropy(probability.clamp(1e-6, 1 - 1e-6), seen)
        # Student's t with 4 degrees of freedom: a wrong hypothesis must not widen all ellipses
        spread = 2.5 * torch.log1p((error[here] / std[here]) ** 2 / 4.0) + std[here].log()
        total = recognition + spread.mean()
        total.backward()
        return total

    optimiser.step(loss)
    fusion.requires_grad_(False)
    std = fusion.deviations(evidence[here])
    for axis, quantile in enumerate(CHI2_90):
        ratio = torch.quantile(error[here, axis] / std[:, axis], 0.9) / math.sqrt(quantile)
        fusion.spread.bias[axis] += ratio.log()


def report(std: Tensor, probability: Tensor, error: Tensor, seen: Tensor) -> dict[str, float]:
    here = seen > 0.5
    position, yaw = error[here].unbind(1)
    inside = [
        (error[here, axis] / std[here, axis] < math.sqrt(q)).float().mean().item() for axis, q in enumerate(CHI2_90)
    ]
    wins = (probability[here][:, None] > probability[~here][None]).float().mean()
    return {
        "acc_0.5m_10deg": round(((position < 0.5) & (yaw < math.radians(10))).float().mean().item(), 4),
        "acc_1m_20deg": round(((position < 1.0) & (yaw < math.radians(20))).float().mean().item(), 4),
        "acc_2m_30deg": round(((position < 2.0) & (yaw < math.radians(30))).float().mean().item(), 4),
        "median_position_m": round(position.median().item(), 4),
        "median_yaw_deg": round(math.degrees(yaw.median().item()), 4),
        "inside_90_position": round(inside[0], 4),
        "inside_90_yaw": round(inside[1], 4),
        "seen_auroc": round(wins.item(), 4),
    }
