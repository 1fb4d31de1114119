"""How far the learned baselines' answers can be trusted, fitted on drives that nothing was learned from."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from kinaema_ros import metrics
from kinaema_ros.baselines.baseline import Baseline
from kinaema_ros.baselines.decoder import Calibration
from kinaema_ros.model.se2 import apart, between
from kinaema_ros.training.drive_folder import DriveFolder, draw
from kinaema_ros.training.fit import CHI2_90

BATCH, QUESTIONS = 16, 24


def calibrate(
    baseline: Baseline, held: DriveFolder, max_noise: tuple[float, float], seed: int
) -> dict[str, float]:
    """Fit on one half of the questions; returned is how it does on the other."""
    generator = torch.Generator().manual_seed(seed)
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for _ in range(-(-len(held) // BATCH)):
        drives = draw(held, BATCH, held.frames, max_noise, generator)
        asked = drives.questions(0, held.frames, QUESTIONS, False, generator)
        with torch.no_grad():
            state = baseline.remember(baseline.start(BATCH, held.frames), drives.views, drives.odometry)
            truth = between(drives.poses[:, :1], asked.poses).float()
            for views, label in ((asked.views, 1.0), (asked.unseen, 0.0)):
                estimate, _ = baseline.estimate(state, views)
                judged = Calibration.evidence(estimate).flatten(0, 1)
                error = torch.stack(apart(estimate.pose, truth), dim=-1).flatten(0, 1)
                parts.append((judged, error, torch.full((len(error),), label)))
    everything = [torch.cat(column) for column in zip(*parts, strict=True)]
    fit = torch.arange(len(everything[-1])) % 2 == 0
    with torch.enable_grad():
        _fit(baseline.calibration, *(column[fit] for column in everything))
    with torch.no_grad():
        return _report(baseline.calibration, *(column[~fit] for column in everything))


def _fit(calibration: Calibration, evidence: Tensor, error: Tensor, label: Tensor) -> None:
    """Logistic regression of seen; log-linear deviations by likelihood, then scaled to hold 90 % of the errors."""
    calibration.requires_grad_(True)
    optimiser = torch.optim.LBFGS(
        calibration.parameters(), lr=0.5, max_iter=200, line_search_fn="strong_wolfe"
    )
    here = label > 0.5

    def loss() -> Tensor:
        optimiser.zero_grad()
        std, probability = calibration.deviations(evidence[here]), calibration.probability(evidence)
        recognition = F.binary_cross_entropy(probability.clamp(1e-6, 1 - 1e-6), label)
        # Student's t with 4 degrees of freedom: a wrong answer must not widen all ellipses
        spread = 2.5 * torch.log1p((error[here] / std) ** 2 / 4.0) + std.log()
        total = recognition + spread.mean()
        total.backward()
        return total

    optimiser.step(loss)
    calibration.requires_grad_(False)
    std = calibration.deviations(evidence[here])
    for axis, quantile in enumerate(CHI2_90):
        ratio = torch.quantile(error[here, axis] / std[:, axis], 0.9) / math.sqrt(quantile)
        calibration.spread.bias[axis] += ratio.log()


def _report(calibration: Calibration, evidence: Tensor, error: Tensor, label: Tensor) -> dict[str, float]:
    """Accuracy, coverage and AUROC."""
    here = label > 0.5
    std, seen = calibration.deviations(evidence[here]), calibration.probability(evidence)
    inside = [
        float((error[here, axis] / std[:, axis] < math.sqrt(q)).double().mean())
        for axis, q in enumerate(CHI2_90)
    ]
    values = {
        **metrics.accuracy_summary(*error[here].numpy().T),
        "inside_90_position": inside[0],
        "inside_90_yaw": inside[1],
        "seen_auroc": metrics.auroc(seen.numpy(), here.numpy()),
    }
    return {key: round(value or 0.0, 4) for key, value in values.items()}
