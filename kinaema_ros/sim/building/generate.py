"""Procedural indoor scenes: many rooms, their furniture, paint and light, from a seed."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random

import numpy as np

from kinaema_ros.sim.building.builder import Builder
from kinaema_ros.sim.building.furnish import RoomFurnisher, build_wall, floor_material, paint_room
from kinaema_ros.sim.building.furniture import ROOMS
from kinaema_ros.sim.building.layout import OUTSIDE, Room, Wall, floor_plan, walls_with_doors
from kinaema_ros.sim.materials import texture_pool
from kinaema_ros.sim.scene import GRID, Scene, SceneConfig


def generate_scene(seed: int, config: SceneConfig | None = None) -> Scene:
    """The scene of a seed: same seed and config, same scene, in any process.

    All rooms are connected for a robot of radius 0.25 m.
    """
    config = config or SceneConfig()
    rng = Random(seed)
    while True:
        width, height = config.footprint or (
            rng.uniform(config.size_min, config.size_max),
            rng.uniform(config.size_min, config.size_max),
        )
        rooms = floor_plan(rng, width, height)
        thickness = rng.uniform(0.1, 0.16)
        try:
            walls = walls_with_doors(rng, rooms, width, height, thickness)
            break
        except ValueError:
            continue
    scene, owners = _assemble(seed, config, rng, (width, height), rooms, walls, thickness)
    for _ in range(len(rooms) + 1):
        blocked = _blocked_rooms(scene)
        if not blocked:
            return scene
        # Furniture that cuts a room off is taken away; the bare room is always connected.
        keep = np.array([room not in blocked for room in owners])
        scene = replace(
            scene,
            boxes=scene.boxes[keep],
            faces=scene.faces[keep],
            kinds=tuple(k for k, kept in zip(scene.kinds, keep, strict=True) if kept),
        )
        owners = owners[keep]
    raise AssertionError(f"scene {seed} is not connected")


def _assemble(
    seed: int,
    config: SceneConfig,
    rng: Random,
    size: tuple[float, float],
    rooms: list[Room],
    walls: list[Wall],
    thickness: float,
) -> tuple[Scene, np.ndarray]:
    """The scene, and for each box the room whose furniture it belongs to (-1: walls and decoration)."""
    b = Builder(rng, texture_pool(config.texture_seed))
    ceiling = rng.uniform(2.4, 3.1)
    kinds = [k for k in ROOMS if k not in ("corridor", "hall")]
    rng.shuffle(kinds)
    for i, room in enumerate(rooms):
        if room.kind != "corridor":
            area = (room.x1 - room.x0) * (room.y1 - room.y0)
            room.kind = "hall" if area > 28 and rng.random() < 0.3 else kinds[i % len(kinds)]
    paints = [paint_room(b, room) for room in rooms]
    floors = [floor_material(b, room) for room in rooms]
    ceilings = [
        b.material("plaster" if rng.random() < 0.8 else "wood", 1.6, b.tint(0.1, 0.85)) for _ in rooms
    ]
    trim = b.material(rng.choice(("plain", "wood", "plain")), 1.0, b.tint(0.3, 0.6))
    outer: list[set[str]] = [set() for _ in rooms]
    for wall in walls:
        build_wall(b, wall, paints, thickness, ceiling, trim)
        if wall.low == OUTSIDE:
            outer[wall.high].add("south" if wall.along_x else "west")
        elif wall.high == OUTSIDE:
            outer[wall.low].add("north" if wall.along_x else "east")
    furnishers = [RoomFurnisher(b, r, o, thickness, ceiling) for r, o in zip(rooms, outer, strict=True)]
    for f in furnishers:
        f.decorate()
    owners = [-1] * len(b.boxes)
    for i, f in enumerate(furnishers):
        f.furnish(config.furniture)
        owners += [i] * (len(b.boxes) - len(owners))
    boxes = np.array(b.boxes)
    boxes[:, 6] = np.minimum(boxes[:, 6], ceiling)
    lights = [
        (
            (r.x0 + r.x1) / 2,
            (r.y0 + r.y1) / 2,
            rng.uniform(0.55, 0.95),
            rng.uniform(0.35, 0.75),
            rng.uniform(4, 20),
            rng.uniform(0.92, 1.05),
            rng.uniform(0.95, 1.0),
            rng.uniform(0.82, 1.08),
        )
        for r in rooms
    ]
    scene = Scene(
        seed,
        config,
        size,
        ceiling,
        boxes,
        np.array(b.faces, np.int32),
        tuple(b.kinds),
        np.array(b.materials, np.float32),
        np.array([(r.x0, r.y0, r.x1, r.y1) for r in rooms]),
        np.array(floors, np.int32),
        np.array(ceilings, np.int32),
        np.array(lights, np.float32),
        rng.uniform(-math.pi, math.pi),
    )
    return scene, np.array(owners)


def _blocked_rooms(scene: Scene) -> set[int]:
    """Rooms whose furniture cuts the building apart or leaves too little room to drive."""
    rooms, count = scene.room_grid, len(scene.rooms)
    labels, sizes = scene.free_components()
    if len(sizes) == 1:
        return set(range(count))
    main = labels == np.argmax(sizes)
    # A large piece cut off from the rest: the cause lies in one of the rooms it reaches into.
    large = (sizes > 1.0 / GRID**2) & (np.arange(len(sizes)) != np.argmax(sizes))
    cut_off = set(np.unique(rooms[large[labels]]).tolist())
    areas = np.bincount(rooms[main], minlength=count) * GRID**2
    room_area = np.diff(scene.rooms[:, ::2])[:, 0] * np.diff(scene.rooms[:, 1::2])[:, 0]
    return cut_off | set(np.flatnonzero(areas < np.minimum(1.0, 0.1 * room_area)).tolist())
