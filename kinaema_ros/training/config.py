"""How a network is trained: typed, validated, readable from YAML."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from kinaema_ros.errors import InputError
from kinaema_ros.model.config import KinaemaConfig
from kinaema_ros.training.data import DataConfig


@dataclass(frozen=True)
class TrainConfig:
    """The stages' lengths in optimiser steps, batches in trajectories, learning rates at their start."""

    seed: int = 0
    pair_steps: int = 7000
    pair_batch: int = 8
    pair_learning_rate: float = 1e-3
    memory_steps: int = 60
    memory_batch: int = 8
    memory_learning_rate: float = 2e-4  # 1e-3 destroys the head that the first stage learned
    memory_frames: tuple[int, ...] = (64,)  # several: a curriculum of equal shares of memory_steps
    memory_queries: int = 32
    frames_per_embedding: float = 2.5  # in the second stage, to learn with merging; N is free afterwards
    max_odometry_noise: tuple[float, float] = (0.03, 0.3)  # fraction of the distance, degrees; per step
    calibration_sequences: int = 48  # fresh ones, after training
    calibration_frames: int = 400  # of each: certainty must be judged after long drives, too
    evaluate_every: int = 20  # steps between two evaluations on trajectories held out, 0: never
    held_out_trajectories: int = 16
    checkpoint_minutes: float = 3.0
    model: KinaemaConfig = field(default_factory=KinaemaConfig)
    data: DataConfig = field(default_factory=DataConfig)

    def __post_init__(self) -> None:
        least = dict.fromkeys(("pair_steps", "memory_steps", "evaluate_every"), 0)
        least |= dict.fromkeys(("pair_batch", "memory_queries"), 1)
        # Two: the places that a trajectory has not seen are those of another one.
        least |= dict.fromkeys(("memory_batch", "held_out_trajectories", "calibration_sequences"), 2)
        for name, minimum in least.items():
            if getattr(self, name) < minimum:
                raise ValueError(
                    f"{name} = {getattr(self, name)} is out of range: it must be at least {minimum}"
                )
        if self.frames_per_embedding <= 0.0:
            raise ValueError(
                f"frames_per_embedding = {self.frames_per_embedding} is out of range: it must be more than 0"
            )
        if max(self.memory_frames) > self.data.frames:
            raise ValueError(
                f"memory_frames = {self.memory_frames} is out of range: data.frames is {self.data.frames}"
            )

    @property
    def total_steps(self) -> int:
        """Optimiser steps of both stages."""
        return self.pair_steps + self.memory_steps

    def num_embeddings(self, frames: int) -> int:
        """Size of the memory that drives of so many frames are learned with."""
        fewest = max(self.model.cell.context_size, self.model.num_hypotheses)
        return min(self.model.num_embeddings, max(fewest, round(frames / self.frames_per_embedding)))

    @classmethod
    def from_yaml(cls, path: str | Path) -> TrainConfig:
        """Raises ``InputError`` naming the file and the unknown or invalid field."""
        try:
            values = yaml.safe_load(Path(path).read_text()) or {}
            return cls.from_dict(values)
        except (OSError, yaml.YAMLError, TypeError, AttributeError, ValueError) as error:
            raise InputError(f"{path}: {error}") from error

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainConfig:
        """Read what ``to_dict`` gives; a missing field gets its default. ``ValueError`` for an unknown one."""
        values = dict(values)
        values["model"] = KinaemaConfig.from_dict(values.get("model", {}))
        values["data"] = _build(DataConfig, values.get("data", {}))
        return _build(cls, values)

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain values, with ``model`` and ``data`` as dictionaries."""
        return dataclasses.asdict(self)


def _build(kind: Any, values: dict[str, Any]) -> Any:
    unknown = sorted(set(values) - {f.name for f in dataclasses.fields(kind)})
    if unknown:
        raise ValueError(f"unknown configuration fields: {', '.join(unknown)}")
    return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})
