"""What all furniture is made of.

A piece is a group of boxes in its own frame: origin at the centre of the footprint on the floor, x along the
wall, y from the wall into the room.
"""

from __future__ import annotations

from typing import NamedTuple

from kinaema_ros.sim.building.builder import Builder, Part


class Piece(NamedTuple):
    """A piece of furniture: the size of its footprint in metres, and its boxes."""

    length: float  # along the wall
    depth: float
    parts: list[Part]


def faces_of(material: int, front: int | None = None) -> tuple[int, ...]:
    """The same material on all faces, except for the front (the face towards the room)."""
    return (material, material if front is None else front, material, material, material, material)


def legs(
    kind: str,
    length: float,
    depth: float,
    height: float,
    thick: float,
    faces: tuple[int, ...],
    x: float = 0.0,
    y: float = 0.0,
) -> list[Part]:
    """Four legs at the corners of a rectangle centred on (x, y)."""
    dx, dy = (length - thick) / 2, (depth - thick) / 2
    return [
        Part(kind, x + sx * dx, y + sy * dy, thick, thick, 0.0, height, faces)
        for sx in (-1, 1)
        for sy in (-1, 1)
    ]


def ornament(b: Builder, x: float, y: float, z: float) -> Part:
    """A vase, box or the like that stands at height z."""
    size = b.rng.uniform(0.1, 0.28)
    material = b.material(b.rng.choice(("fabric", "picture", "foliage", "metal")), 0.4, b.tint(0.8, 0.4))
    return Part(
        "ornament", x, y, size, size, z, z + b.rng.uniform(0.1, 0.4), faces_of(material), b.rng.random()
    )
