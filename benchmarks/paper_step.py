#!/usr/bin/env python3
"""What a training step of the learned baselines costs, and drawing its batch from the rendered drives, on one thread.

    kinaema train --method paper --out runs/paper --features drives --render 100
    python benchmarks/paper_step.py drives

Both in milliseconds of wall time, the shortest of STEPS. The batches are drawn in the training's own process: where drawing takes
a hundredth of the step, no worker is needed.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch

from kinaema_ros.baselines.checkpoint import KINDS, load_baseline
from kinaema_ros.paths import default_checkpoint
from kinaema_ros.reporting import table
from kinaema_ros.training.drive_folder import DriveFolder, draw
from kinaema_ros.training.train_baselines import PRETRAINED, BaselineConfig, learn

FRAMES, BATCH, STEPS = (8, 32, 128), 32, 4


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    config = BaselineConfig()
    pretrained = load_baseline(default_checkpoint().parent / PRETRAINED)
    drives = DriveFolder(Path(sys.argv[1]) / "train", pretrained.describe)
    rows = []
    for name, kind in KINDS.items():
        model = kind(pretrained.config).train()
        for part in (model.trunk, model.descriptor):
            part.requires_grad_(False)
        for frames in FRAMES:
            generator = torch.Generator().manual_seed(0)
            times = []
            for _ in range(STEPS):
                started = time.perf_counter()
                batch = draw(drives, BATCH, frames, config.max_odometry_noise, generator)
                drawn = time.perf_counter()
                learn(model, batch, config, frames, generator)
                times.append((time.perf_counter() - drawn, drawn - started))
            step, drawing = min(times)
            rows.append(
                [
                    name,
                    str(frames),
                    f"{1e3 * drawing:.0f}",
                    f"{1e3 * step:.0f}",
                    f"{BATCH / (step + drawing):.0f}",
                ]
            )
    print(table(rows, ["baseline", "frames", "drawing, ms", "step, ms", "sequences a second"]))


if __name__ == "__main__":
    main()
