#!/usr/bin/env python3
"""What each ingredient is worth when the network is trained without it: short trainings on the same drives.

    .venv/bin/python benchmarks/ablate_training.py --out /tmp/ablation --cache /tmp/kinaema-drives --json ablation.json

Every variant sees the same rendered drives in the same order. The budget is a small fraction of the shipped
network's, so that only differences between variants mean something.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from kinaema_ros import metrics
from kinaema_ros.model.checkpoint import load_network
from kinaema_ros.reporting import number, percent, progress, table, write_json
from kinaema_ros.sim import OdometryNoise
from kinaema_ros.training.config import TrainConfig
from kinaema_ros.training.data import DataConfig, Pool, stream
from kinaema_ros.training.episodes import EpisodeConfig, episodes, odometry_of
from kinaema_ros.training.evaluate import ask, record
from kinaema_ros.training.methods import KinaemaMethod
from kinaema_ros.training.train import train

PAIR_STEPS, MEMORY_STEPS = 600, 60  # about as long on one core
LENGTHS = (100, 200)

VARIANTS: dict[str, dict[str, Any]] = {
    "as designed": {},
    "no contextualisation": {"model": {"context_layers": 0}},
    "no pair pre-training": {"pair_steps": 0, "memory_steps": 2 * MEMORY_STEPS},
    "no training through the memory": {"pair_steps": 2 * PAIR_STEPS, "memory_steps": 0},
    "E halved": {"model": {"key_dim": 64, "content_dim": 128}},
    "E doubled": {"model": {"key_dim": 256, "content_dim": 512}},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs; finished ones are kept")
    parser.add_argument("--drives", type=int, default=300, help="that all variants are trained on")
    parser.add_argument("--scenes", type=int, default=16, help="that all are measured in")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    data = DataConfig(seed=arguments.seed, pool_start=arguments.drives, new_per_step=0.0)
    pool = Pool(data, stream(data, 0, 1, encode_in_worker=True), 0)
    records: list[dict[str, Any]] = []
    for name, changes in VARIANTS.items():
        steps = {"pair_steps": PAIR_STEPS, "memory_steps": MEMORY_STEPS, "memory_frames": [64, 96]}
        values = {**steps, "seed": arguments.seed, "calibration_sequences": 8, "calibration_frames": 100, **changes}
        config = dataclasses.replace(TrainConfig.from_dict(values), data=data)
        checkpoint = train(config, arguments.out / name.replace(" ", "_"), pool=pool)
        assert checkpoint is not None  # no time limit was set
        records += measure(name, checkpoint, arguments)
        print(f"\n{show(records)}\n", flush=True)
    if arguments.json:
        write_json(arguments.json, records)


def measure(name: str, checkpoint: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The record of `kinaema evaluate rpe` at each length, with exact odometry."""
    network, _ = load_network(checkpoint)
    config = EpisodeConfig(arguments.seed, LENGTHS)
    source = episodes(config, arguments.scenes, network.trunk, cache=arguments.cache)
    drives = list(progress(source, total=arguments.scenes, desc="drives"))
    noise = OdometryNoise(0.0, 0.0)
    odometry = np.stack([odometry_of(drive, noise, config.seed, i) for i, drive in enumerate(drives)])
    method = KinaemaMethod(network)
    answers = ask(method, drives, odometry, config.lengths, "cpu", name)
    size = {"state_bytes": method.num_bytes(method.start(1, 1))}
    return [
        record(name, length, answer, size, config, noise)
        for length, answer in zip(config.lengths, answers, strict=True)
    ]


def show(records: list[dict[str, Any]]) -> str:
    rows = [
        (
            entry["method"],
            str(entry["length"]),
            *(percent(entry[key]) for key in metrics.ACCURACY_LEVELS),
            number(entry["median_position_m"], 2, " m"),
            number(entry["seen_auroc"], 3),
        )
        for entry in records
    ]
    return table(rows, ("variant", "frames", "0.5 m & 10 deg", "1 m & 20 deg", "2 m & 30 deg", "median", "AUROC"))


if __name__ == "__main__":
    main()
