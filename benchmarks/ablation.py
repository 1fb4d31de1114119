"""What the ablations share: measuring a variant as `kinaema evaluate rpe` does, and a table of all."""

from __future__ import annotations

from typing import Any

import numpy as np

from kinaema_ros import metrics
from kinaema_ros.baselines.methods import KinaemaMethod
from kinaema_ros.evaluation.episodes import Episode, EpisodeConfig, odometry_of
from kinaema_ros.evaluation.rpe import ask, record
from kinaema_ros.model.network import Kinaema
from kinaema_ros.reporting import number, percent, table
from kinaema_ros.sim import OdometryNoise


def measure(
    name: str, network: Kinaema, drives: list[Episode], config: EpisodeConfig, noise: OdometryNoise
) -> list[dict[str, Any]]:
    """The record of each length."""
    odometry = np.stack([odometry_of(drive, noise, config.seed, i) for i, drive in enumerate(drives)])
    method = KinaemaMethod(network)
    answers = ask(method, drives, odometry, config.lengths, "cpu", name)
    size = {"state_bytes": method.num_bytes(method.start(1, 1))}
    return [
        record(name, length, answer, size, config, noise)
        for length, answer in zip(config.lengths, answers, strict=True)
    ]


def show(records: list[dict[str, Any]]) -> str:
    """For the terminal."""
    rows = [
        (
            f"{entry['method']}{', noisy odometry' if any(entry['odom_noise']) else ''}",
            str(entry["length"]),
            *(percent(entry[key]) for key in metrics.ACCURACY_LEVELS),
            number(entry["median_position_m"], 2, " m"),
            number(entry["seen_auroc"], 3),
            number(entry["state_bytes"] / 1e6, 2, " MB"),
        )
        for entry in records
    ]
    header = (
        "variant",
        "frames",
        "0.5 m & 10 deg",
        "1 m & 20 deg",
        "2 m & 30 deg",
        "median",
        "AUROC",
        "state",
    )
    return table(rows, header)
