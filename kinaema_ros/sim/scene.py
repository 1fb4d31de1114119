"""Procedural indoor scenes: many rooms, their furniture, paint and light, from a seed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random

import numpy as np

from kinaema_ros.sim import space
from kinaema_ros.sim.builder import Builder
from kinaema_ros.sim.furnish import RoomFurnisher, build_wall, floor_material, paint_room
from kinaema_ros.sim.furniture import ROOMS
from kinaema_ros.sim.layout import OUTSIDE, Room, Wall, floor_plan, walls_with_doors
from kinaema_ros.sim.materials import TexturePool, texture_pool

ROBOT_HEIGHT = 1.2  # what hangs higher does not stop the robot
GRID = 0.1  # cell of the planning grid
MARGIN = 0.3  # the grid reaches this far beyond the outer walls
CLEARANCE_REACH = 0.6
# Cells of the planning grid are passable from this clearance: the robot's path needs 0.25 m, and a point of
# a cell may be half a diagonal (0.071 m) nearer to an obstacle than its centre.
PASSABLE = 0.325


@dataclass(frozen=True)
class SceneConfig:
    """size_min, size_max: range of each side of the building (m); room_min, room_max: of a room's side;
    furniture: scales the number of pieces; extra_doors: fraction of walls with a door beyond the connecting
    ones; texture_seed: which pool of procedural textures the scene is painted from."""

    size_min: float = 8.0
    size_max: float = 20.0
    room_min: float = 2.6
    room_max: float = 6.5
    furniture: float = 1.0
    extra_doors: float = 0.25
    texture_seed: int = 0

    def __post_init__(self) -> None:
        if not 4.0 <= self.size_min <= self.size_max <= 60.0:
            raise ValueError(
                f"size_min {self.size_min} and size_max {self.size_max} must satisfy 4 <= min <= max <= 60"
            )
        if not 2.2 <= self.room_min < self.room_max:
            raise ValueError(
                f"room_min {self.room_min} and room_max {self.room_max} must satisfy 2.2 <= min < max"
            )
        if not 0.0 <= self.furniture <= 3.0:
            raise ValueError(f"furniture {self.furniture} must be in [0, 3]")
        if not 0.0 <= self.extra_doors <= 1.0:
            raise ValueError(f"extra_doors {self.extra_doors} must be in [0, 1]")


@dataclass(frozen=True)
class Box:
    """A box of the scene as plain values; materials are rows of Scene.materials for the faces
    +x, +y, -x, -y, top, bottom."""

    kind: str
    center: tuple[float, float, float]
    size: tuple[float, float, float]
    yaw: float
    materials: tuple[int, ...]


@dataclass(frozen=True)
class OccupancyGrid:
    """data (H, W) bool, True where occupied; row 0 at the smallest y; origin (x, y) of the corner of cell (0, 0)."""

    data: np.ndarray
    resolution: float
    origin: tuple[float, float]


@dataclass(frozen=True)
class Scene:
    """A building in its world frame (metres, z up, floor at z = 0, lower corner of the outer walls near 0, 0).

    boxes (B, 7) float64: x, y, length, width, yaw, z0, z1; faces (B, 6) int32 materials; kinds: names of the boxes.
    materials (M, 10) float32: see kinaema_ros.sim.materials. rooms (R, 4): x0, y0, x1, y1 of the wall centre lines.
    floors, ceilings (R,) int32 materials. lights (R, 8) float32: x, y, ambient, strength, squared range, r, g, b.
    """

    seed: int
    config: SceneConfig
    size: tuple[float, float]
    ceiling: float
    boxes: np.ndarray
    faces: np.ndarray
    kinds: tuple[str, ...]
    materials: np.ndarray
    rooms: np.ndarray
    room_kinds: tuple[str, ...]
    floors: np.ndarray
    ceilings: np.ndarray
    lights: np.ndarray
    sun: float  # direction the light comes from, for face shading

    @property
    def pool(self) -> TexturePool:
        return texture_pool(self.config.texture_seed)

    def box(self, index: int) -> Box:
        x, y, length, width, yaw, z0, z1 = (float(v) for v in self.boxes[index])
        return Box(
            self.kinds[index],
            (x, y, (z0 + z1) / 2),
            (length, width, z1 - z0),
            yaw,
            tuple(int(m) for m in self.faces[index]),
        )

    @cached_property
    def obstacles(self) -> np.ndarray:
        """(B,) bool: boxes a robot would hit."""
        return (self.boxes[:, 5] < ROBOT_HEIGHT) & (self.boxes[:, 6] > 0.03)

    @cached_property
    def sight_blockers(self) -> np.ndarray:
        """(B,) bool: walls and tall furniture."""
        return (self.boxes[:, 5] < 0.4) & (self.boxes[:, 6] > 1.2)

    @property
    def grid_origin(self) -> tuple[float, float]:
        return (-MARGIN, -MARGIN)

    def _grid_shape(self, resolution: float) -> tuple[int, int]:
        width, height = (math.ceil((s + 2 * MARGIN) / resolution) for s in self.size)
        return height, width

    @cached_property
    def clearance(self) -> np.ndarray:
        """(H, W) float32: distance of each cell of the 0.1 m planning grid to the nearest obstacle, at most 0.6 m."""
        return space.clearance_field(
            self.boxes, self.obstacles, self.grid_origin, self._grid_shape(GRID), GRID, CLEARANCE_REACH
        )

    @cached_property
    def reachable(self) -> np.ndarray:
        """(H, W) bool: cells of the planning grid in the connected free space of the rooms."""
        labels, sizes = space.label_components(self._inside & (self.clearance >= PASSABLE))
        return labels == np.argmax(sizes) if len(sizes) else labels >= 0

    @cached_property
    def room_grid(self) -> np.ndarray:
        """(H, W) int16: room of each cell of the planning grid, the nearest one outside the building."""
        height, width = self._grid_shape(GRID)
        xs = np.clip((np.arange(width) + 0.5) * GRID - MARGIN, 1e-6, self.size[0] - 1e-6)
        ys = np.clip((np.arange(height) + 0.5) * GRID - MARGIN, 1e-6, self.size[1] - 1e-6)
        grid = np.zeros((height, width), np.int16)
        for k, (x0, y0, x1, y1) in enumerate(self.rooms):
            i0, i1, j0, j1 = *np.searchsorted(ys, (y0, y1)), *np.searchsorted(xs, (x0, x1))
            grid[i0:i1, j0:j1] = k
        return grid

    @property
    def _inside(self) -> np.ndarray:
        height, width = self._grid_shape(GRID)
        inside = np.zeros((height, width), bool)
        n = round(MARGIN / GRID)
        inside[n : height - n, n : width - n] = True
        return inside

    def occupancy(self, resolution: float = 0.05) -> OccupancyGrid:
        """What a robot hits, in the world frame. Outside the building there is nothing, and no way to get there."""
        shape = self._grid_shape(resolution)
        distance = space.clearance_field(
            self.boxes, self.obstacles, self.grid_origin, shape, resolution, resolution
        )
        return OccupancyGrid(distance < resolution / 2, resolution, self.grid_origin)

    def free(self, x: float, y: float, radius: float) -> bool:
        """Whether a disc at (x, y) inside the building touches no obstacle."""
        return bool(
            0 < x < self.size[0]
            and 0 < y < self.size[1]
            and space.nearest_distance(self.boxes, self.obstacles, x, y, radius) >= radius
        )


def generate_scene(seed: int, config: SceneConfig | None = None) -> Scene:
    """The scene of a seed: same seed and config, same scene. All rooms are connected for a robot of radius 0.25 m."""
    config = config or SceneConfig()
    rng = Random(seed)
    while True:
        width, height = (
            rng.uniform(config.size_min, config.size_max),
            rng.uniform(config.size_min, config.size_max),
        )
        rooms = floor_plan(rng, width, height, config.room_min, config.room_max)
        thickness = rng.uniform(0.1, 0.16)
        try:
            walls = walls_with_doors(rng, rooms, width, height, thickness, config.extra_doors)
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
        tuple(r.kind for r in rooms),
        np.array(floors, np.int32),
        np.array(ceilings, np.int32),
        np.array(lights, np.float32),
        rng.uniform(-math.pi, math.pi),
    )
    return scene, np.array(owners)


def _blocked_rooms(scene: Scene) -> set[int]:
    """Rooms whose furniture cuts the building apart or leaves too little room to drive."""
    rooms, count = scene.room_grid, len(scene.rooms)
    labels, sizes = space.label_components(scene._inside & (scene.clearance >= PASSABLE))
    if len(sizes) == 0:
        return set(range(count))
    main = labels == np.argmax(sizes)
    # A large piece cut off from the rest: the cause lies in one of the rooms it reaches into.
    large = np.append((sizes > 1.0 / GRID**2) & (np.arange(len(sizes)) != np.argmax(sizes)), False)
    cut_off = set(np.unique(rooms[large[labels]]).tolist())
    areas = np.bincount(rooms[main], minlength=count) * GRID**2
    room_area = np.diff(scene.rooms[:, ::2])[:, 0] * np.diff(scene.rooms[:, 1::2])[:, 0]
    return cut_off | set(np.flatnonzero(areas < np.minimum(1.0, 0.1 * room_area)).tolist())
