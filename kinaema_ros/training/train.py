"""The training loop: two stages, one optimiser each, then calibration on fresh scenes.

A run lives in a folder: ``state.pt`` (everything needed to go on exactly), ``log.jsonl`` (one line a report),
TensorBoard events, and in the end ``kinaema.safetensors``. Run under torchrun for several processes.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.flop_counter import FlopCounterMode

from kinaema_ros.errors import InputError
from kinaema_ros.model.checkpoint import load_network, save_network, usable_device
from kinaema_ros.model.network import Kinaema
from kinaema_ros.training.calibrate import calibrate
from kinaema_ros.training.config import TrainConfig
from kinaema_ros.training.data import DataConfig, Pool, Trajectory, encode, first_in_pool, stream
from kinaema_ros.training.memory_stage import TrajectoryBatch, memory_loss, trajectory_batch
from kinaema_ros.training.pair_stage import pair_batch, pair_loss
from kinaema_ros.training.pretrained import load_pretrained_trunk

REPORT_EVERY = 20  # steps


@dataclass(frozen=True)
class Process:
    """This process's place among those that train together."""

    rank: int
    world: int
    device: torch.device

    @classmethod
    def join(cls, device: str) -> Process:
        if "RANK" not in os.environ:
            return cls(0, 1, usable_device(device))
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
        if device.startswith("cuda"):
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
            device = f"cuda:{os.environ['LOCAL_RANK']}"
        return cls(dist.get_rank(), dist.get_world_size(), torch.device(device))


class Objective(nn.Module):
    """The loss as a module, so that DistributedDataParallel sees one forward pass a step."""

    def __init__(self, network: Kinaema, config: TrainConfig):
        super().__init__()
        self.network, self.config = network, config

    def forward(self, stage: str, batch: object, step: int) -> tuple[Tensor, dict[str, float]]:
        if stage == "pairs":
            generator = torch.Generator(device=self.network.temperature.device).manual_seed(step)
            return pair_loss(self.network, batch, generator)  # type: ignore[arg-type]
        assert isinstance(batch, TrajectoryBatch)
        return memory_loss(
            self.network, batch, self.config.num_embeddings(batch.features.shape[1]), self.config.detach_every
        )


def stage_parameters(network: Kinaema, stage: str) -> list[nn.Parameter]:
    """What a stage trains; everything else is frozen meanwhile."""
    network.requires_grad_(False)
    modules: list[nn.Module] = [network.descriptor, network.head]
    if stage == "memory":
        modules.append(network.cell)
    parameters = [p for m in modules for p in m.parameters()]
    if stage == "pairs":
        parameters.append(network.temperature)
    for parameter in parameters:
        parameter.requires_grad_(True)
    return parameters


def learning_rate(config: TrainConfig, step: int) -> tuple[str, float]:
    """Stage and learning rate of a step: short warm-up, then a cosine to a twentieth."""
    if step < config.pair_steps:
        stage, done, total, peak = "pairs", step, config.pair_steps, config.pair_learning_rate
    else:
        done, total, peak = step - config.pair_steps, config.memory_steps, config.memory_learning_rate
        stage = "memory"
    warm = min(1.0, (done + 1) / max(1, min(100, total // 10)))
    return stage, peak * warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done / total)))


