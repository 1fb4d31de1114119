#!/usr/bin/env python3
"""What each part of the memory is worth: the shipped network with one part switched off or resized, not retrained.

.venv/bin/python benchmarks/ablate_memory.py --scenes 64 --cache /tmp/kinaema-drives --json ablation.json
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ablation import measure, show

from kinaema_ros.evaluation.episodes import EpisodeConfig, episodes
from kinaema_ros.model.checkpoint import load_network
from kinaema_ros.model.network import Kinaema
from kinaema_ros.paths import default_checkpoint
from kinaema_ros.reporting import progress, write_json
from kinaema_ros.sim import OdometryNoise

VARIANTS: dict[str, dict[str, Any]] = {
    "as shipped": {},
    "N = 128": {"num_embeddings": 128},
    "N = 128, gated by time, not by address": {"num_embeddings": 128, "cell": {"address": "time"}},
    "N = 256": {"num_embeddings": 256},
    "N = 1024": {"num_embeddings": 1024},
    "no contextualisation": {"cell": {"context_layers": 0}},
    "no folding: each frame takes an embedding": {"cell": {"write_threshold": 1.0}},
    "address by content alone": {"cell": {"pose_weight": 0.0}},
    "no drift correction": {"loop_closure": {"enabled": False}},
    "1 embedding answers": {"num_hypotheses": 1},
    "4 embeddings answer": {"num_hypotheses": 4},
}


def changed(network: Kinaema, name: str) -> Kinaema:
    """A copy with another configuration; weights that it has no use for are left out."""
    other = Kinaema(network.config.changed(VARIANTS[name]))
    weights = network.state_dict()
    other.load_state_dict({name: weights[name] for name in other.state_dict()})
    return other.requires_grad_(False).eval()


def main() -> None:
    """Measure every variant without and with drift of the odometry, print a table, write the records."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, default=default_checkpoint())
    parser.add_argument("--scenes", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    network, _ = load_network(arguments.checkpoint)
    config = EpisodeConfig(arguments.seed)
    drives = list(
        progress(episodes(config, arguments.scenes, network.trunk, cache=arguments.cache), desc="drives")
    )
    records: list[dict[str, Any]] = []
    for noise in (OdometryNoise(0.0, 0.0), OdometryNoise(0.02, 0.2)):
        for name in VARIANTS:
            records += measure(name, changed(network, name), drives, config, noise)
    print(show(records))
    if arguments.json:
        write_json(arguments.json, records)


if __name__ == "__main__":
    main()
