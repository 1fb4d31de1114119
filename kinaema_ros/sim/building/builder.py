"""Collects the boxes and materials of a scene while it is being drawn."""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass, field
from random import Random

from kinaema_ros.sim.materials import TexturePool

# Order of the six faces of a box in its own frame.
FACES = ("+x", "+y", "-x", "-y", "top", "bottom")


@dataclass(frozen=True)
class Part:
    """A box of a piece of furniture, in the frame of the piece.

    Its origin is the centre of the footprint on the floor, x along the wall it stands at, y away from it.
    """

    kind: str
    x: float
    y: float
    length: float
    width: float
    z0: float
    z1: float
    faces: tuple[int, ...]
    yaw: float = 0.0


@dataclass
class Builder:
    """Boxes and materials of the scene so far. ``rng`` decides all that is left to chance."""

    rng: Random
    pool: TexturePool
    boxes: list[tuple[float, ...]] = field(default_factory=list)  # x, y, length, width, yaw, z0, z1
    faces: list[tuple[int, ...]] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    materials: list[tuple[float, ...]] = field(default_factory=list)

    def texture(self, category: str) -> int:
        """A texture of the category: a photograph half of the time, where there is one."""
        photos, drawn = self.pool.photos.get(category, ()), self.pool.procedural.get(category, ())
        source = photos if not drawn or (photos and self.rng.random() < 0.5) else drawn
        return source[int(self.rng.random() * len(source))]

    def tint(self, saturation: float = 0.35, low: float = 0.6) -> tuple[float, float, float]:
        """A random colour (RGB, 1 leaves the texture as it is): any hue, value from ``low`` to 1.05."""
        u = self.rng.random
        return colorsys.hsv_to_rgb(u(), saturation * u(), low + (1.05 - low) * u())

    def material(
        self,
        category: str,
        repeat: float = 1.0,
        tint: tuple[float, float, float] | None = None,
        emission: float = 0.0,
    ) -> int:
        """A material that repeats its texture every `repeat` metres, give or take 40 %."""
        u = self.rng.random
        scale = 1.0 / (repeat * (0.7 + 0.7 * u()))
        flip = scale if u() < 0.5 else -scale
        colour = tint or self.tint()
        self.materials.append(
            (self.texture(category), flip, scale, u(), u(), *colour, 0.7 + 0.6 * u(), emission)
        )
        return len(self.materials) - 1

    def stretched(
        self,
        category: str,
        width: float,
        z0: float,
        z1: float,
        emission: float = 0.0,
        tint: tuple[float, float, float] | None = None,
    ) -> int:
        """A material whose texture covers a vertical face of the given width from z0 to z1 exactly once."""
        u, height = self.rng.random, z1 - z0
        flip = 1.0 if u() < 0.5 else -1.0
        colour = tint or self.tint(0.2, 0.75)
        self.materials.append(
            (
                self.texture(category),
                flip / width,
                1.0 / height,
                0.5,
                -z0 / height,
                *colour,
                0.8 + 0.4 * u(),
                emission,
            )
        )
        return len(self.materials) - 1

    def laid(self, category: str, length: float, width: float) -> int:
        """A material whose texture covers a horizontal face centred on its box exactly once."""
        self.materials.append(
            (
                self.texture(category),
                1.0 / length,
                1.0 / width,
                0.5,
                0.5,
                *self.tint(0.25, 0.6),
                0.7 + 0.5 * self.rng.random(),
                0.0,
            )
        )
        return len(self.materials) - 1

    def box(
        self,
        kind: str,
        x: float,
        y: float,
        length: float,
        width: float,
        z0: float,
        z1: float,
        faces: int | tuple[int, ...],
        yaw: float = 0.0,
    ) -> None:
        """Add a box with centre (x, y), turned by ``yaw``, from z0 to z1 (metres, radians, scene frame).

        ``faces``: one material for all six faces, or one for each in the order of FACES.
        """
        self.boxes.append((x, y, length, width, yaw, z0, z1))
        self.faces.append((faces,) * 6 if isinstance(faces, int) else faces)
        self.kinds.append(kind)

    def place(self, parts: list[Part], x: float, y: float, yaw: float) -> None:
        """Adds a piece of furniture with its origin at (x, y), turned by yaw."""
        c, s = math.cos(yaw), math.sin(yaw)
        for p in parts:
            self.box(
                p.kind,
                x + c * p.x - s * p.y,
                y + s * p.x + c * p.y,
                p.length,
                p.width,
                p.z0,
                p.z1,
                p.faces,
                yaw + p.yaw,
            )
