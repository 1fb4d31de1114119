"""Training of the learned baselines, the paper's memory among them, on rendered drives.

Several are trained side by side on the same batches and questions. A run lives in a folder (``state.pt``, ``log.jsonl``) and
is resumed from there. How far it is, is told in sequences: parts of drives that were gone through and asked about.
"""

from __future__ import annotations

import bisect
import copy
import dataclasses
import itertools
import json
import logging
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kinaema_ros.baselines.baseline import Baseline
from kinaema_ros.baselines.checkpoint import KINDS, load_baseline, save_baseline
from kinaema_ros.baselines.config import LearnedConfig, PaperConfig
from kinaema_ros.baselines.paper import Paper
from kinaema_ros.training.drive_folder import DriveBatch, DriveFolder, draw
from kinaema_ros.training.fit_calibration import calibrate
from kinaema_ros.training.question_loss import question_loss
from kinaema_ros.training.run import Log, Means, Run
from kinaema_ros.training.trajectories import DataConfig

logger = logging.getLogger(__name__)
PRETRAINED = "baseline-attention.safetensors"  # of the shipped ones: by its trunk and descriptor all see
REPORT_EVERY, SAVE_EVERY, REFRESH_EVERY = 20, 2.0, 3.0  # steps, minutes, minutes
CHECKED_DRIVES = 32  # held out, of which accuracy is told every CHECK_EVERY steps
CHECK_EVERY = 100
AVERAGING = 0.995  # of the weights' average, a step
LAST_PART = 0.2  # of the sequences, in which the learning rate falls to nothing


@dataclass(frozen=True)
class Stage:
    """Of the curriculum: parts of so many frames, ``sequences`` of them, ``batch`` at a time."""

    frames: int
    sequences: int
    batch: int


@dataclass(frozen=True)
class BaselineConfig:
    """Learning rate at its peak. Of a stage's first half the questions are about the newest frames, more and more of them."""

    stages: tuple[Stage, ...] = (
        Stage(8, 128_000, 32),
        Stage(16, 112_000, 32),
        Stage(32, 104_000, 32),
        Stage(64, 44_000, 32),
        Stage(128, 12_000, 32),
    )
    chunk: int = 32  # frames after which questions are asked, and beyond which nothing is learned back
    questions: int = 8  # of each kind after a chunk: views near the way, its own frames, places never seen
    learning_rate: float = 1e-3
    warm_up: int = 200  # steps
    weight_decay: float = 0.05
    imagine: float = 0.3  # weight of foretelling a view's key from its pose, by the paper's memory alone
    recall: bool = True  # whether the way's own frames are asked about, too
    max_odometry_noise: tuple[float, float] = (0.05, 0.5)  # fraction of the distance, degrees; per step
    seed: int = 0
    paper: PaperConfig = dataclasses.field(default_factory=PaperConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)

    def __post_init__(self) -> None:
        if not self.stages:
            raise ValueError("stages: there must be at least one")
        for stage in self.stages:
            if not 2 <= stage.frames <= self.data.frames:
                raise ValueError(
                    f"stages: frames = {stage.frames} must be 2 to data.frames, {self.data.frames}"
                )
            if min(stage.sequences, stage.batch) < 1:
                raise ValueError(f"stages: {stage}: sequences and batch must be at least 1")
        for name in ("chunk", "questions", "warm_up"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} is out of range: it must be at least 1")

    @property
    def sequences(self) -> int:
        """Of all stages."""
        return sum(stage.sequences for stage in self.stages)

    def stage(self, sequences: int) -> tuple[Stage, float]:
        """What comes after so many, and the share of its stage that is done."""
        ends = list(itertools.accumulate(stage.sequences for stage in self.stages))
        which = min(bisect.bisect_right(ends, sequences), len(ends) - 1)
        stage = self.stages[which]
        return stage, 1.0 - (ends[which] - sequences) / stage.sequences


