"""Training of the learned baselines, on the same drives and questions as the second stage of ours.

Several baselines are trained side by side on the same batches, so that the rendering, which costs most, is
shared. A run lives in a folder (``state.pt``, ``log.jsonl``) and is resumed from there.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinaema_ros import metrics
from kinaema_ros.baselines.decoder import Calibration, PoseEstimate
from kinaema_ros.baselines.learned import KINDS, Baseline, load_baseline, save_baseline
from kinaema_ros.model.se2 import apart, between, inverse
from kinaema_ros.training.fit import CHI2_90
from kinaema_ros.training.run import Log, Means, Run, learning_rate
from kinaema_ros.training.trajectories import (
    CALIBRATION_SEED,
    DataConfig,
    Pool,
    Trajectory,
    TrajectoryBatch,
    first_in_pool,
    in_batches,
    stream,
    trajectory_batch,
)

logger = logging.getLogger(__name__)
REPORT_EVERY = 50  # steps
SAVE_EVERY = 2.0  # minutes


@dataclass(frozen=True)
class BaselineConfig:
    """Learning rates at their start; ``frames``: curriculum of equal shares of ``steps``."""

    steps: int = 3000
    batch: int = 8
    queries: int = 24
    frames: tuple[int, ...] = (32, 64, 128)
    learning_rate: float = 1e-3
    descriptor_rate: float = 1e-4  # of the copied descriptor, which has learned already
    max_odometry_noise: tuple[float, float] = (0.05, 0.5)  # fraction of the distance, degrees; per step
    calibration_drives: int = 48
    seed: int = 0
    data: DataConfig = dataclasses.field(default_factory=DataConfig)

    def __post_init__(self) -> None:
        # Two: the places that a drive has not seen are those of another one.
        for name, least in {"steps": 1, "batch": 2, "queries": 1, "calibration_drives": 2}.items():
            if getattr(self, name) < least:
                raise ValueError(
                    f"{name} = {getattr(self, name)} is out of range: it must be at least {least}"
                )
        if max(self.frames) > self.data.frames:
            raise ValueError(f"frames = {self.frames} is out of range: data.frames is {self.data.frames}")


def pose_log_likelihood(estimate: PoseEstimate, truth: Tensor) -> Tensor:
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


def baseline_loss(baseline: Baseline, drives: TrajectoryBatch) -> tuple[Tensor, dict[str, float]]:
    """Likelihood of the true pose of seen queries, and recognition of seen against unseen ones."""
    state = baseline.remember(drives.features, drives.odometry)
    count = drives.queries.shape[1]
    estimate, robot = baseline.estimate(state, torch.cat([drives.queries, drives.unseen], dim=1))
    # The odometry has drifted: what is asked for is the query relative to where the robot is now.
    estimate = estimate.moved(inverse(robot)[:, None].float())
    seen = PoseEstimate(*(getattr(estimate, f.name)[:, :count] for f in dataclasses.fields(estimate)))
    truth = between(drives.poses[:, -1:], drives.query_poses).float()
    regression = -pose_log_likelihood(seen, truth).mean()
    label = torch.zeros_like(estimate.match)
    label[:, :count] = 1.0
    recognition = F.binary_cross_entropy_with_logits(estimate.match, label)
    with torch.no_grad():
        position, yaw = apart(seen.pose, truth)
        good = (position < 1.0) & (yaw < math.radians(20.0))
    loss = regression + recognition
    return loss, {
        "loss": loss.item(),
        "recognition": recognition.item(),
        "accuracy": 100 * good.float().mean().item(),
        "median_m": position.median().item(),
    }


def train_baselines(
    names: list[str],
    checkpoints: Path,
    config: BaselineConfig,
    folder: Path,
    minutes: float | None = None,
) -> list[Path]:
    """Train on the CPU, or continue the run in ``folder``; one checkpoint each, [] if time ran out first.

    ``checkpoints``: folder of baselines whose trunk and descriptor they begin with.

    ``ValueError`` if the run in the folder was started with another configuration.
    """
    summary = dataclasses.asdict(config)
    run = Run(folder, {**summary, "names": names}, minutes)
    torch.manual_seed(config.seed)
    baselines = {name: _new(name, checkpoints) for name in names}
    optimisers = {name: _optimiser(baseline, config) for name, baseline in baselines.items()}
    step = 0
    if (saved := run.resume(torch.device("cpu"))) is not None:
        step = saved["step"]
        for name in names:
            baselines[name].load_state_dict(saved[name])
            optimisers[name].load_state_dict(saved[f"{name} optimiser"])
    log, means = Log(folder, config.steps), {name: Means() for name in names}
    pool, started = _pool(config.data, step), time.monotonic()
    while step < config.steps:
        pool.advance(step)
        rng = np.random.default_rng([config.seed, step])
        frames = config.frames[step * len(config.frames) // config.steps]
        chosen = pool.sample(rng, config.batch)
        drives = trajectory_batch(
            chosen, rng, torch.device("cpu"), frames, config.queries, config.max_odometry_noise
        )
        factor = learning_rate(1.0, step, config.steps, warm_up=100, last=0.02)
        torch.manual_seed(step)  # for dropout: a resumed run drops what an uninterrupted one would have
        for name, baseline in baselines.items():
            means[name].add(_step(baseline, optimisers[name], drives, factor))
        step += 1
        if step % REPORT_EVERY == 0:
            seconds = round(time.monotonic() - started)
            for name in names:
                log.write(name, step, means[name].take(), baseline=name, seconds=seconds)
        out_of_time = run.out_of_time()
        if out_of_time or step == config.steps or run.minutes_since_save() > SAVE_EVERY:
            state: dict[str, Any] = {"step": step}
            for name in names:
                state |= {
                    name: baselines[name].state_dict(),
                    f"{name} optimiser": optimisers[name].state_dict(),
                }
            run.save(state)
        if out_of_time and step < config.steps:
            return []
    del pool  # and its worker, before the next one's
    return _finish(baselines, config, folder, {"train": summary, "steps": step})


def _new(name: str, checkpoints: Path) -> Baseline:
    """Untrained but for trunk and descriptor."""
    trained = load_baseline(checkpoints / f"baseline-{name}.safetensors", name)
    baseline = KINDS[name](trained.config)
    baseline.trunk.load_state_dict(trained.trunk.state_dict())
    baseline.descriptor.load_state_dict(trained.descriptor.state_dict())
    baseline.requires_grad_(True).train()
    baseline.trunk.requires_grad_(False).eval()
    return baseline


def _optimiser(baseline: Baseline, config: BaselineConfig) -> torch.optim.Optimizer:
    own = [
        p
        for name, p in baseline.named_parameters()
        if not name.startswith(("trunk.", "descriptor.", "calibration."))
    ]
    groups = [
        {"params": own, "lr": config.learning_rate, "rate": config.learning_rate},
        {"params": list(baseline.descriptor.parameters()), "lr": 0.0, "rate": config.descriptor_rate},
    ]
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.05)


def _step(
    baseline: Baseline, optimiser: torch.optim.Optimizer, drives: TrajectoryBatch, factor: float
) -> dict[str, float]:
    for group in optimiser.param_groups:
        group["lr"] = group["rate"] * factor
    loss, metrics = baseline_loss(baseline, drives)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(baseline.parameters(), 2.0)
    optimiser.step()
    return metrics


def _pool(data: DataConfig, step: int) -> Pool:
    return Pool(data, stream(data, first_in_pool(data, step), 1, encode_in_worker=True), step)


def _finish(
    baselines: dict[str, Baseline], config: BaselineConfig, folder: Path, training: dict[str, Any]
) -> list[Path]:
    """Calibrate on drives that no step saw, as ours is, and write the checkpoints."""
    data = dataclasses.replace(
        config.data, seed=config.data.seed + CALIBRATION_SEED, pool_start=config.calibration_drives
    )
    fresh = _pool(data, 0).trajectories
    paths = []
    for name, baseline in baselines.items():
        baseline.requires_grad_(False).eval()
        calibration = _calibrate(baseline, config, fresh)
        path = folder / f"baseline-{name}.safetensors"
        save_baseline(path, baseline, {**training, "calibration": calibration})
        load_baseline(path, name)  # what was written can be read
        logger.info("wrote %s: %s", path, json.dumps(calibration))
        paths.append(path)
    return paths


def _calibrate(
    baseline: Baseline, config: BaselineConfig, trajectories: list[Trajectory]
) -> dict[str, float]:
    rng = np.random.default_rng(config.seed)
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for chosen in in_batches(trajectories, config.batch):
        drives = trajectory_batch(
            chosen, rng, torch.device("cpu"), max(config.frames), config.queries, config.max_odometry_noise
        )
        with torch.no_grad():
            state = baseline.remember(drives.features, drives.odometry)
            truth = between(drives.poses[:, :1], drives.query_poses).float()
            for features, label in ((drives.queries, 1.0), (drives.unseen, 0.0)):
                estimate, _ = baseline.estimate(state, features)
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
