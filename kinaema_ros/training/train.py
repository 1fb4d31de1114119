"""The training loop: two stages, one optimiser each, then calibration on fresh scenes.

A run lives in a folder: ``state.pt`` (everything needed to continue exactly), ``log.jsonl`` (one line a report),
TensorBoard events, and in the end ``kinaema.safetensors``. Run under torchrun for several processes.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.flop_counter import FlopCounterMode

from kinaema_ros.model.checkpoint import load_network, save_network, usable_device
from kinaema_ros.model.network import Kinaema
from kinaema_ros.training.calibrate import calibrate
from kinaema_ros.training.config import TrainConfig
from kinaema_ros.training.data import (
    CALIBRATION_SEED,
    HELD_OUT_SEED,
    DataConfig,
    Pool,
    Trajectory,
    encode,
    first_in_pool,
    in_batches,
    stream,
)
from kinaema_ros.training.memory_stage import memory_stage
from kinaema_ros.training.pair_stage import pair_stage
from kinaema_ros.training.pretrained import load_pretrained_trunk
from kinaema_ros.training.run import Log, Means, Run
from kinaema_ros.training.stage import Stage

logger = logging.getLogger(__name__)
REPORT_EVERY = 20  # steps


@dataclass(frozen=True)
class Process:
    """This process's place among those that train together."""

    rank: int
    world: int
    device: torch.device

    @classmethod
    def join(cls, device: str) -> Process:
        """Join the others where torchrun started this process; each then takes the GPU of its local rank."""
        if "RANK" not in os.environ:
            return cls(0, 1, usable_device(device))
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
        if device.startswith("cuda"):
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
            device = f"cuda:{os.environ['LOCAL_RANK']}"
        return cls(dist.get_rank(), dist.get_world_size(), torch.device(device))

    def any(self, flag: bool) -> bool:
        """Whether ``flag`` is true in any of the processes."""
        if self.world == 1:
            return flag
        flags = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(flags, dist.ReduceOp.MAX)
        return bool(flags.item())


class Objective(nn.Module):
    """A stage's loss as a module, so that DistributedDataParallel sees one forward pass a step."""

    def __init__(self, network: Kinaema, stage: Stage):
        super().__init__()
        self.network, self.stage = network, stage

    def forward(self, batch: Any, seed: int) -> tuple[Tensor, dict[str, float]]:
        """Loss (scalar) and metrics of ``batch``; ``seed`` decides what the loss draws at random."""
        return self.stage.loss(self.network, batch, seed)


def train(
    config: TrainConfig,
    folder: Path,
    device: str = "cpu",
    minutes: float | None = None,
    pool: Pool | None = None,
) -> Path | None:
    """Train, or continue the run in ``folder``. Returns the finished checkpoint, None if time ran out first.

    An interrupted run continues with the curve that it would have had. ``pool``: trajectories rendered already,
    for several runs on the same ones. ``InputError`` if the run in the folder was started with another configuration.
    """
    process = Process.join(device)
    run = Run(folder, config.to_dict(), minutes)
    chief = process.rank == 0
    network, step, optimiser_state = start_or_resume(config, run, process.device)
    log = Log(folder, config.total_steps) if chief else None

    pool = pool or fill_pool(config.data, network, process, step)
    held_out = []
    if chief and config.evaluate_every:
        held_out = fresh_trajectories(
            config.data, HELD_OUT_SEED, config.held_out_trajectories, network, process
        )
    if step == 0:
        sample = pool.sample(np.random.default_rng(config.seed), 64)
        network.descriptor.standardise(torch.cat([s.features for s in sample]).to(process.device))
    network.train()
    end = 0
    for stage in (pair_stage(config), memory_stage(config)):
        begin, end = end, end + stage.steps
        if step >= end:
            continue
        objective, optimiser = prepare(network, stage, process, optimiser_state)
        optimiser_state = None
        (group,) = optimiser.param_groups
        means, speed = Means(), Speed(process.device)
        while step < end:
            # The batch is a function of configuration, step and rank alone, so that a run can be resumed.
            pool.advance(step)
            rng = np.random.default_rng([config.seed, step, process.rank])
            batch = stage.batch(pool.sample(rng, stage.batch_size), rng, process.device, step - begin)
            group["lr"] = rate = stage.learning_rate(step - begin)
            # Of the dropout.
            torch.manual_seed((config.seed * 1_000_003 + step) * process.world + process.rank)
            with speed.counted(), half_precision_on_a_gpu(process.device):
                loss, metrics = objective(batch, step)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
            nn.utils.clip_grad_norm_(group["params"], 2.0)
            optimiser.step()
            step += 1
            if log:
                means.add(metrics)
                if step % REPORT_EVERY == 0 or step == end:
                    values = means.take()
                    values |= speed.take(values.pop("frames"))
                    log.write(stage.name, step, values, stage=stage.name, lr=rate)
                if held_out and (step % config.evaluate_every == 0 or step == end):
                    values = evaluate(network, stage, held_out, config.seed, process.device)
                    log.write(f"{stage.name} held out", step, values, stage=stage.name, held_out=True)
            out_of_time = process.any(run.out_of_time())  # all processes must stop at the same step
            due = run.minutes_since_save() > config.checkpoint_minutes
            if chief and (due or out_of_time or step == end):
                state = None if step == end else optimiser.state_dict()
                run.save({"network": network.state_dict(), "optimiser": state, "step": step})
            if out_of_time and step < config.total_steps:
                return None
    return finish(config, folder, network, process) if chief else None


