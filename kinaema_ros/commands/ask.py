"""`kinaema query` and `kinaema goto`: a photo to the running nodes."""

from __future__ import annotations

import argparse
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from kinaema_ros.estimate import as_pose
from kinaema_ros.nodes.client.client import Feedback, KinaemaClient
from kinaema_ros.reporting import write_json


def run_query(arguments: argparse.Namespace) -> int:
    """Ask where a photo was taken. Returns the exit status; raises what `cli.main` tells the user."""
    with KinaemaClient(arguments.namespace) as kinaema:
        estimate = kinaema.query(arguments.image, arguments.frame, arguments.timeout)
    print(f"{_place(estimate.pose)} in {estimate.frame_id}, {_uncertainty(estimate.covariance)}")
    print(f"seen with probability {estimate.seen:.2f}, from {estimate.num_updates} updates of the memory")
    if arguments.json:
        record = {
            "file": str(arguments.image),
            **_pose_record(estimate.pose, estimate.frame_id),
            "covariance": estimate.covariance.tolist(),
            "seen": estimate.seen,
            "num_updates": estimate.num_updates,
        }
        write_json(arguments.json, [record])
    return 0


def run_goto(arguments: argparse.Namespace) -> int:
    """Drive to where a photo was taken. Returns 0 only if the robot got there."""
    with (
        tqdm(bar_format="{desc}  [{elapsed}]", disable=None) as line,
        KinaemaClient(arguments.namespace) as kinaema,
    ):

        def show(feedback: Feedback) -> None:
            left = (
                "" if math.isnan(feedback.distance_remaining) else f"{feedback.distance_remaining:.1f} m to "
            )
            line.set_description_str(f"{left}{_place(feedback.goal)}, seen {feedback.seen:.2f}")

        arrival = kinaema.go_to(
            arguments.image,
            arguments.min_seen,
            arguments.position_tolerance,
            math.radians(arguments.yaw_tolerance),
            on_feedback=show,
            timeout=arguments.timeout,
        )
    if arguments.json:
        goal: dict[str, Any] = dict.fromkeys(("x", "y", "yaw", "frame_id"))
        if arrival.frame_id:
            goal = _pose_record(arrival.goal, arrival.frame_id)
        outcome = {"reached": arrival.reached, "error_code": arrival.error_code, "message": arrival.message}
        record = {"file": str(arguments.image), **outcome, **goal, "num_queries": arrival.num_queries}
        write_json(arguments.json, [record])
    if not arrival.reached:
        raise RuntimeError(f"not reached: {arrival.message} (error code {arrival.error_code})")
    print(f"reached {_place(arrival.goal)} in {arrival.frame_id} after {arrival.num_queries} queries")
    return 0


def _place(pose: ArrayLike) -> str:
    x, y, yaw = as_pose(pose)
    return f"x {x:.2f} m, y {y:.2f} m, yaw {math.degrees(yaw):.0f} deg"


def _uncertainty(covariance: np.ndarray) -> str:
    """One standard deviation: along the longer axis of the position's ellipse, and of the heading."""
    position = math.sqrt(float(np.linalg.eigvalsh(covariance[:2, :2])[-1]))
    return f"give or take {position:.2f} m and {math.degrees(math.sqrt(covariance[2, 2])):.0f} deg"


def _pose_record(pose: ArrayLike, frame_id: str) -> dict[str, Any]:
    return {**dict(zip(("x", "y", "yaw"), as_pose(pose), strict=True)), "frame_id": frame_id}
