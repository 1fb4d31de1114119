"""`kinaema evaluate memnav`: drives to photos of places seen before."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from kinaema_ros.evaluation.memnav.episodes import MemnavConfig
from kinaema_ros.evaluation.memnav.evaluate import episodes_json, evaluate, record, records_table
from kinaema_ros.model.checkpoint import load_network
from kinaema_ros.paths import default_checkpoint
from kinaema_ros.reporting import write_json
from kinaema_ros.sim import OdometryNoise


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit status; raises what `cli.main` tells the user."""
    checkpoint = arguments.checkpoint or default_checkpoint()
    load_network(checkpoint, arguments.device)  # refused now rather than by a worker
    noise = OdometryNoise(*arguments.odom_noise)
    if arguments.through_ros:
        if arguments.method != ("kinaema",):
            arguments.parser.error("--through-ros drives by the nodes, which are --method kinaema alone")
        from kinaema_ros.evaluation.memnav.through_nodes import GOALS, drive_through_nodes

        config = MemnavConfig(arguments.seed, goals=GOALS)
        logs = arguments.out / "log" if arguments.out else Path(tempfile.mkdtemp(prefix="kinaema-memnav-"))
        driven = drive_through_nodes(config, arguments.episodes, noise, checkpoint, arguments.device, logs)
        results = {"kinaema": driven}
    else:
        config = MemnavConfig(arguments.seed)
        results = evaluate(config, arguments.episodes, arguments.method, noise, checkpoint, arguments.device)
    records = [record(name, results[name], config.seed, noise) for name in arguments.method]
    print(f"\n{records_table(records)}")
    if arguments.json:
        write_json(arguments.json, records)
    if arguments.out:
        from kinaema_ros.evaluation.memnav.pictures import write_pictures

        arguments.out.mkdir(parents=True, exist_ok=True)
        details = [entry for name in arguments.method for entry in episodes_json(name, results[name])]
        write_json(arguments.out / "episodes.json", details)
        for path in write_pictures(arguments.out, results):
            print(f"wrote {path}")
    return 0
