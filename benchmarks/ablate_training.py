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

from ablation import measure, show

from kinaema_ros.evaluation.episodes import Episode, EpisodeConfig, episodes
from kinaema_ros.model.checkpoint import load_network
from kinaema_ros.reporting import progress, write_json
from kinaema_ros.sim import OdometryNoise
from kinaema_ros.training.config import TrainConfig
from kinaema_ros.training.data import DataConfig, Pool, stream
from kinaema_ros.training.train import train

PAIR_STEPS, MEMORY_STEPS = 400, 40
LENGTHS = (100, 200)

VARIANTS: dict[str, dict[str, Any]] = {
    "as designed": {},
    "no contextualisation": {"model": {"cell": {"context_layers": 0}}},
    "no pair pre-training": {"pair_steps": 0, "memory_steps": 2 * MEMORY_STEPS},
    "no training through the memory": {"pair_steps": 2 * PAIR_STEPS, "memory_steps": 0},
    "E halved": {"model": {"key_dim": 64, "content_dim": 128}},
    "E doubled": {"model": {"key_dim": 256, "content_dim": 512}},
}


def main() -> None:
    """Train and measure every variant on the same trajectories; print a table after each of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs; finished ones are kept")
    parser.add_argument("--drives", type=int, default=300, help="that all variants are trained on")
    parser.add_argument("--scenes", type=int, default=16, help="that all are measured in")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    data = DataConfig(seed=arguments.seed, pool_start=arguments.drives, new_per_step=0.0)
    pool = Pool(data, stream(data, 0, 1, encode_in_worker=True), 0)
    measured = EpisodeConfig(arguments.seed, LENGTHS)
    drives: list[Episode] = []
    records: list[dict[str, Any]] = []
    for name, changes in VARIANTS.items():
        steps = {"pair_steps": PAIR_STEPS, "memory_steps": MEMORY_STEPS, "memory_frames": [64, 96]}
        values = {
            **steps,
            "seed": arguments.seed,
            "calibration_sequences": 8,
            "calibration_frames": 100,
            "evaluate_every": 0,
            **changes,
        }
        config = dataclasses.replace(TrainConfig.from_dict(values), data=data)
        checkpoint = train(config, arguments.out / name.replace(" ", "_"), pool=pool)
        assert checkpoint is not None  # no time limit was set
        network, _ = load_network(checkpoint)
        if not drives:  # every variant has the same trunk
            source = episodes(measured, arguments.scenes, network.trunk, cache=arguments.cache)
            drives = list(progress(source, total=arguments.scenes, desc="drives"))
        records += measure(name, network, drives, measured, OdometryNoise(0.0, 0.0))
        print(f"\n{show(records)}\n", flush=True)
    if arguments.json:
        write_json(arguments.json, records)


if __name__ == "__main__":
    main()
