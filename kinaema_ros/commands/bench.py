"""`kinaema bench`: what an update and a query cost as the drive grows longer."""

from __future__ import annotations

import argparse

from kinaema_ros.commands.arguments import add_command, add_network, add_results, whole_number
from kinaema_ros.paths import default_checkpoint
from kinaema_ros.reporting import write_json


def add_arguments(commands: argparse._SubParsersAction) -> None:
    """Declare the command and its arguments."""
    parser = add_command(
        commands,
        "bench",
        run,
        "time updates and queries as the drive grows longer",
        "Time an update and a query after 10, 100, 1,000 and 10,000 frames, of the memory and of attention over\n"
        "the whole history, one image at a time on one thread.",
    )
    parser.add_argument(
        "--rounds",
        metavar="N",
        type=whole_number(10),
        default=200,
        help="times that each is measured (default: %(default)s)",
    )
    add_network(parser)
    add_results(parser)


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit status; raises what `cli.main` tells the user."""
    from kinaema_ros.evaluation.bench import bench, matrix_rate, peak_shares, records_table
    from kinaema_ros.model.checkpoint import load_network

    network, _ = load_network(arguments.checkpoint or default_checkpoint(), arguments.device)
    records = bench(network, arguments.rounds)
    rate = matrix_rate(network.device)
    print(f"\n{records_table(records)}\n\n{peak_shares(network, records, rate)}")
    if arguments.json:
        write_json(arguments.json, records)
    return 0
