"""Checkpoints of the learned baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kinaema_ros.baselines.baseline import Baseline
from kinaema_ros.baselines.config import LearnedConfig
from kinaema_ros.baselines.learned import Gru, HistoryAttention
from kinaema_ros.baselines.paper import Paper
from kinaema_ros.model.checkpoint import HALF_PRECISION_FROM, CheckpointError, read_tensors, write_tensors

FORMAT = "kinaema-baseline"
VERSION = 4
KINDS: dict[str, type[Baseline]] = {kind.name: kind for kind in (Gru, HistoryAttention, Paper)}


def save_baseline(path: Path, baseline: Baseline, training: dict[str, Any]) -> None:
    """Write weights, configuration and ``training``, a JSON-able summary of how they came about."""
    tensors = {
        name: tensor.half() if tensor.numel() >= HALF_PRECISION_FROM else tensor
        for name, tensor in baseline.state_dict().items()
    }
    config = {"kind": baseline.name, **baseline.config.to_dict()}
    write_tensors(
        path, tensors, {"format": FORMAT, "version": VERSION, "config": config, "training": training}
    )


def load_baseline(path: Path, name: str | None = None) -> Baseline:
    """In evaluation mode, on the CPU. Raises ``CheckpointError``, also where it is another one than ``name``."""
    return read_baseline(path, name)[0]


def read_baseline(path: Path, name: str | None = None) -> tuple[Baseline, dict[str, Any]]:
    """The same and the metadata (config, training, sha256)."""
    tensors, metadata = read_tensors(path, FORMAT, VERSION)
    try:
        config = dict(metadata["config"])
        kind = config.pop("kind", metadata.get("name"))  # the latter in files of before the paper's memory
        if name not in (None, kind):
            raise CheckpointError(f"{path}: holds the baseline {kind}, not {name}")
        baseline = KINDS[kind](LearnedConfig.from_dict(config))
        baseline.load_state_dict({key: tensor.float() for key, tensor in tensors.items()})
    except CheckpointError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: does not fit this version of the baseline ({error})") from error
    baseline.requires_grad_(False)
    return baseline.eval(), metadata
