"""What a training step of the paper's memory costs: sequences a second of processor time, by size and batch.

python benchmarks/paper_step.py
"""

from __future__ import annotations

import time

import torch

from kinaema_ros.baselines.config import LearnedConfig, PaperConfig
from kinaema_ros.baselines.paper import Paper
from kinaema_ros.reporting import table
from kinaema_ros.training.drive_folder import DriveBatch
from kinaema_ros.training.train_baselines import BaselineConfig, learn

FRAMES, STEPS = 8, 3
SIZES = ((16, 32), (16, 128), (32, 32), (32, 128))  # embeddings, batch


def batch_of(count: int, views: int) -> DriveBatch:
    """Drives of random numbers: what they are does not change what they cost."""
    poses = torch.randn(count, FRAMES, 3, dtype=torch.float64)
    asked = torch.randn(count, 48, views)
    source = torch.randint(FRAMES, (count, 48))
    return DriveBatch(
        torch.randn(count, FRAMES, views), poses, poses, asked, poses[:, :1].expand(-1, 48, -1), source, asked
    )


def sequences_a_second(embeddings: int, count: int) -> float:
    """Of processor time, on one thread."""
    model = Paper(LearnedConfig(paper=PaperConfig(embeddings=embeddings))).train()
    drives = batch_of(count, model.config.key_dim + 2 * model.config.content_dim)
    generator = torch.Generator().manual_seed(0)
    learn(model, drives, BaselineConfig(), FRAMES, generator)  # to warm up
    started = time.process_time()
    for _ in range(STEPS):
        learn(model, drives, BaselineConfig(), FRAMES, generator)
    return STEPS * count / (time.process_time() - started)


if __name__ == "__main__":
    torch.set_num_threads(1)
    rows = [(str(n), str(count), f"{sequences_a_second(n, count):.0f}") for n, count in SIZES]
    print(table(rows, ("embeddings", "batch", "sequences of 8 a second of one core")))