def make_batch(config: TrainConfig, stage: str, step: int, pool: Pool, process: Process) -> object:
    """The batch of a step: a function of configuration, step and rank alone."""
    rng = np.random.default_rng([config.seed, step, process.rank])
    if stage == "pairs":
        return pair_batch(pool.sample(rng, config.pair_batch), rng, process.device)
    lengths = config.memory_frames
    frames = lengths[(step - config.pair_steps) * len(lengths) // config.memory_steps]
    chosen = pool.sample(rng, config.memory_batch)
    return trajectory_batch(
        chosen, rng, process.device, frames, config.memory_queries, config.max_odometry_noise
    )


def train(
    config: TrainConfig,
    folder: Path,
    device: str = "cpu",
    minutes: float | None = None,
    pool: Pool | None = None,
) -> Path | None:
    """Train, or go on with the run in ``folder``. Returns the finished checkpoint, None if time ran out first.

    An interrupted run continues with the curve that it would have had. ``pool``: drives rendered already, for
    several runs on the same ones. ``ValueError`` if the run in the folder was started with another configuration.
    """
    started = time.monotonic()
    process = Process.join(device)
    chief = process.rank == 0
    torch.manual_seed(config.seed)
    network = Kinaema(config.model)
    load_pretrained_trunk(network.trunk)
    network = network.to(process.device)
    if process.device.type == "cuda":
        network.cell.compile(fullgraph=True)  # hundreds of small kernels an update become a few
    objective: nn.Module = Objective(network, config)
    step, optimiser_state, stage = 0, None, ""
    if (folder / "state.pt").exists():
        saved = torch.load(folder / "state.pt", map_location=process.device, weights_only=True)
        if json.loads(saved["config"]) != json.loads(json.dumps(config.to_dict())):
            raise InputError(f"{folder} holds a run with another configuration; choose another folder")
        network.load_state_dict(saved["network"])
        step, optimiser_state = saved["step"], saved["optimiser"]
    folder.mkdir(parents=True, exist_ok=True)
    log = Log(folder, config, step, process.device) if chief else None

    pool = pool or fill_pool(config.data, network, process, step)
    if step == 0:
        sample = pool.sample(np.random.default_rng(config.seed), 64)
        network.descriptor.standardise(torch.cat([s.features for s in sample]).to(process.device))
    network.train()
    last_save = time.monotonic()
    while step < config.total_steps:
        now, rate = learning_rate(config, step)
        if now != stage:
            stage = now
            parameters = stage_parameters(network, stage)
            optimiser = torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.98), weight_decay=0.05)
            if optimiser_state is not None:
                optimiser.load_state_dict(optimiser_state)
                optimiser_state = None
            run = DistributedDataParallel(objective) if process.world > 1 else objective
        for group in optimiser.param_groups:
            group["lr"] = rate
        batch = make_batch(config, stage, step, pool, process)
        torch.manual_seed((config.seed * 1_000_003 + step) * process.world + process.rank)  # of the dropout
        counter = FlopCounterMode(display=False) if log and log.wants_work(stage) else nullcontext()
        with (
            counter,
            torch.autocast(process.device.type, torch.bfloat16, enabled=process.device.type == "cuda"),
        ):
            loss, metrics = run(stage, batch, step)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
        nn.utils.clip_grad_norm_(parameters, 2.0)
        optimiser.step()
        step += 1
        last_of_stage = step == config.pair_steps
        if log:
            if isinstance(counter, FlopCounterMode):
                log.work[stage] = counter.get_total_flops()
            log.report(step, stage, rate, metrics)
        out_of_time = minutes is not None and time.monotonic() - started > 60 * minutes
        if process.world > 1:  # ranks must stop at the same step
            flag = torch.tensor(float(out_of_time), device=process.device)
            dist.all_reduce(flag, dist.ReduceOp.MAX)
            out_of_time = bool(flag.item())
        due = time.monotonic() - last_save > 60 * config.checkpoint_minutes
        if chief and (due or out_of_time or last_of_stage or step == config.total_steps):
            state = None if last_of_stage else optimiser.state_dict()
            save_state(folder, config, network, state, step)
            last_save = time.monotonic()
        if out_of_time and step < config.total_steps:
            return None
        if step < config.total_steps:
            pool.advance(step)
    if chief:
        report = calibrate(network, config, process.device, fresh_trajectories(config, network, process))
        path = folder / "kinaema.safetensors"
        save_network(path, network, {"train": config.to_dict(), "steps": step, "calibration": report})
        load_network(path)  # what was written can be read
        print(f"wrote {path}: {json.dumps(report)}", flush=True)
        return path
    return None


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


def fresh_trajectories(config: TrainConfig, network: Kinaema, process: Process) -> list[Trajectory]:
    """Sequences that no training step has seen."""
    data = dataclasses.replace(
        config.data,
        seed=config.data.seed + 1_000_003,
        pool_start=config.calibration_sequences,
        frames=config.calibration_frames,
        queries=config.data.queries * config.calibration_frames // config.data.frames,
    )
    return fill_pool(data, network, process, 0).trajectories


def save_state(
    folder: Path, config: TrainConfig, network: Kinaema, optimiser: dict | None, step: int
) -> None:
    partial = folder / "state.pt.partial"
    torch.save(
        {
            "config": json.dumps(config.to_dict()),
            "network": network.state_dict(),
            "optimiser": optimiser,
            "step": step,
        },
        partial,
    )
    os.replace(partial, folder / "state.pt")


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


class Log:
    """Progress lines for people, log.jsonl for plots, TensorBoard where it is installed."""

    def __init__(self, folder: Path, config: TrainConfig, step: int, device: torch.device):
        self.file = open(folder / "log.jsonl", "a", buffering=1)
        self.config = config
        self.peak = matmul_rate(device)
        self.work: dict[str, int] = {}  # floating-point operations of a step, by stage
        self.tick, self.tick_step = time.monotonic(), step
        self.sums: dict[str, float] = {}
        try:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(folder))
        except ModuleNotFoundError:
            self.board = None  # type: ignore[assignment]

    def wants_work(self, stage: str) -> bool:
        """Whether the operations of this stage's steps have still to be counted."""
        return stage not in self.work

    def report(self, step: int, stage: str, rate: float, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        if step % REPORT_EVERY and step != self.config.total_steps:
            return
        steps = step - self.tick_step
        seconds = (time.monotonic() - self.tick) / steps
        means = {name: round(value / steps, 5) for name, value in self.sums.items()}
        means["frames_per_s"] = round(metrics["frames"] / seconds, 1)
        means["of_peak"] = round(self.work[stage] / seconds / self.peak, 4)
        del means["frames"]
        self.file.write(json.dumps({"step": step, "stage": stage, "lr": rate, **means}) + "\n")
        text = "  ".join(f"{name} {value:.3f}" for name, value in means.items())
        print(f"{stage} {step}/{self.config.total_steps}  {text}", flush=True)
        if self.board is not None:
            for name, value in means.items():
                self.board.add_scalar(f"{stage}/{name}", value, step)
        self.tick, self.tick_step, self.sums = time.monotonic(), step, {}
