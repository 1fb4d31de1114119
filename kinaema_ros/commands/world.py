"""`kinaema world`: a procedural building for Gazebo and Nav2."""

from __future__ import annotations

import argparse

from kinaema_ros.reporting import write_json
from kinaema_ros.sim import generate_scene
from kinaema_ros.sim.export.sdf import export_world, start_pose


def run(arguments: argparse.Namespace) -> int:
    """Exports the world; returns the exit status."""
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
