#!/usr/bin/env python3
"""What each part of the memory is worth: the shipped network with one part switched off or resized, not fitted anew.

    python benchmarks/ablate_memory.py --scenes 8 --json ablation.json
    python benchmarks/ablate_memory.py --recording ../shared/data/gazebo_bookstore --every 2 --json ablation.json

On procedural drives with drifting odometry, asked as `kinaema evaluate rpe` does, or on a recording (a folder with bag/ and
queries.csv), asked as `kinaema replay` does. ``--every 2`` takes every second photo only, ``--variants`` those variants
whose names contain one of the words.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kinaema_ros import metrics
from kinaema_ros.baselines.methods import KinaemaMethod, NetworkEncoder
from kinaema_ros.evaluation.episodes import EpisodeConfig, odometry_of, plan_episode
from kinaema_ros.evaluation.rpe import drive, record
from kinaema_ros.evaluation.rpe_answers import LabelledEstimates
from kinaema_ros.memory import SpatialMemory
from kinaema_ros.model.checkpoint import load_network
from kinaema_ros.model.local_features import DESCRIPTOR_DIM
from kinaema_ros.model.network import Kinaema
from kinaema_ros.paths import default_checkpoint
from kinaema_ros.replay.bag import open_recording
from kinaema_ros.replay.queries import read_queries
from kinaema_ros.replay.replay import ReplayOptions, evaluate, remember_and_ask
from kinaema_ros.reporting import number, percent, progress, table, write_json
from kinaema_ros.sim import OdometryNoise

NOISE = OdometryNoise(0.02, 0.2)
MATCHES = 4  # of the judge's terms, the number of tokens that match
ALL = 65536  # embeddings: as many as there are

VARIANTS: dict[str, dict[str, Any]] = {
    "as shipped": {},
    "M = 16": {"tokens": {"tokens": 16}},
    "M = 32": {"tokens": {"tokens": 32}},
    "M = 64": {"tokens": {"tokens": 64}},
    "M = 256": {"tokens": {"tokens": 256}},
    "D = 16": {"tokens": {"dim": 16}},
    "D = 64": {"tokens": {"dim": 64}},
    "D = 32, not projected": {},
    "N = 64": {"num_embeddings": 64},
    "N = 128": {"num_embeddings": 128},
    "N = 256": {"num_embeddings": 256},
    "N = 1024": {"num_embeddings": 1024},
    "heading by odometry and loops alone": {"window": {"heading_by_sight": False}},
    "no drift correction": {"revisit": {"enabled": False}},
    "triangulation by 1 view": {"window": {"size": 1}},
    "triangulation by 4 views": {"window": {"size": 4}},
    "no merging: each view keeps an embedding": {"num_embeddings": 2048, "fold": {"min_matches": 10**6}},
    "8 embeddings on the shortlist": {"search": {"shortlist": 8}},
    "all embeddings on the shortlist": {"search": {"shortlist": ALL}},
    "ranked by the number of matches alone": {},
}


def variant(network: Kinaema, name: str) -> Kinaema:
    """The same weights, but for those that the name is about, with another configuration of the memory."""
    other = Kinaema(network.config.changed(VARIANTS[name]))
    weights = dict(network.state_dict())
    if name.startswith("D = "):
        weights |= projection(network, other.config.tokens.dim, by_axes="not projected" not in name)
    if name.startswith("ranked"):
        weights["judge.rank.weight"] = torch.zeros_like(network.judge.rank.weight)
        weights["judge.rank.weight"][0, MATCHES] = 10.0
    other.load_state_dict(weights)
    return other.eval()


def projection(network: Kinaema, dim: int, by_axes: bool) -> dict[str, Tensor]:
    """Weights of descriptors along the first ``dim`` of the fitted axes, or of the first components as they are."""
    fitted = network.projection
    if by_axes and dim <= len(fitted.weight):
        return {"projection.weight": fitted.weight[:dim], "projection.bias": fitted.bias[:dim]}
    return {"projection.weight": torch.eye(DESCRIPTOR_DIM)[:dim], "projection.bias": torch.zeros(dim)}


def on_drives(
    names: list[str], network: Kinaema, scenes: int, seed: int, lengths: tuple[int, ...]
) -> list[dict[str, Any]]:
    """A record for each variant and length."""
    config = EpisodeConfig(seed, lengths)
    shared = NetworkEncoder(network)
    methods = {}
    for name in names:
        of_name = variant(network, name)
        encoder = NetworkEncoder(of_name) if name.startswith("D = ") else shared
        methods[name] = KinaemaMethod(of_name, encoder)
    outcomes = []
    for index in progress(range(scenes), total=scenes, desc="drives", unit="drive"):
        episode = plan_episode(config, index)
        outcomes.append(drive(methods, episode, odometry_of(episode, NOISE, seed, index), lengths))
    records = []
    for name in names:
        for which, length in enumerate(lengths):
            of_drives = [outcome[name][which] for outcome in outcomes]
            answers = LabelledEstimates.joined([outcome.answers for outcome in of_drives])
            cost = {
                key: float(np.median([getattr(outcome, key) for outcome in of_drives]))
                for key in ("update_ms", "query_ms", "state_bytes")
            }
            records.append(record(name, length, answers, cost, config, NOISE))
    return records


def on_recording(names: list[str], network: Kinaema, folder: Path, every: int) -> list[dict[str, Any]]:
    """A record for each variant."""
    queries = read_queries(folder / "queries.csv")[::every]
    records = []
    for name in progress(names, total=len(names), desc="variants", unit="variant"):
        memory = SpatialMemory(variant(network, name))
        with open_recording(folder / "bag") as recording:
            outcome = remember_and_ask(recording, queries, memory, ReplayOptions())
            summary = evaluate(recording, queries, outcome)["summary"]
        records.append({"method": name, "length": summary["frames_used"], **summary})
    return records


def show(records: list[dict[str, Any]]) -> str:
    """For the terminal."""
    rows = [
        (
            entry["method"],
            str(entry["length"]),
            number(entry["median_position_m"], 2, " m"),
            *(percent(entry[key]) for key in metrics.ACCURACY_LEVELS),
            number(entry["seen_auroc"], 3),
            percent(entry["inside_90_ellipse"]),
            number(entry["update_ms"], 0, " ms"),
            number(entry["query_ms"], 0, " ms"),
            number(entry["state_bytes"] / 1e6, 2, " MB"),
        )
        for entry in records
    ]
    header = ("variant", "frames", "median", *metrics.ACCURACY_NAMES, "AUROC", "in 90 %", "update", "query")
    return table(rows, (*header, "state"))


@torch.inference_mode()
def main() -> None:
    """Measure every variant, print a table, write the records."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, default=default_checkpoint())
    parser.add_argument("--recording", type=Path, help="folder of bag/ and queries.csv, instead of drives")
    parser.add_argument("--every", type=int, default=1, help="of the recording's photos one in so many")
    parser.add_argument("--scenes", type=int, default=16)
    parser.add_argument("--lengths", type=json.loads, default=[100, 400], help="such as [100,400]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--variants", nargs="+", default=[""], help="words, one of which the name contains")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    network, _ = load_network(arguments.checkpoint)
    names = [name for name in VARIANTS if any(word in name for word in arguments.variants)]
    if arguments.recording:
        records = on_recording(names, network, arguments.recording, arguments.every)
    else:
        records = on_drives(names, network, arguments.scenes, arguments.seed, tuple(arguments.lengths))
    print(show(records))
    if arguments.json:
        write_json(arguments.json, records)


if __name__ == "__main__":
    main()
