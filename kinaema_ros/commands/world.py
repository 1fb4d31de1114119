"""`kinaema world`: a procedural building for Gazebo and Nav2."""

from __future__ import annotations

import argparse
from pathlib import Path

from kinaema_ros.commands.arguments import add_command, add_results, output_folder, whole_number
from kinaema_ros.reporting import write_json


def add_arguments(commands: argparse._SubParsersAction) -> None:
    """Declare the command and its arguments."""
    parser = add_command(
        commands,
        "world",
        run,
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


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit status; raises what `cli.main` tells the user."""
    from kinaema_ros.sim import generate_scene
    from kinaema_ros.sim.export.sdf import export_world, start_pose

    scene = generate_scene(arguments.seed)
    world = export_world(scene, arguments.out)
    result = {
        "seed": scene.seed,
        "world": str(world),
        "map": str(world.with_name("map.yaml")),
        "robot": str(world.with_name("robot.urdf")),
        "size": [round(side, 2) for side in scene.size],
        "rooms": len(scene.rooms),
        "start": [round(value, 3) for value in start_pose(scene)],
    }
    if arguments.json:
        write_json(arguments.json, result)
    rows = [
        ("building", f"{scene.size[0]:.1f} x {scene.size[1]:.1f} m, {len(scene.rooms)} rooms"),
        *((key, str(result[key])) for key in ("world", "map", "robot")),
    ]
    width = max(len(row[0]) for row in rows)
    print("\n".join(f"{name:<{width}}  {value}" for name, value in rows))
    print(f"\ngz sim -r {world}\nros2 launch kinaema_ros gazebo.launch.py world:={world.parent}")
    return 0
