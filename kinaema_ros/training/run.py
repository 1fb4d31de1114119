"""What all training runs share: the folder of the run, its log, the limit of time and the learning rate."""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from kinaema_ros.errors import InputError

logger = logging.getLogger(__name__)


class Run:
    """A folder with ``state.pt``, which holds everything needed to continue exactly, and a limit of time."""

    def __init__(self, folder: Path, config: dict[str, Any], minutes: float | None):
        """``config`` identifies the run. It may use up ``minutes``, counted from now; None: no limit."""
        self.folder, self.minutes = folder, minutes
        self.config = json.loads(json.dumps(config))  # as it will be read back: tuples become lists
        self.started = self.saved = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)

    def resume(self, device: torch.device) -> dict[str, Any] | None:
        """What ``save`` wrote last, None in a new folder.

        ``InputError`` if it is damaged or belongs to another configuration.
        """
        path = self.folder / "state.pt"
        if not path.exists():
            return None
        try:
            state = torch.load(path, map_location=device, weights_only=True)
            config = json.loads(state["config"])
        except Exception as error:  # of a damaged file PyTorch raises many kinds, IndexError among them
            raise InputError(
                f"{path} cannot be read and is probably damaged ({type(error).__name__}); "
                "put a copy of it in its place, or delete it to begin the run anew"
            ) from error
        if config != self.config:
            raise InputError(f"{self.folder} holds a run with another configuration; choose another folder")
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Write ``state.pt`` atomically."""
        partial = self.folder / "state.pt.partial"
        torch.save({**state, "config": json.dumps(self.config)}, partial)
        os.replace(partial, self.folder / "state.pt")
        self.saved = time.monotonic()

    def minutes_since_save(self) -> float:
        """Minutes since the last ``save``, or since the start."""
        return (time.monotonic() - self.saved) / 60

    def out_of_time(self) -> bool:
        """Whether the minutes that the run may use are up; never without a limit."""
        return self.minutes is not None and time.monotonic() - self.started > 60 * self.minutes


class Log:
    """One entry at a time to ``log.jsonl``, to the logger for people, and to TensorBoard where it is installed."""

    def __init__(self, folder: Path, total_steps: int):
        self.total_steps = total_steps
        self.path = folder / "log.jsonl"
        try:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(folder))
        except ModuleNotFoundError:
            self.board = None  # type: ignore[assignment]

    def write(self, name: str, step: int, values: dict[str, float], **labels: object) -> None:
        """``values`` of ``name`` after ``step`` steps. ``labels`` go to the file only."""
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **labels, **values}) + "\n")
        text = "  ".join(f"{key} {value:.3f}" for key, value in values.items())
        logger.info("%s %d/%d  %s", name, step, self.total_steps, text)
        if self.board is not None:
            for key, value in values.items():
                self.board.add_scalar(f"{name}/{key}", value, step)


class Means:
    """Means of metrics over some steps or batches."""

    def __init__(self) -> None:
        self.count = 0
        self.sums: dict[str, Any] = {}

    def add(self, metrics: Mapping[str, Any]) -> None:
        """Add the metrics of one step or batch: numbers, or tensors, for which nothing waits here."""
        self.count += 1
        for name, value in metrics.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def take(self) -> dict[str, float]:
        """The means of what was added since the last call."""
        means = {name: round(float(total) / self.count, 5) for name, total in self.sums.items()}
        self.count, self.sums = 0, {}
        return means


def learning_rate(peak: float, done: int, total: int, warm_up: int, last: float) -> float:
    """A linear warm-up over ``warm_up`` steps, then a cosine from ``peak`` to the share ``last`` of it.

    ``done`` of the ``total`` steps have been taken.
    """
    warm = min(1.0, (done + 1) / warm_up)
    return peak * warm * (last + (1.0 - last) / 2 * (1.0 + math.cos(math.pi * done / total)))
