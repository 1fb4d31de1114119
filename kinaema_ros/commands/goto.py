"""`kinaema goto`: send the running robot to where a photo was taken."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinaema_ros.commands.arguments import add_command, add_goal, add_results, add_robot, between, check_goal
from kinaema_ros.errors import KinaemaError
from kinaema_ros.reporting import goal_record, place, pose_record, write_json

if TYPE_CHECKING:
    from kinaema_ros.nodes.client.client import Feedback


def add_arguments(commands: argparse._SubParsersAction) -> None:
    """Declare the command and its arguments."""
    parser = add_command(
        commands,
        "goto",
        run,
        "send a running robot to where a photo was taken",
        "Send the robot, by the running navigator_node and Nav2, to where a photo was taken, or to a named place.\n"
        "Ends when the robot is there; Ctrl-C stops it.",
    )
    add_goal(parser)
    add_drive(parser)


def add_drive(parser: argparse.ArgumentParser) -> None:
    """What a drive asks for, whatever its goal."""
    parser.add_argument(
        "--min-seen",
        metavar="P",
        type=between(0, 1),
        default=0.0,
        help="stay here if the place was seen with a lower probability (default: the navigator's parameter)",
    )
    parser.add_argument(
        "--min-confidence",
        metavar="P",
        type=between(0, 1),
        default=0.0,
        help="... or if its pose is right with a lower probability (default: the navigator's parameter)",
    )
    parser.add_argument(
        "--position-tolerance",
        metavar="M",
        type=between(0, math.inf),
        default=0.0,
        help="correct the goal on the way when the estimate moved so far (default: the navigator's parameter)",
    )
    parser.add_argument(
        "--yaw-tolerance",
        metavar="DEG",
        type=between(0, 180),
        default=0.0,
        help="... or turned so far (default: the navigator's parameter)",
    )
    add_robot(parser)
    add_results(parser)


def run(arguments: argparse.Namespace) -> int:
    """Returns 0 only if the robot got there; raises what `cli.main` tells the user."""
    check_goal(arguments)
    return drive(arguments, arguments.image, arguments.place, arguments.hfov_deg)


def drive(arguments: argparse.Namespace, photo: Path | None, name: str, hfov_deg: float = 0.0) -> int:
    """As ``run``, to a photo or to the place of this name."""
    from tqdm import tqdm

    from kinaema_ros.nodes.client.client import KinaemaClient

    with (
        tqdm(bar_format="{desc}  [{elapsed}]", disable=None) as line,
        KinaemaClient(arguments.namespace) as kinaema,
    ):

        def show(feedback: Feedback) -> None:
            left = (
                "" if math.isnan(feedback.distance_remaining) else f"{feedback.distance_remaining:.1f} m to "
            )
            line.set_description_str(f"{left}{place(feedback.goal)}, {100 * feedback.confidence:.0f} % sure")

        arrival = kinaema.go_to(
            photo,
            arguments.min_seen,
            arguments.position_tolerance,
            math.radians(arguments.yaw_tolerance),
            on_feedback=show,
            timeout=arguments.timeout,
            min_confidence=arguments.min_confidence,
            hfov_deg=hfov_deg,
            place=name,
        )
    if arguments.json:
        goal: dict[str, Any] = dict.fromkeys(("x", "y", "yaw", "frame_id"))
        if arrival.frame_id:
            goal = pose_record(arrival.goal, arrival.frame_id)
        outcome = {"reached": arrival.reached, "error_code": arrival.error_code, "message": arrival.message}
        tried = [dict(zip(("x", "y", "yaw"), pose.tolist(), strict=True)) for pose in arrival.places_tried]
        record = {**goal_record(photo, name), **outcome, **goal}
        record |= {"num_queries": arrival.num_queries, "places_tried": tried}
        write_json(arguments.json, [record])
    for pose in arrival.places_tried:
        print(f"tried {place(pose)} in the odometry's frame: another place")
    if not arrival.reached:
        raise KinaemaError(f"not reached: {arrival.message} (error code {arrival.error_code})")
    print(f"reached {place(arrival.goal)} in {arrival.frame_id} after {arrival.num_queries} queries")
    if arrival.message:
        print(arrival.message)
    return 0
