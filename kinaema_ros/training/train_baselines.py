"""Training of the learned baselines, on the same drives and questions as the second stage of ours.

Several baselines are trained side by side on the same batches, so that the rendering, which costs most, is
shared. A run lives in a folder (``state.pt``, ``log.jsonl``) and is resumed from there.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kinaema_ros.baselines.learned import Baseline, load_baseline, new_baseline, save_baseline
from kinaema_ros.errors import InputError
from kinaema_ros.model.decoder import PairEstimate
from kinaema_ros.model.network import Kinaema
from kinaema_ros.model.se2 import between, inverse
from kinaema_ros.training.calibrate import Evidence, fit_fusion, report
from kinaema_ros.training.data import DataConfig, Pool, Trajectory, first_in_pool, stream
from kinaema_ros.training.losses import pose_distance, pose_log_likelihood
from kinaema_ros.training.memory_stage import TrajectoryBatch, trajectory_batch

CALIBRATION_SEED = 1_000_003  # added to the data's: drives that no step sees
REPORT_EVERY = 50  # steps
SAVE_EVERY = 120.0  # seconds


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
        for name in ("steps", "batch", "queries", "calibration_drives"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} is out of range: it must be at least 1")
        if max(self.frames) > self.data.frames:
            raise ValueError(f"frames = {self.frames} is out of range: data.frames is {self.data.frames}")


def baseline_loss(baseline: Baseline, drives: TrajectoryBatch) -> tuple[Tensor, dict[str, float]]:
    """Likelihood of the true pose of seen queries, and recognition of seen against unseen ones."""
    state = baseline.remember(drives.features, drives.odometry)
    count = drives.queries.shape[1]
    estimate, robot = baseline.estimate(state, torch.cat([drives.queries, drives.unseen], dim=1))
    # The odometry has drifted: what is asked for is the query relative to where the robot is now.
    estimate = estimate.moved(inverse(robot)[:, None].float())
    seen = PairEstimate(*(getattr(estimate, f.name)[:, :count] for f in dataclasses.fields(estimate)))
    truth = between(drives.poses[:, -1:], drives.query_poses).float()
    regression = -pose_log_likelihood(seen, truth).mean()
    label = torch.zeros_like(estimate.match)
    label[:, :count] = 1.0
    recognition = F.binary_cross_entropy_with_logits(estimate.match, label)
    with torch.no_grad():
        position, yaw = pose_distance(seen.pose, truth)
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
    network: Kinaema,
    config: BaselineConfig,
    folder: Path,
    minutes: float | None = None,
    pool: Pool | None = None,
) -> list[Path]:
    """Train on the CPU, or go on with the run in ``folder``; one checkpoint each, [] if time ran out first.

    ``pool``: drives rendered already, for several runs on the same ones.
    """
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    baselines = {name: new_baseline(name, network).requires_grad_(True).train() for name in names}
    optimisers = {name: _optimiser(baseline, config) for name, baseline in baselines.items()}
    step, summary = 0, json.loads(json.dumps(dataclasses.asdict(config)))
    if (folder / "state.pt").exists():
        saved = torch.load(folder / "state.pt", weights_only=True)
        if json.loads(saved["config"]) != {**summary, "names": names}:
            raise InputError(f"{folder} holds a run with another configuration; choose another folder")
        step = saved["step"]
        for name in names:
            baselines[name].load_state_dict(saved[name])
            optimisers[name].load_state_dict(saved[f"{name} optimiser"])

    def save() -> None:
        state: dict[str, Any] = {"step": step, "config": json.dumps({**summary, "names": names})}
        for name in names:
            state |= {name: baselines[name].state_dict(), f"{name} optimiser": optimisers[name].state_dict()}
        torch.save(state, folder / "state.pt.partial")
        os.replace(folder / "state.pt.partial", folder / "state.pt")

    report_of = {name: Report(folder / "log.jsonl", name, config.steps) for name in names}
    pool, saved_at = pool or _pool(config.data, step), time.monotonic()
    while step < config.steps:
        rng = np.random.default_rng([config.seed, step])
        frames = config.frames[step * len(config.frames) // config.steps]
        chosen = pool.sample(rng, config.batch)
        drives = trajectory_batch(
            chosen, rng, torch.device("cpu"), frames, config.queries, config.max_odometry_noise
        )
        factor = min(1.0, (step + 1) / 100) * (0.02 + 0.49 * (1 + math.cos(math.pi * step / config.steps)))
        torch.manual_seed(step)  # for dropout: a resumed run drops what an uninterrupted one would have
        for name, baseline in baselines.items():
            report_of[name].add(step + 1, _step(baseline, optimisers[name], drives, factor))
        step += 1
        out_of_time = minutes is not None and time.monotonic() - started > 60 * minutes
        if out_of_time or step == config.steps or time.monotonic() - saved_at > SAVE_EVERY:
            save()
            saved_at = time.monotonic()
        if out_of_time and step < config.steps:
            return []
        pool.advance(step)
    del pool  # and its worker, before the next one's
    return _finish(baselines, config, folder, {"train": summary, "steps": step})


class Report:
    """Means of the metrics of some steps, for people and for log.jsonl."""

    def __init__(self, path: Path, name: str, total: int):
        self.path, self.name, self.total = path, name, total
        self.metrics: list[dict[str, float]] = []
        self.started = time.monotonic()

    def add(self, step: int, metrics: dict[str, float]) -> None:
        self.metrics.append(metrics)
        if step % REPORT_EVERY:
            return
        means = {key: round(float(np.mean([m[key] for m in self.metrics])), 4) for key in metrics}
        seconds = round(time.monotonic() - self.started)
        with open(self.path, "a") as log:
            log.write(json.dumps({"step": step, "baseline": self.name, "seconds": seconds, **means}) + "\n")
        text = "  ".join(f"{key} {value:.3f}" for key, value in means.items())
        print(f"{self.name} {step}/{self.total}  {text}  {seconds} s", flush=True)
        self.metrics = []


def _optimiser(baseline: Baseline, config: BaselineConfig) -> torch.optim.Optimizer:
    own = [p for name, p in baseline.named_parameters() if not name.startswith(("descriptor.", "fusion."))]
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
        print(f"wrote {path}: {json.dumps(calibration)}", flush=True)
        paths.append(path)
    return paths


def _calibrate(
    baseline: Baseline, config: BaselineConfig, trajectories: list[Trajectory]
) -> dict[str, float]:
    rng = np.random.default_rng(config.seed)
    parts = []
    for start in range(0, len(trajectories), config.batch):
        chosen = trajectories[start : start + config.batch]
        drives = trajectory_batch(
            chosen, rng, torch.device("cpu"), max(config.frames), config.queries, config.max_odometry_noise
        )
        with torch.no_grad():
            state = baseline.remember(drives.features, drives.odometry)
            truth = between(drives.poses[:, :1], drives.query_poses).float()
            for features, label in ((drives.queries, 1.0), (drives.unseen, 0.0)):
                estimate, _ = baseline.estimate(state, features)
                judged = baseline.evidence(estimate).flatten(0, 1)
                error = torch.stack(pose_distance(estimate.pose, truth), dim=-1).flatten(0, 1)
                parts.append(Evidence(judged, judged, error, torch.full((len(error),), label)))
    everything = Evidence.joined(parts)
    fit = torch.arange(len(everything.label)) % 2 == 0
    with torch.enable_grad():
        fit_fusion(baseline.fusion, everything[fit])
    with torch.no_grad():
        return report(baseline.fusion, everything[~fit])
