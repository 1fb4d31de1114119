"""What a scene is: boxes, materials and lights, and the questions a robot asks about its space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from kinaema_ros.sim import space
from kinaema_ros.sim.materials import TexturePool, texture_pool

ROBOT_HEIGHT = 1.2  # what hangs higher does not stop the robot
GRID = 0.1  # metres; cell of the planning grid
OCCUPANCY_CELL = 0.05  # metres; cell of the occupancy grid
MAX_SIDE = 100.0  # metres, of a building
MARGIN = 0.3  # the grid reaches this far beyond the outer walls
CLEARANCE_REACH = 0.6
# Cells of the planning grid are passable from this clearance: the robot's path needs 0.25 m, and a point of
# a cell may be half a diagonal (0.071 m) nearer to an obstacle than its centre.
PASSABLE = 0.325


@dataclass(frozen=True)
class SceneConfig:
    """What a scene is generated with.

    size_min, size_max: range of each side of the building (m); footprint: its sides (m), where they are to be these;
    furniture: scales the number of pieces; texture_seed: which pool of procedural textures the scene is painted from.
    """

    size_min: float = 8.0
    size_max: float = 20.0
    footprint: tuple[float, float] | None = None
    furniture: float = 1.0
    texture_seed: int = 0

    def __post_init__(self) -> None:
        if not 4.0 <= self.size_min <= self.size_max <= MAX_SIDE:
            raise ValueError(
                f"size_min {self.size_min} and size_max {self.size_max} must satisfy 4 <= min <= max <= {MAX_SIDE:g}"
            )
        if self.footprint is not None and not all(4.0 <= side <= MAX_SIDE for side in self.footprint):
            raise ValueError(f"footprint {self.footprint}: both sides must be in [4, {MAX_SIDE:g}]")
        if not 0.0 <= self.furniture <= 3.0:
            raise ValueError(f"furniture {self.furniture} must be in [0, 3]")


@dataclass(frozen=True)
class Box:
    """A box of the scene as plain values; metres, radians.

    materials are rows of Scene.materials for the faces +x, +y, -x, -y, top, bottom.
    """

    kind: str
    center: tuple[float, float, float]
    size: tuple[float, float, float]
    yaw: float
    materials: tuple[int, ...]


@dataclass(frozen=True)
class OccupancyGrid:
    """Where a robot would hit something.

    data (H, W) bool, True where occupied, row 0 at the smallest y; resolution: metres a cell;
    origin: (x, y) of the outer corner of cell (0, 0).
    """

    data: np.ndarray
    resolution: float
    origin: tuple[float, float]

    def cell(self, xy: Sequence[float]) -> tuple[int, int] | None:
        """Row and column of a point; None outside the grid."""
        row = math.floor((xy[1] - self.origin[1]) / self.resolution)
        column = math.floor((xy[0] - self.origin[0]) / self.resolution)
        inside = 0 <= row < self.data.shape[0] and 0 <= column < self.data.shape[1]
        return (row, column) if inside else None


@dataclass(frozen=True)
class Scene:
    """A building in its world frame: metres, z up, floor at z = 0, lower corner of the outer walls at (0, 0).

    boxes (B, 7) float64: x, y, length, width, yaw, z0, z1. faces (B, 6) int32: materials of each box's faces.
    kinds (B,): what the boxes are. materials (M, 10) float32: see kinaema_ros.sim.materials.
    rooms (R, 4): x0, y0, x1, y1 of the walls' centre lines. floors, ceilings (R,) int32: their materials.
    lights (R, 8) float32: x, y, ambient, strength, squared range, red, green, blue.
    ceiling: height of all rooms. sun: direction the light comes from (radians), for the shading of faces.
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
    floors: np.ndarray
    ceilings: np.ndarray
    lights: np.ndarray
    sun: float

    @property
    def pool(self) -> TexturePool:
        """The textures that the scene's materials index."""
        return texture_pool(self.config.texture_seed)

    def box(self, index: int) -> Box:
        """Box number ``index`` as plain values."""
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
        """World coordinates (x, y) of the outer corner of cell (0, 0) of the grids."""
        return (-MARGIN, -MARGIN)

    def _grid_shape(self, resolution: float) -> tuple[int, int]:
        width, height = (math.ceil((s + 2 * MARGIN) / resolution) for s in self.size)
        return height, width

    @cached_property
    def clearance(self) -> np.ndarray:
        """(H, W) float32: distance from each cell of the 0.1 m planning grid to an obstacle, up to 0.6 m."""
        return space.clearance_field(
            self.boxes, self.obstacles, self.grid_origin, self._grid_shape(GRID), GRID, CLEARANCE_REACH
        )

    @cached_property
    def reachable(self) -> np.ndarray:
        """(H, W) bool: cells of the planning grid in the connected free space of the rooms."""
        labels, sizes = self.free_components()
        return (labels == np.argmax(sizes)) & (labels > 0)

    def free_components(self) -> tuple[np.ndarray, np.ndarray]:
        """4-connected components of the planning grid's passable cells.

        Returns labels (H, W), 0 where the grid is not passable, and the number of cells (N,) of each label,
        0 for label 0.
        """
        passable = self.inside & (self.clearance >= PASSABLE)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(passable.astype(np.uint8), connectivity=4)
        return labels, np.append(0, stats[1:, cv2.CC_STAT_AREA])

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
    def inside(self) -> np.ndarray:
        """(H, W) bool: cells of the planning grid within the outer walls' centre lines."""
        height, width = self._grid_shape(GRID)
        inside = np.zeros((height, width), bool)
        n = round(MARGIN / GRID)
        inside[n : height - n, n : width - n] = True
        return inside

    def occupancy(self) -> OccupancyGrid:
        """What a robot hits, in the scene's frame. Cells outside the building are free, but no way leads there."""
        cell = OCCUPANCY_CELL
        distance = space.clearance_field(
            self.boxes, self.obstacles, self.grid_origin, self._grid_shape(cell), cell, cell
        )
        return OccupancyGrid(distance < cell / 2, cell, self.grid_origin)

    def free(self, x: float, y: float, radius: float) -> bool:
        """Whether a disc at (x, y) inside the building touches no obstacle."""
        return bool(
            0 < x < self.size[0]
            and 0 < y < self.size[1]
            and space.nearest_distance(self.boxes, self.obstacles, x, y, radius) >= radius
        )
