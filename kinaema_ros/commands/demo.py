"""`kinaema demo`: a simulated robot explores a building, then drives to places shown as photos."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from kinaema_ros import reporting
from kinaema_ros.commands.arguments import (
    add_command,
    add_network,
    add_results,
    output_folder,
    whole_number,
)
from kinaema_ros.paths import default_checkpoint

if TYPE_CHECKING:
    from kinaema_ros.demo.record import DemoRecord


def add_arguments(commands: argparse._SubParsersAction) -> None:
    """Declare the command and its arguments."""
    parser = add_command(
        commands,
        "demo",
        run,
        "see a robot explore a building, then drive to places shown as photos",
        "Start a simulated robot, the memory and the navigator as ROS 2 nodes, drive the robot through a\n"
        "building for three minutes of its time, then show it photos and watch it go to where they were\n"
        "taken. Ends with status 0 if it came within a metre of at least four photos in five.",
    )
    parser.epilog = "examples:\n  kinaema demo --world 12 --goals 3 --out out/twelve\n  kinaema demo --web"
    parser.add_argument(
        "--world", metavar="SEED", type=whole_number(0), default=7, help="building (default: %(default)s)"
    )
    parser.add_argument(
        "--goals", metavar="N", type=whole_number(1), default=5, help="photos (default: %(default)s)"
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=output_folder,
        default=Path("out/demo"),
        help="folder of demo.png, demo.mp4, the photos and the nodes' logs (default: %(default)s)",
    )
    parser.add_argument(
        "--web",
        action="store_true",
        help="after exploring, wait for people: a page shows the robot, takes photos, and sends it; until Ctrl-C",
    )
    parser.add_argument(
        "--port", metavar="N", type=whole_number(1), default=8765, help="of that page (default: %(default)s)"
    )
    add_network(parser)
    add_results(parser)


def run(arguments: argparse.Namespace) -> int:
    """Returns 0 if enough photos were reached; raises what `cli.main` tells the user."""
    if arguments.checkpoint or arguments.device != "cpu":  # refused now rather than by memory_node
        from kinaema_ros.baselines.network import load_network

        load_network(arguments.checkpoint or default_checkpoint(), arguments.device)
    from kinaema_ros.demo.run import perform, serve, write_pictures

    if arguments.web:
        with contextlib.suppress(KeyboardInterrupt):  # how it ends
            serve(
                arguments.world,
                arguments.goals,
                arguments.out,
                arguments.device,
                arguments.checkpoint,
                arguments.port,
                browse=sys.stdout.isatty(),
            )
        return 0

    started = time.monotonic()
    record = perform(
        arguments.world,
        arguments.goals,
        arguments.out,
        arguments.device,
        arguments.checkpoint,
    )
    summary = (
        f"{record.reached} of {record.goals} places reached within 1 m in "
        f"{time.monotonic() - started:.0f} s of the machine's time"
    )
    print(f"\n{visits_table(record)}\n\n{summary}" + ("" if record.done else ": too few"), flush=True)
    if arguments.json:
        goals = [visit.as_json() for visit in record.visits]
        result = {"world": arguments.world, "goals": goals, "reached": record.reached, "summary": summary}
        reporting.write_json(arguments.json, result)
    write_pictures(arguments.out, record)
    return 0 if record.done else 1


def visits_table(record: DemoRecord) -> str:
    """A row a photo."""
    rows = []
    for number, visit in enumerate(record.visits, 1):
        position, yaw = visit.errors
        rows.append(
            (
                str(number),
                "refused" if visit.first_estimate is None else _place(visit.first_estimate.pose),
                _place(visit.true),
                reporting.number(position, 2, " m"),
                reporting.number(math.degrees(yaw), 0, "°"),
                reporting.number(visit.distance, 2, " m"),
                "yes" if visit.reached else "no",
                reporting.number(visit.seconds, 0, " s"),
            )
        )
    header = ("photo", "predicted from afar", "true", "error", "", "stopped at", "reached", "time")
    return reporting.table(rows, header)


def _place(pose: Iterable[float]) -> str:
    x, y, yaw = pose
    return f"{x:.2f} m, {y:.2f} m, {math.degrees(yaw):.0f}°"
