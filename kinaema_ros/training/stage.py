"""``Stage``: one part of training, to be run by the loop in ``train``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kinaema_ros.model.network import Kinaema
from kinaema_ros.training.data import Trajectory
from kinaema_ros.training.run import learning_rate


@dataclass(frozen=True)
class Stage:
    """What is learned, from what, by which loss, and for how long."""

    name: str
    steps: int
    batch_size: int  # trajectories
    peak_rate: float
    parameters: Callable[[Kinaema], list[nn.Parameter]]  # everything else is frozen meanwhile
    # (trajectories, random numbers, device, steps of this stage already taken) -> batch
    batch: Callable[[list[Trajectory], np.random.Generator, torch.device, int], Any]
    # (network, batch, seed of what the loss draws) -> loss, metrics, among them "loss" and the count of "frames"
    loss: Callable[[Kinaema, Any, int], tuple[Tensor, dict[str, float]]]

    def learning_rate(self, done: int) -> float:
        """Of the step after ``done`` steps of this stage."""
        return learning_rate(
            self.peak_rate, done, self.steps, warm_up=max(1, min(100, self.steps // 10)), last=0.05
        )
