#!/usr/bin/env python3
"""What each helper gives the paper's memory: it is trained once with all of them and once without each, on the same drives.

    kinaema train --method paper --out runs/paper --features drives --render 400
    python benchmarks/ablate_paper.py drives --out runs/ablation

Each is trained for SEQUENCES of 8, then of 16 frames, a sixth of what the shipped one saw, some ten minutes of one core; the same
command goes on where it was stopped. Told is the share of held-out views within 1 m and 20 degrees, and the median of the
distance, at the end and at the end of the first stage, of REPEATS times 512 questions.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import logging
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor, nn

from kinaema_ros.baselines.checkpoint import KINDS, load_baseline, save_baseline
from kinaema_ros.baselines.config import LearnedConfig, PaperConfig
from kinaema_ros.baselines.paper import Paper
from kinaema_ros.paths import default_checkpoint
from kinaema_ros.reporting import table
from kinaema_ros.training.drive_folder import DriveFolder
from kinaema_ros.training.train_baselines import PRETRAINED, BaselineConfig, Stage, check, train_baselines

SEQUENCES = {8: 40_000, 16: 24_000}
REPEATS = 8
WITH_ALL = BaselineConfig(stages=tuple(Stage(frames, count, 32) for frames, count in SEQUENCES.items()))
VARIANTS = {
    "all": WITH_ALL,
    "no foretelling of views": dataclasses.replace(WITH_ALL, imagine=0.0),
    "not asked about its own frames": dataclasses.replace(WITH_ALL, recall=False),
    "told its motion alone": dataclasses.replace(WITH_ALL, paper=PaperConfig(egocentric=True)),
    "no product in the read-out": WITH_ALL,
    "descriptor untrained": WITH_ALL,
}


class NoProduct(Paper):
    """What is read does not multiply what is asked."""

    def __init__(self, config: LearnedConfig):
        super().__init__(config)
        self.head.register_forward_pre_hook(_drop_last_third)


def _drop_last_third(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    asked, read, product = inputs[0].chunk(3, dim=-1)
    return (torch.cat([asked, read, torch.zeros_like(product)], dim=-1),)


def untrained_descriptor(path: Path) -> Path:
    """The shipped trunk and the statistics of its features, and of the descriptor only what chance gives."""
    eyes = load_baseline(default_checkpoint().parent / PRETRAINED)
    torch.manual_seed(0)
    for layer in eyes.descriptor.children():
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()
    save_baseline(path, eyes, {})
    return path


def main() -> None:
    """Train what is not trained yet, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("drives", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    rows = []
    for variant, config in VARIANTS.items():
        folder = arguments.out / variant.replace(" ", "-")
        folder.mkdir(parents=True, exist_ok=True)
        pretrained = default_checkpoint().parent / PRETRAINED
        if variant == "descriptor untrained":
            pretrained = untrained_descriptor(folder / "eyes.safetensors")
        without_product = variant == "no product in the read-out"
        with patch.dict(KINDS, paper=NoProduct) if without_product else nullcontext():
            train_baselines(["paper"], pretrained, config, arguments.drives, folder)
            trained = load_baseline(folder / "baseline-paper.safetensors")
        held = DriveFolder(arguments.drives / "held", trained.describe)
        checks = [
            check(trained, held, max(SEQUENCES), dataclasses.replace(config, seed=s)) for s in range(REPEATS)
        ]
        share, median = (
            sum(c[f"held_{name}"] for c in checks) / REPEATS for name in ("accuracy", "median_m")
        )
        rows.append([variant, f"{_first_stage(folder):.0f} %", f"{share:.1f} %", f"{median:.2f} m"])
        print(table(rows, ["helpers", "after 8 frames", "after 16 frames", "median"]), flush=True)


def _first_stage(folder: Path) -> float:
    """The last accuracy that was told of parts of 8 frames."""
    entries = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    told = [e["held_accuracy"] for e in entries if e["frames"] == min(SEQUENCES) and "held_accuracy" in e]
    return sum(itertools.islice(reversed(told), 3)) / min(3, len(told))


if __name__ == "__main__":
    main()
