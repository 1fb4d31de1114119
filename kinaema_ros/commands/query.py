"""`kinaema query`: ask the running memory_node where a photo was taken."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from kinaema_ros.commands.arguments import add_command, add_goal, add_results, add_robot, check_goal
from kinaema_ros.reporting import alternative_record, goal_record, place, pose_record, write_json

if TYPE_CHECKING:
    from kinaema_ros.geometry import Array


def add_arguments(commands: argparse._SubParsersAction) -> None:
    """Declare the command and its arguments."""
    parser = add_command(
        commands,
        "query",
        run,
        "ask a running robot where a photo was taken",
        "Ask the running memory_node where the robot was when it would have seen a photo, or where a named place lies.",
    )
    add_goal(parser)
    parser.add_argument(
        "--frame",
        metavar="NAME",
        default="",
        help="frame of the answer: the odometry's, or any that TF reaches (default: the robot's base)",
    )
    add_robot(parser)
    add_results(parser)


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit status; raises what `cli.main` tells the user."""
    check_goal(arguments)
    from kinaema_ros.nodes.client.client import KinaemaClient

    with KinaemaClient(arguments.namespace) as kinaema:
        estimate = kinaema.query(
            arguments.image, arguments.frame, arguments.timeout, arguments.hfov_deg, arguments.place
        )
    print(f"{place(estimate.pose)} in {estimate.frame_id}, {_uncertainty(estimate.covariance)}")
    print(
        f"seen with probability {estimate.seen:.2f}, pose right with {estimate.confidence:.2f}, "
        f"from {estimate.num_updates} updates of the memory"
    )
    for other in estimate.alternatives:
        print(f"or with {other.confidence:.2f} {place(other.pose)}, {_uncertainty(other.covariance)}")
    if arguments.json:
        record = {
            **goal_record(arguments.image, arguments.place),
            **pose_record(estimate.pose, estimate.frame_id),
            "covariance": estimate.covariance.tolist(),
            "seen": estimate.seen,
            "confidence": estimate.confidence,
            "alternatives": [alternative_record(other) for other in estimate.alternatives],
            "num_updates": estimate.num_updates,
        }
        write_json(arguments.json, [record])
    return 0


def _uncertainty(covariance: Array) -> str:
    """One standard deviation: along the longer axis of the position's ellipse, and of the heading."""
    import numpy as np

    position = math.sqrt(float(np.linalg.eigvalsh(covariance[:2, :2])[-1]))
    return f"give or take {position:.2f} m and {math.degrees(math.sqrt(covariance[2, 2])):.0f} deg"
