"""Commands about simulated buildings: what they take."""

from __future__ import annotations

import argparse
from pathlib import Path

from kinaema_ros.commands.arguments import (
    add_command,
    add_network,
    add_results,
    output_folder,
    whole_number,
)


def add_demo(commands: argparse._SubParsersAction) -> None:
    parser = add_command(
        commands,
        "demo",
        "kinaema_ros.demo.run:run",
        "see a robot explore a building, then drive to places shown as photos",
        "Start a simulated robot, the memory and the navigator as ROS 2 nodes, drive the robot through a\n"
        "building for three minutes of its time, then show it photos and watch it go to where they were\n"
        "taken. Ends with status 0 if it came within a metre of at least four photos in five.",
    )
    parser.epilog = "example:\n  kinaema demo --world 12 --goals 3 --out out/twelve"
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
    add_network(parser)
    add_results(parser)


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
