"""Pieces of furniture as groups of boxes, and what kinds of rooms hold.

A piece is a function from a Builder to a Piece. Its frame: origin at the centre of the footprint on the
floor, x along the wall, y from the wall into the room.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from kinaema_ros.sim.builder import Builder, Part


class Piece(NamedTuple):
    length: float  # along the wall
    depth: float
    parts: list[Part]


def _faces(material: int, front: int | None = None, top: int | None = None) -> tuple[int, ...]:
    return (
        material,
        material if front is None else front,
        material,
        material,
        material if top is None else top,
        material,
    )


def _legs(
    kind: str, length: float, depth: float, height: float, thick: float, faces, x=0.0, y=0.0
) -> list[Part]:
    dx, dy = (length - thick) / 2, (depth - thick) / 2
    return [
        Part(kind, x + sx * dx, y + sy * dy, thick, thick, 0.0, height, faces)
        for sx in (-1, 1)
        for sy in (-1, 1)
    ]


def _chair(b: Builder, wood: int, fabric: int, x: float, y: float, yaw: float) -> list[Part]:
    """A chair centred at (x, y) whose sitter looks along yaw + 90 degrees; yaw a multiple of 180 degrees."""
    side = 1.0 if yaw == 0.0 else -1.0
    return [
        Part("chair", x, y, 0.42, 0.42, 0.42, 0.48, _faces(fabric)),
        Part("chair", x, y - side * 0.19, 0.40, 0.05, 0.48, 0.92, _faces(wood)),
        *_legs("chair", 0.42, 0.42, 0.42, 0.045, _faces(wood), x, y),
    ]


def table(b: Builder) -> Piece:
    """A table with none to four chairs."""
    u = b.rng.uniform
    length, width, height, wood = u(0.8, 1.9), u(0.7, 1.0), u(0.7, 0.78), _faces(b.material("wood", 0.9))
    parts = [Part("table", 0, 0, length, width, height - u(0.03, 0.07), height, wood)]
    if b.rng.random() < 0.3:
        parts.append(Part("table", 0, 0, 0.35, 0.35, 0.0, height - 0.04, wood))
    else:
        parts += _legs("table", length - 0.06, width - 0.06, height - 0.04, u(0.05, 0.09), wood)
    seat, back, depth = b.material("fabric", 0.5), b.material("wood", 0.6), width
    if b.rng.random() < 0.75:
        depth = width + 0.8
        for side, yaw in ((-1, 0.0), (1, 3.14)):
            for x in (-length / 4, length / 4) if length > 1.2 else (0.0,):
                if b.rng.random() < 0.85:
                    parts += _chair(b, back, seat, x, side * (width / 2 + 0.15), yaw)
    if b.rng.random() < 0.5:
        parts.append(_ornament(b, u(-0.3, 0.3), u(-0.2, 0.2), height))
    return Piece(length, depth, parts)


def _ornament(b: Builder, x: float, y: float, z: float) -> Part:
    size = b.rng.uniform(0.1, 0.28)
    material = b.material(b.rng.choice(("fabric", "picture", "foliage", "metal")), 0.4, b.tint(0.8, 0.4))
    return Part(
        "ornament", x, y, size, size, z, z + b.rng.uniform(0.1, 0.4), _faces(material), b.rng.random()
    )


def desk(b: Builder) -> Piece:
    u = b.rng.uniform
    length, depth, height, wood = u(1.1, 1.7), u(0.6, 0.8), u(0.7, 0.77), b.material("wood", 0.9)
    parts = [
        Part("desk", 0, 0, length, depth, height - 0.04, height, _faces(wood)),
        Part(
            "desk",
            length / 2 - 0.22,
            0,
            0.4,
            depth - 0.08,
            0.0,
            height - 0.04,
            _faces(wood, b.stretched("front", 0.4, 0.0, height)),
        ),
        Part("desk", -length / 2 + 0.03, 0, 0.05, depth - 0.06, 0.0, height - 0.04, _faces(wood)),
    ]
    for _ in range(b.rng.randrange(1, 3)):
        width, z = u(0.4, 0.65), height + 0.08
        screen = b.stretched("screen", width, z, z + 0.36, emission=0.5)
        parts.append(
            Part(
                "monitor",
                u(-0.3, 0.3) * length,
                -0.12,
                width,
                0.04,
                z,
                z + 0.36,
                _faces(b.material("metal", tint=(0.2, 0.2, 0.22)), screen),
            )
        )
    total = depth
    if b.rng.random() < 0.8:
        total = depth + 0.4
        parts = [replace(p, y=p.y - 0.2) for p in parts]
        parts += _chair(b, b.material("metal"), b.material("fabric", 0.5), -0.1, depth / 2 - 0.02, 3.14)
    return Piece(length, total, parts)


def shelf(b: Builder) -> Piece:
    """A book shelf, tall or half-height."""
    u = b.rng.uniform
    length, depth, height = u(0.7, 2.0), u(0.28, 0.42), b.rng.choice((u(1.7, 2.2), u(1.7, 2.2), u(0.8, 1.3)))
    wood = b.material("wood", 1.0)
    fronts = b.stretched("books", length, 0.0, height * b.rng.choice((1.0, 1.0, 0.5)), tint=b.tint(0.3, 0.8))
    parts = [Part("shelf", 0, 0, length, depth, 0.0, height, (wood, fronts, wood, wood, wood, wood))]
    if height < 1.4:
        parts.append(_ornament(b, u(-0.3, 0.3) * length, 0.0, height))
    return Piece(length, depth, parts)


def bookcase_island(b: Builder) -> Piece:
    """A shelf in the open, with books on both sides."""
    u = b.rng.uniform
    length, depth, height = u(1.2, 2.6), u(0.4, 0.7), u(1.1, 2.0)
    wood = b.material("wood", 1.0)
    books = b.stretched("books", length, 0.0, height, tint=b.tint(0.3, 0.8))
    other = b.stretched("books", length, 0.0, height, tint=b.tint(0.3, 0.8))
    return Piece(
        length,
        depth,
        [Part("shelf", 0, 0, length, depth, 0.0, height, (wood, books, wood, other, wood, wood))],
    )


def rack(b: Builder) -> Piece:
    """An open rack with boards and crates."""
    u = b.rng.uniform
    length, depth, metal = u(0.9, 1.8), u(0.35, 0.5), _faces(b.material("metal", 0.5))
    levels = b.rng.randrange(3, 5)
    top = u(1.5, 2.1)
    parts = _legs("rack", length, depth, top, 0.04, metal)
    for k in range(levels):
        z = 0.12 + (top - 0.2) * k / (levels - 1)
        parts.append(Part("rack", 0, 0, length, depth, z, z + 0.03, metal))
        if k < levels - 1:
            for side in (-0.25, 0.25):
                if b.rng.random() < 0.7:
                    crate = b.material(
                        b.rng.choice(("carpet", "wood", "fabric", "picture")), 0.5, b.tint(0.8, 0.4)
                    )
                    parts.append(
                        Part(
                            "crate",
                            side * length,
                            0,
                            u(0.2, 0.4) * length,
                            depth - 0.08,
                            z + 0.03,
                            z + u(0.15, 0.3),
                            _faces(crate),
                        )
                    )
    return Piece(length, depth, parts)


def cabinet(b: Builder) -> Piece:
    """A wardrobe, cupboard or sideboard."""
    u = b.rng.uniform
    height = b.rng.choice((u(1.7, 2.2), u(0.7, 1.1), u(0.7, 1.1)))
    length, depth = u(0.6, 1.9), u(0.38, 0.6)
    body, front = b.material("wood", 1.0), b.stretched("front", length, 0.0, height, tint=b.tint(0.5, 0.5))
    parts = [Part("cabinet", 0, 0, length, depth, 0.0, height, _faces(body, front))]
    if height < 1.2 and b.rng.random() < 0.7:
        parts.append(_ornament(b, u(-0.35, 0.35) * length, 0.0, height))
    return Piece(length, depth, parts)


def television(b: Builder) -> Piece:
    u = b.rng.uniform
    length, depth, height, width = u(1.2, 2.0), 0.42, u(0.4, 0.6), u(0.8, 1.2)
    z = height + 0.08
    return Piece(
        length,
        depth,
        [
            Part(
                "cabinet",
                0,
                0,
                length,
                depth,
                0.0,
                height,
                _faces(b.material("wood", 1.0), b.stretched("front", length, 0.0, height)),
            ),
            Part(
                "television",
                0,
                0,
                width,
                0.06,
                z,
                z + 0.58 * width,
                _faces(
                    b.material("metal", tint=(0.15, 0.15, 0.15)),
                    b.stretched("screen", width, z, z + 0.58 * width, 0.5),
                ),
            ),
        ],
    )


def sofa(b: Builder) -> Piece:
    u = b.rng.uniform
    length, depth, seat, back, arm = u(0.8, 2.3), u(0.75, 0.95), u(0.38, 0.46), u(0.7, 0.95), u(0.12, 0.22)
    cloth = _faces(b.material("fabric", 0.7, b.tint(0.6, 0.4)))
    parts = [
        Part("sofa", 0, 0, length, depth, 0.06, seat, cloth),
        Part("sofa", 0, -depth / 2 + 0.1, length, 0.2, seat, back, cloth),
    ]
    parts += [
        Part("sofa", side * (length - arm) / 2, 0, arm, depth, seat, seat + 0.18, cloth) for side in (-1, 1)
    ]
    for _ in range(b.rng.randrange(3)):
        cushion = _faces(b.material("fabric", 0.4, b.tint(0.9, 0.5)))
        parts.append(
            Part("cushion", u(-0.3, 0.3) * length, -depth / 2 + 0.28, 0.4, 0.14, seat, seat + 0.36, cushion)
        )
    return Piece(length, depth, parts)


def bed(b: Builder) -> Piece:
    u = b.rng.uniform
    width, length, top = b.rng.choice((u(0.9, 1.2), u(1.4, 1.8))), u(1.95, 2.1), u(0.42, 0.6)
    wood, cloth = _faces(b.material("wood", 1.0)), _faces(b.material("fabric", 1.0, b.tint(0.5, 0.5)))
    white = _faces(b.material("fabric", 0.6, b.tint(0.15, 0.9)))
    return Piece(
        width,
        length,
        [
            Part("bed", 0, 0, width, length, 0.08, top - 0.2, wood),
            Part("bed", 0, 0.03, width - 0.04, length - 0.1, top - 0.2, top, cloth),
            Part("bed", 0, -length / 2 + 0.03, width, 0.06, 0.08, u(0.85, 1.2), wood),
            Part("pillow", 0, -length / 2 + 0.32, width * 0.8, 0.4, top, top + 0.12, white),
        ],
    )


def counter(b: Builder) -> Piece:
    """Kitchen units: a worktop on cupboards, wall cupboards above, sometimes a refrigerator beside."""
    u = b.rng.uniform
    length, depth, height = u(1.6, 3.2), 0.62, u(0.86, 0.95)
    tint = b.tint(0.5, 0.6)
    body, top = b.material("wood", 1.0, tint), b.material("tile", 0.6)
    unit = 0.6
    parts = [
        Part(
            "counter",
            0,
            -0.02,
            length,
            depth - 0.04,
            0.0,
            height - 0.04,
            _faces(body, b.stretched("front", unit * 2, 0.0, height - 0.04, tint=tint)),
        ),
        Part("counter", 0, 0, length, depth, height - 0.04, height, _faces(top)),
    ]
    if b.rng.random() < 0.7:
        z0, z1 = 1.42, u(1.95, 2.2)
        parts.append(
            Part(
                "wall_cupboard",
                0,
                -depth / 2 + 0.17,
                length * u(0.4, 1.0),
                0.34,
                z0,
                z1,
                _faces(body, b.stretched("front", unit * 2, z0, z1, tint=tint)),
            )
        )
    if b.rng.random() < 0.6:
        tall, metal = u(1.5, 2.0), b.material("metal", 0.8, b.tint(0.1, 0.8))
        parts.append(
            Part(
                "refrigerator",
                (length - 0.6) / 2,
                0.01,
                0.62,
                depth + 0.02,
                0.0,
                tall,
                _faces(metal, b.stretched("front", 0.62, 0.0, tall, tint=b.tint(0.1, 0.9))),
            )
        )
    return Piece(length, depth + 0.02, parts)


def bath(b: Builder) -> Piece:
    u = b.rng.uniform
    length, depth, height = u(1.4, 1.8), u(0.65, 0.8), u(0.5, 0.6)
    white = _faces(b.material("plain", 1.0, b.tint(0.1, 0.95)))
    rim = [Part("bath", 0, side * (depth - 0.07) / 2, length, 0.07, 0.0, height, white) for side in (-1, 1)]
    ends = [Part("bath", side * (length - 0.07) / 2, 0, 0.07, depth, 0.0, height, white) for side in (-1, 1)]
    return Piece(length, depth, [Part("bath", 0, 0, length, depth, 0.0, 0.15, white), *rim, *ends])


def basin(b: Builder) -> Piece:
    u = b.rng.uniform
    length, white = u(0.5, 1.1), _faces(b.material("plain", 1.0, b.tint(0.1, 0.95)))
    body = b.material("wood", 1.0)
    return Piece(
        length,
        0.48,
        [
            Part(
                "basin",
                0,
                0,
                length - 0.06,
                0.42,
                0.0,
                0.7,
                _faces(body, b.stretched("front", length, 0.0, 0.7)),
            ),
            Part("basin", 0, 0, length, 0.48, 0.7, 0.85, white),
            Part(
                "mirror",
                0,
                -0.22,
                length,
                0.03,
                1.15,
                1.9,
                _faces(b.material("metal", 1.5, (0.95, 1.0, 1.05), emission=0.2)),
            ),
        ],
    )


def plant(b: Builder) -> Piece:
    u = b.rng.uniform
    pot, height, crown = u(0.22, 0.36), u(0.2, 0.45), u(0.35, 0.6)
    clay, leaf = _faces(b.material("plaster", 0.5, b.tint(0.6, 0.4))), _faces(b.material("foliage", 0.5))
    top = height + u(0.3, 1.1)
    low = height + u(0.0, 0.5) * (top - height)
    return Piece(
        crown,
        crown,
        [
            Part("plant", 0, 0, pot, pot, 0.0, height, clay),
            Part("plant", 0, 0, 0.05, 0.05, height, top, _faces(b.material("wood", 0.5))),
            Part("plant", 0, 0, crown * 0.7, crown * 0.7, low, top, leaf, u(0, 1.5)),
            Part("plant", 0, 0, crown * 0.68, crown * 0.5, (low + top) / 2, top + 0.15, leaf, u(0, 1.5)),
        ],
    )


def floor_lamp(b: Builder) -> Piece:
    u = b.rng.uniform
    height, shade = u(1.3, 1.8), u(0.25, 0.4)
    metal = _faces(b.material("metal", 0.5))
    glow = _faces(b.material("plain", 1.0, (1.0, 0.93, 0.75), emission=1.0))
    return Piece(
        0.4,
        0.4,
        [
            Part("lamp", 0, 0, 0.26, 0.26, 0.0, 0.04, metal),
            Part("lamp", 0, 0, 0.035, 0.035, 0.04, height, metal),
            Part("lamp", 0, 0, shade, shade, height - 0.05, height + 0.25, glow, 0.4),
        ],
    )


def crates(b: Builder) -> Piece:
    """A pile of boxes."""
    u, z, parts, size = b.rng.uniform, 0.0, [], b.rng.uniform(0.4, 0.8)
    for _ in range(b.rng.randrange(1, 4)):
        height, edge = u(0.25, 0.5), size * u(0.7, 1.0)
        material = b.material(b.rng.choice(("wood", "carpet", "fabric", "picture")), 0.7, b.tint(0.6, 0.5))
        parts.append(
            Part("crate", 0, 0, edge, edge * u(0.7, 1.0), z, z + height, _faces(material), u(-0.2, 0.2))
        )
        z += height
    return Piece(size * 1.15, size * 1.15, parts)


def column(b: Builder) -> Piece:
    """A column from floor to ceiling; two crossed boxes make it octagonal."""
    size, material = (
        b.rng.uniform(0.3, 0.55),
        _faces(b.material(b.rng.choice(("plaster", "brick", "tile")), 1.0)),
    )
    parts = [Part("column", 0, 0, size, size, 0.0, 9.0, material)]
    if b.rng.random() < 0.5:
        parts.append(Part("column", 0, 0, size, size, 0.0, 9.0, material, 0.785398))
    return Piece(size * 1.42, size * 1.42, parts)


def bench(b: Builder) -> Piece:
    u = b.rng.uniform
    length, depth, height = u(0.9, 1.8), u(0.35, 0.5), u(0.4, 0.48)
    wood = _faces(b.material("wood", 0.8))
    return Piece(
        length,
        depth,
        [
            Part("bench", 0, 0, length, depth, height - 0.06, height, wood),
            *_legs("bench", length - 0.1, depth - 0.04, height - 0.06, 0.07, wood),
        ],
    )


Maker = Callable[[Builder], Piece]

# Kind of room -> pieces against the walls, pieces in the open, categories of its walls and floor.
ROOMS: dict[str, tuple[tuple[Maker, ...], tuple[Maker, ...], tuple[str, ...], tuple[str, ...]]] = {
    "living": (
        (sofa, television, shelf, cabinet, plant, floor_lamp, sofa),
        (sofa, bench, plant),
        ("plaster", "wallpaper", "plaster", "brick"),
        ("plank", "carpet", "plank"),
    ),
    "bedroom": (
        (bed, cabinet, desk, cabinet, plant, floor_lamp),
        (),
        ("plaster", "wallpaper", "wallpaper"),
        ("carpet", "plank"),
    ),
    "kitchen": (
        (counter, cabinet, counter, plant),
        (table,),
        ("tile", "plaster", "plaster"),
        ("tile", "plank"),
    ),
    "dining": (
        (cabinet, plant, shelf, floor_lamp),
        (table, table),
        ("plaster", "wallpaper"),
        ("plank", "tile", "carpet"),
    ),
    "office": (
        (desk, shelf, desk, cabinet, plant, shelf),
        (table, desk),
        ("plaster", "plaster", "brick"),
        ("carpet", "carpet", "tile"),
    ),
    "library": (
        (shelf, shelf, shelf, shelf, desk, plant),
        (bookcase_island, bookcase_island, table),
        ("plaster", "wallpaper", "wood"),
        ("plank", "carpet"),
    ),
    "storage": (
        (rack, rack, crates, cabinet, crates),
        (crates, rack),
        ("brick", "plaster", "plaster"),
        ("tile", "carpet"),
    ),
    "bathroom": ((bath, basin, cabinet, basin), (), ("tile", "tile", "plaster"), ("tile",)),
    "hall": (
        (bench, plant, cabinet, shelf, floor_lamp),
        (column, column, bench, plant),
        ("plaster", "brick", "wood"),
        ("tile", "plank"),
    ),
    "corridor": ((shelf, plant, bench), (), ("plaster", "wallpaper", "brick"), ("tile", "carpet", "plank")),
}
