"""Training: a projection of the descriptors, then a judge fitted on simulated drives.

A run lives in a folder: ``state.pt`` (the projection), ``questions/`` (a file for each drive that is done), and in the end
``kinaema.safetensors``. The same command continues a run that was stopped.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from kinaema_ros.model.checkpoint import load_network, save_network, usable_device
from kinaema_ros.model.judge import Candidates
from kinaema_ros.model.network import Kinaema
from kinaema_ros.reporting import progress
from kinaema_ros.training.config import TrainConfig
from kinaema_ros.training.drives import simulate
from kinaema_ros.training.fit import fit_judge, report
from kinaema_ros.training.pretrained import load_pretrained_features
from kinaema_ros.training.projection import fit_projection
from kinaema_ros.training.questions import Questions, ask
from kinaema_ros.training.run import Run

logger = logging.getLogger(__name__)


def train(
    config: TrainConfig, folder: Path, device: str = "cpu", minutes: float | None = None
) -> Path | None:
    """Train, or continue the run in ``folder``. Returns the finished checkpoint, None if time ran out first.

    ``InputError`` if the run in the folder was started with another configuration.
    """
    run = Run(folder, config.to_dict(), minutes)
    network = Kinaema(config.model).eval()
    load_pretrained_features(network.features)
    saved = run.resume(torch.device("cpu"))
    if saved is None:
        fit_projection(network, config, device)
        run.save({"projection": network.projection.state_dict()})
    else:
        network.projection.load_state_dict(saved["projection"])
    questions = folder / "questions"
    questions.mkdir(exist_ok=True)
    missing = [k for k in range(config.data.drives) if not (questions / f"{k}.pt").exists()]
    for _ in progress(_asked(config, network, questions, missing, device), total=len(missing), desc="drives"):
        if run.out_of_time():
            return None
    return finish(config, folder, network)


def finish(config: TrainConfig, folder: Path, network: Kinaema) -> Path:
    """Fit the judge on the drives' questions and write the checkpoint."""
    drives = [
        from_tensors(torch.load(folder / "questions" / f"{k}.pt", weights_only=True))
        for k in range(config.data.drives)
    ]
    first = len(drives) - config.drives_held_out
    fit, fresh = Questions.joined(drives[:first]), Questions.joined(drives[first:])
    limits = config.model.search
    fit_judge(network.judge, limits, fit)
    summary = {
        name: report(network.judge, limits, fresh[which])
        for name, which in (("own camera", fresh.same_camera), ("other camera", ~fresh.same_camera))
    }
    path = folder / "kinaema.safetensors"
    save_network(path, network, {"train": config.to_dict(), "held_out": summary})
    load_network(path)  # what was written can be read
    logger.info("wrote %s: %s", path, json.dumps(summary))
    return path


# -- in worker processes -----------------------------------------------------------------------------------

_network: Kinaema
_config: TrainConfig
_folder: Path


def _asked(
    config: TrainConfig, network: Kinaema, folder: Path, missing: list[int], device: str
) -> Iterator[int]:
    """Writes a file of questions for each of the drives ``missing``, by one process a core."""
    workers = min(max(len(missing), 1), len(os.sched_getaffinity(0)))
    context = multiprocessing.get_context("spawn")
    weights = {name: tensor.cpu() for name, tensor in network.state_dict().items()}
    with context.Pool(workers, _start_worker, (config, weights, folder, device)) as pool:
        yield from pool.imap_unordered(_ask_one, missing)


def _start_worker(config: TrainConfig, weights: dict[str, Tensor], folder: Path, device: str) -> None:
    global _network, _config, _folder
    torch.set_num_threads(1)
    _network = Kinaema(config.model)
    _network.load_state_dict(weights)
    _network.to(usable_device(device)).eval()
    _config, _folder = config, folder


def _ask_one(index: int) -> int:
    questions = ask(_network, simulate(_config.data, index))
    partial = _folder / f".{index}.partial"
    torch.save(to_tensors(questions), partial)
    os.replace(partial, _folder / f"{index}.pt")
    return index


def to_tensors(questions: Questions) -> dict[str, Tensor]:
    """All tensors by name."""
    own = {
        field.name: getattr(questions, field.name)
        for field in dataclasses.fields(questions)
        if field.name != "candidates"
    }
    return own | {f"candidates.{name}": value for name, value in vars(questions.candidates).items()}


def from_tensors(tensors: dict[str, Tensor]) -> Questions:
    """The reverse of ``to_tensors``."""
    own = {name: value for name, value in tensors.items() if "." not in name}
    of = {name.partition(".")[2]: value for name, value in tensors.items() if "." in name}
    return Questions(Candidates(**of), **own)