def start_or_resume(
    config: TrainConfig, run: Run, device: torch.device
) -> tuple[Kinaema, int, dict[str, Any] | None]:
    """The network on ``device``, the steps taken and the optimiser's state, as ``run`` left them.

    In a new run only the trunk is trained, and there is no state of an optimiser.
    """
    torch.manual_seed(config.seed)
    network = Kinaema(config.model)
    load_pretrained_trunk(network.trunk)
    network = network.to(device)
    if device.type == "cuda":
        network.cell.compile(fullgraph=True)  # hundreds of small kernels an update become a few
    saved = run.resume(device)
    if saved is None:
        return network, 0, None
    network.load_state_dict(saved["network"])
    return network, saved["step"], saved["optimiser"]


def prepare(
    network: Kinaema, stage: Stage, process: Process, optimiser_state: dict[str, Any] | None
) -> tuple[nn.Module, torch.optim.Optimizer]:
    """The stage's loss, and an optimiser of the stage's parameters; all others are frozen."""
    parameters = stage.parameters(network)
    network.requires_grad_(False)
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimiser = torch.optim.AdamW(parameters, betas=(0.9, 0.98), weight_decay=0.05)
    if optimiser_state is not None:
        optimiser.load_state_dict(optimiser_state)
    objective = Objective(network, stage)
    return (DistributedDataParallel(objective) if process.world > 1 else objective), optimiser


def finish(config: TrainConfig, folder: Path, network: Kinaema, process: Process) -> Path:
    """Calibrate the trained network on fresh trajectories and write its checkpoint."""
    fresh = fresh_trajectories(
        dataclasses.replace(
            config.data,
            frames=config.calibration_frames,
            queries=config.data.queries * config.calibration_frames // config.data.frames,
        ),
        CALIBRATION_SEED,
        config.calibration_sequences,
        network,
        process,
    )
    report = calibrate(network, config, process.device, fresh)
    path = folder / "kinaema.safetensors"
    save_network(
        path, network, {"train": config.to_dict(), "steps": config.total_steps, "calibration": report}
    )
    load_network(path)  # what was written can be read
    logger.info("wrote %s: %s", path, json.dumps(report))
    return path


@torch.no_grad()
def evaluate(
    network: Kinaema, stage: Stage, held_out: list[Trajectory], seed: int, device: torch.device
) -> dict[str, float]:
    """Means of loss and metrics on trajectories that no step sees, of batches as the stage's last step has them.

    The questions are the same in every call. Leaves the network and the global random state as they were.
    """
    network.eval()
    rng, means = np.random.default_rng(seed), Means()
    for trajectories in in_batches(held_out, stage.batch_size):
        batch = stage.batch(trajectories, rng, device, stage.steps - 1)
        with half_precision_on_a_gpu(device):
            _, metrics = stage.loss(network, batch, seed)
        means.add(metrics)
    network.train()
    values = means.take()
    del values["frames"]
    return values


def half_precision_on_a_gpu(device: torch.device) -> torch.autocast:
    """Context in which a GPU computes in bfloat16 where that is safe; a CPU stays at float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def fill_pool(data: DataConfig, network: Kinaema, process: Process, step: int) -> Pool:
    """The pool as it stands before ``step``; where a run is resumed, its trajectories are rendered again."""
    first = process.rank + first_in_pool(data, step) * process.world
    on_cpu = process.device.type == "cpu"
    source = stream(data, first, process.world, encode_in_worker=on_cpu)
    if not on_cpu:
        trunk = torch.compile(network.trunk)
        source = (
            dataclasses.replace(s, features=encode(trunk, s.features.to(process.device))) for s in source
        )
    return Pool(data, source, step)


def fresh_trajectories(
    data: DataConfig, seed: int, count: int, network: Kinaema, process: Process
) -> list[Trajectory]:
    """``count`` trajectories that no step sees, of a seed that lies ``seed`` above the training's."""
    data = dataclasses.replace(data, seed=data.seed + seed, pool_start=count)
    return fill_pool(data, network, process, 0).trajectories


def matmul_rate(device: torch.device) -> float:
    """Floating-point operations a second that this machine reaches in a large matrix product."""
    n = 4096 if device.type == "cuda" else 1024
    a = torch.randn(n, n, device=device, dtype=torch.bfloat16 if device.type == "cuda" else torch.float32)
    best = math.inf
    for _ in range(5):
        begin = time.perf_counter()
        (a @ a)[0, 0].item()
        best = min(best, time.perf_counter() - begin)
    return 2 * n**3 / best


class Speed:
    """How fast a stage trains, and how much of what the machine can do its arithmetic takes."""

    def __init__(self, device: torch.device):
        self.peak = matmul_rate(device)
        self.operations: int | None = None  # floating-point operations of a step
        self.steps, self.tick = 0, time.monotonic()

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Around the arithmetic of each step."""
        self.steps += 1
        if self.operations is not None:
            yield
            return
        with FlopCounterMode(display=False) as counter:
            yield
        self.operations = counter.get_total_flops()

    def take(self, frames: float) -> dict[str, float]:
        """Of the steps since the last call, of ``frames`` each. Rendering counts as time, not as work."""
        seconds = (time.monotonic() - self.tick) / self.steps
        self.steps, self.tick = 0, time.monotonic()
        return {
            "frames_per_s": round(frames / seconds, 1),
            "of_peak": round((self.operations or 0) / seconds / self.peak, 4),
        }