def learn(
    baseline: Baseline, drives: DriveBatch, config: BaselineConfig, recent: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """Add the gradients of a batch, chunk by chunk; questions are about the last ``recent`` frames."""
    total = drives.views.shape[1]
    state = baseline.start(len(drives.views), total)
    ends = [*range(config.chunk, total, config.chunk), total]
    sums: dict[str, Tensor] = {}
    for begin, end in itertools.pairwise([0, *ends]):
        asked = drives.questions(max(0, end - recent), end, config.questions, config.recall, generator)
        with _half_precision(drives.views.device.type):
            state = baseline.remember(state, drives.views[:, begin:end], drives.odometry[:, begin:end])
            loss, values = question_loss(
                baseline, state, asked, drives.poses[:, end - 1 : end], drives.poses[:, :1], config.imagine
            )
        (loss / len(ends)).backward()
        state = baseline.forget_gradient(state)
        for name, value in values.items():
            sums[name] = sums.get(name, torch.zeros_like(value)) + value / len(ends)
    return sums


def _half_precision(device: str) -> AbstractContextManager[object]:
    """Where the device has it."""
    if torch.amp.is_autocast_available(device):
        return torch.autocast(device, torch.bfloat16)
    return nullcontext()


@torch.no_grad()
def check(baseline: Baseline, held: DriveFolder, frames: int, config: BaselineConfig) -> dict[str, float]:
    """Accuracy in drives that nothing was learned from, asked at their end about all of them."""
    generator = torch.Generator().manual_seed(config.seed)
    count = min(CHECKED_DRIVES, len(held))
    drives = draw(held, count, frames, config.max_odometry_noise, generator)
    state = baseline.remember(baseline.start(count, frames), drives.views, drives.odometry)
    asked = drives.questions(0, frames, 16, False, generator)
    _, values = question_loss(baseline, state, asked, drives.poses[:, -1:], drives.poses[:, :1], 0.0)
    return {f"held_{name}": float(value) for name, value in values.items()}


def train_baselines(
    names: list[str],
    pretrained: Path,
    config: BaselineConfig,
    features: Path,
    folder: Path,
    minutes: float | None = None,
    device: torch.device | str = "cpu",
    compile_cell: bool = False,
) -> int:
    """Train, or continue the run in ``folder``; one checkpoint each there, also of what there is when time runs out.

    Returned is how many sequences have been seen.

    pretrained: a baseline's checkpoint, whose trunk and descriptor all see by. features: a folder of rendered drives,
    ``train`` and ``held`` in it; drives that come while the run goes on are taken in. compile_cell: of the paper's memory, in
    one graph. ``InputError`` if the run in the
    folder was started with another configuration, or if there are no drives.
    """
    run = Run(folder, {**dataclasses.asdict(config), "names": names}, minutes)
    torch.manual_seed(config.seed)
    eyes = load_baseline(pretrained)
    baselines = {name: _new(name, eyes, config).to(device) for name in names}
    drives, held = (DriveFolder(features / part, eyes.describe) for part in ("train", "held"))
    optimisers = {name: _optimiser(baseline, config) for name, baseline in baselines.items()}
    averages = {name: copy.deepcopy(baseline).eval() for name, baseline in baselines.items()}
    _compile(baselines, compile_cell)
    done = step = 0
    if (saved := run.resume(torch.device(device))) is not None:
        done, step = saved["sequences"], saved["step"]
        for name in names:
            baselines[name].load_state_dict(saved[name])
            optimisers[name].load_state_dict(saved[f"{name} optimiser"])
            averages[name].load_state_dict(saved[f"{name} average"])
    log, means = Log(folder, config.sequences), {name: Means() for name in names}
    started = refreshed = time.monotonic()
    while done < config.sequences:
        if time.monotonic() - refreshed > 60 * REFRESH_EVERY:
            drives.refresh()
            refreshed = time.monotonic()
        stage, share = config.stage(done)
        generator = torch.Generator().manual_seed(config.seed + step)
        torch.manual_seed(step)  # for dropout: a resumed run drops what an uninterrupted one would have
        batch = draw(drives, stage.batch, stage.frames, config.max_odometry_noise, generator).to(device)
        recent = min(stage.frames, 2 + round(2 * share * stage.frames))
        for name, baseline in baselines.items():
            values = learn(baseline, batch, config, recent, generator)
            left = (config.sequences - done) / config.sequences
            rate = config.learning_rate * min(1.0, (step + 1) / config.warm_up, left / LAST_PART)
            _step(baseline, optimisers[name], rate)
            _average(averages[name], baseline, min(AVERAGING, 0.9 + step / 1000))
            means[name].add(values)
        done, step = done + stage.batch, step + 1
        if step % REPORT_EVERY == 0:
            for name in names:
                told = means[name].take()
                if step % CHECK_EVERY == 0:
                    told |= check(averages[name], held, stage.frames, config)
                log.write(
                    name,
                    done,
                    told,
                    baseline=name,
                    frames=stage.frames,
                    recent=recent,
                    drives=len(drives),
                    seconds=round(time.monotonic() - started),
                    cpu_seconds=round(time.process_time()),
                )
        if run.out_of_time():
            break
        if run.minutes_since_save() > SAVE_EVERY:
            _save(run, done, step, baselines, averages, optimisers)
    _save(run, done, step, baselines, averages, optimisers)
    training = {"train": dataclasses.asdict(config), "sequences": done, "steps": step, "drives": len(drives)}
    for baseline in averages.values():
        _finish(baseline, held, config, folder, training)
    return done


def _save(
    run: Run,
    done: int,
    step: int,
    baselines: dict[str, Baseline],
    averages: dict[str, Baseline],
    optimisers: dict[str, torch.optim.Optimizer],
) -> None:
    state: dict[str, Any] = {"sequences": done, "step": step}
    for name, baseline in baselines.items():
        state |= {
            name: baseline.state_dict(),
            f"{name} average": averages[name].state_dict(),
            f"{name} optimiser": optimisers[name].state_dict(),
        }
    run.save(state)


def _new(name: str, eyes: Baseline, config: BaselineConfig) -> Baseline:
    """Untrained but for trunk and descriptor."""
    shape: LearnedConfig = dataclasses.replace(eyes.config, paper=config.paper)
    baseline = KINDS[name](shape)
    baseline.trunk.load_state_dict(eyes.trunk.state_dict())
    baseline.descriptor.load_state_dict(eyes.descriptor.state_dict())
    return baseline.train()


def _compile(baselines: dict[str, Baseline], wanted: bool) -> None:
    """The cell of the paper's memory, whose many small operations wait for each other on a GPU."""
    for baseline in baselines.values():
        if wanted and isinstance(baseline, Paper):
            baseline.cell.compile(fullgraph=True)


def _optimiser(baseline: Baseline, config: BaselineConfig) -> torch.optim.Optimizer:
    own = [p for p in baseline.parameters() if p.requires_grad]
    return torch.optim.AdamW(
        own, lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=config.weight_decay
    )


def _step(baseline: Baseline, optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate
    nn.utils.clip_grad_norm_(baseline.parameters(), 1.0)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)


@torch.no_grad()
def _average(average: Baseline, baseline: Baseline, share: float) -> None:
    """Move the average towards what was just learned: it is what is measured and shipped, whenever a run is stopped."""
    own: list[Tensor] = [p for p in baseline.parameters() if p.requires_grad]
    old: list[Tensor] = [
        a for a, p in zip(average.parameters(), baseline.parameters(), strict=True) if p.requires_grad
    ]
    torch._foreach_lerp_(old, own, 1.0 - share)


def _finish(
    baseline: Baseline, held: DriveFolder, config: BaselineConfig, folder: Path, training: dict[str, Any]
) -> None:
    """Calibrate on drives that no step saw, as ours is, and write the checkpoint."""
    baseline.requires_grad_(False).eval().cpu()
    calibration = calibrate(baseline, held, config.max_odometry_noise, config.seed)
    path = folder / f"baseline-{baseline.name}.safetensors"
    save_baseline(path, baseline, {**training, "calibration": calibration})
    load_baseline(path, baseline.name)  # what was written can be read
    logger.info("wrote %s: %s", path, json.dumps(calibration))
