"""Commands about simulated buildings: what they take."""

from __future__ import annotations

import argparse
from pathlib import Path

from kinaema_ros.commands.arguments import add_command, add_results, output_folder, whole_number


def add_world(commands: argparse._SubParsersAction) -> None:
    parser = add_command(
        commands,
        "world",
        "kinaema_ros.commands.world:run",
        "export a procedural building for Gazebo and Nav2",
        "Write a procedural building as a world for Gazebo (SDF 1.9, gz sim Harmonic or later) with a robot\n"
        "in it (camera, lidar, wheel odometry), and the matching map for Nav2.",
    )
    parser.epilog = (
        "examples:\n"
        "  kinaema world --seed 7 --out worlds/seven\n"
        "  gz sim -r worlds/seven/world.sdf\n"
        "  ros2 launch kinaema_ros gazebo.launch.py world:=worlds/seven"
    )
    parser.add_argument(
        "--seed", type=whole_number(0), default=0, help="the same seed, the same building (default: 0)"
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=output_folder,
        default=Path("world"),
        help="folder of the world; what is missing of it is made (default: %(default)s)",
    )
    add_results(parser)
