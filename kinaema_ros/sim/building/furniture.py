"""Furniture to sit, eat, work and sleep at, and what kinds of rooms hold. Each function draws one piece."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from kinaema_ros.sim.building.builder import Builder, Part
from kinaema_ros.sim.building.cabinets import (
    basin,
    bath,
    bookcase_island,
    cabinet,
    counter,
    crates,
    rack,
    shelf,
    television,
)
from kinaema_ros.sim.building.pieces import Piece, faces_of, legs, ornament


def _chair(b: Builder, wood: int, fabric: int, x: float, y: float, facing: int) -> list[Part]:
    """A chair centred at (x, y); facing: 1 if its sitter looks along y, -1 if against it."""
    return [
        Part("chair", x, y, 0.42, 0.42, 0.42, 0.48, faces_of(fabric)),
        Part("chair", x, y - facing * 0.19, 0.40, 0.05, 0.48, 0.92, faces_of(wood)),
        *legs("chair", 0.42, 0.42, 0.42, 0.045, faces_of(wood), x, y),
    ]


def table(b: Builder) -> Piece:
    """A table with none to four chairs."""
    u = b.rng.uniform
    length, width, height, wood = u(0.8, 1.9), u(0.7, 1.0), u(0.7, 0.78), faces_of(b.material("wood", 0.9))
    parts = [Part("table", 0, 0, length, width, height - u(0.03, 0.07), height, wood)]
    if b.rng.random() < 0.3:
        parts.append(Part("table", 0, 0, 0.35, 0.35, 0.0, height - 0.04, wood))
    else:
        parts += legs("table", length - 0.06, width - 0.06, height - 0.04, u(0.05, 0.09), wood)
    seat, back, depth = b.material("fabric", 0.5), b.material("wood", 0.6), width
    if b.rng.random() < 0.75:
        depth = width + 0.8
        for side in (-1, 1):
            for x in (-length / 4, length / 4) if length > 1.2 else (0.0,):
                if b.rng.random() < 0.85:
                    parts += _chair(b, back, seat, x, side * (width / 2 + 0.15), -side)
    if b.rng.random() < 0.5:
        parts.append(ornament(b, u(-0.3, 0.3), u(-0.2, 0.2), height))
    return Piece(length, depth, parts)


def desk(b: Builder) -> Piece:
    """A desk with a drawer unit and one or two monitors, mostly with a chair."""
    u = b.rng.uniform
    length, depth, height, wood = u(1.1, 1.7), u(0.6, 0.8), u(0.7, 0.77), b.material("wood", 0.9)
    parts = [
        Part("desk", 0, 0, length, depth, height - 0.04, height, faces_of(wood)),
        Part(
            "desk",
            length / 2 - 0.22,
            0,
            0.4,
            depth - 0.08,
            0.0,
            height - 0.04,
            faces_of(wood, b.stretched("front", 0.4, 0.0, height)),
        ),
        Part("desk", -length / 2 + 0.03, 0, 0.05, depth - 0.06, 0.0, height - 0.04, faces_of(wood)),
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
                faces_of(b.material("metal", tint=(0.2, 0.2, 0.22)), screen),
            )
        )
    total = depth
    if b.rng.random() < 0.8:
        total = depth + 0.4
        parts = [replace(p, y=p.y - 0.2) for p in parts]
        parts += _chair(b, b.material("metal"), b.material("fabric", 0.5), -0.1, depth / 2 - 0.02, -1)
    return Piece(length, total, parts)


def sofa(b: Builder) -> Piece:
    """A sofa or an armchair, with up to two cushions."""
    u = b.rng.uniform
    length, depth, seat, back, arm = u(0.8, 2.3), u(0.75, 0.95), u(0.38, 0.46), u(0.7, 0.95), u(0.12, 0.22)
    cloth = faces_of(b.material("fabric", 0.7, b.tint(0.6, 0.4)))
    parts = [
        Part("sofa", 0, 0, length, depth, 0.06, seat, cloth),
        Part("sofa", 0, -depth / 2 + 0.1, length, 0.2, seat, back, cloth),
    ]
    parts += [
        Part("sofa", side * (length - arm) / 2, 0, arm, depth, seat, seat + 0.18, cloth) for side in (-1, 1)
    ]
    for _ in range(b.rng.randrange(3)):
        cushion = faces_of(b.material("fabric", 0.4, b.tint(0.9, 0.5)))
        parts.append(
            Part("cushion", u(-0.3, 0.3) * length, -depth / 2 + 0.28, 0.4, 0.14, seat, seat + 0.36, cushion)
        )
    return Piece(length, depth, parts)


def bed(b: Builder) -> Piece:
    """A single or double bed, its head at the wall."""
    u = b.rng.uniform
    width, length, top = b.rng.choice((u(0.9, 1.2), u(1.4, 1.8))), u(1.95, 2.1), u(0.42, 0.6)
    wood, cloth = faces_of(b.material("wood", 1.0)), faces_of(b.material("fabric", 1.0, b.tint(0.5, 0.5)))
    white = faces_of(b.material("fabric", 0.6, b.tint(0.15, 0.9)))
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


def plant(b: Builder) -> Piece:
    """A plant in a pot."""
    u = b.rng.uniform
    pot, height, crown = u(0.22, 0.36), u(0.2, 0.45), u(0.35, 0.6)
    clay, leaf = faces_of(b.material("plaster", 0.5, b.tint(0.6, 0.4))), faces_of(b.material("foliage", 0.5))
    top = height + u(0.3, 1.1)
    low = height + u(0.0, 0.5) * (top - height)
    return Piece(
        crown,
        crown,
        [
            Part("plant", 0, 0, pot, pot, 0.0, height, clay),
            Part("plant", 0, 0, 0.05, 0.05, height, top, faces_of(b.material("wood", 0.5))),
            Part("plant", 0, 0, crown * 0.7, crown * 0.7, low, top, leaf, u(0, 1.5)),
            Part("plant", 0, 0, crown * 0.68, crown * 0.5, (low + top) / 2, top + 0.15, leaf, u(0, 1.5)),
        ],
    )


def floor_lamp(b: Builder) -> Piece:
    """A floor lamp whose shade glows."""
    u = b.rng.uniform
    height, shade = u(1.3, 1.8), u(0.25, 0.4)
    metal = faces_of(b.material("metal", 0.5))
    glow = faces_of(b.material("plain", 1.0, (1.0, 0.93, 0.75), emission=1.0))
    return Piece(
        0.4,
        0.4,
        [
            Part("lamp", 0, 0, 0.26, 0.26, 0.0, 0.04, metal),
            Part("lamp", 0, 0, 0.035, 0.035, 0.04, height, metal),
            Part("lamp", 0, 0, shade, shade, height - 0.05, height + 0.25, glow, 0.4),
        ],
    )


def column(b: Builder) -> Piece:
    """A column from floor to ceiling; two crossed boxes make it octagonal."""
    size, material = (
        b.rng.uniform(0.3, 0.55),
        faces_of(b.material(b.rng.choice(("plaster", "brick", "tile")), 1.0)),
    )
    parts = [Part("column", 0, 0, size, size, 0.0, 9.0, material)]
    if b.rng.random() < 0.5:
        parts.append(Part("column", 0, 0, size, size, 0.0, 9.0, material, 0.785398))
    return Piece(size * 1.42, size * 1.42, parts)


def bench(b: Builder) -> Piece:
    """A wooden bench."""
    u = b.rng.uniform
    length, depth, height = u(0.9, 1.8), u(0.35, 0.5), u(0.4, 0.48)
    wood = faces_of(b.material("wood", 0.8))
    return Piece(
        length,
        depth,
        [
            Part("bench", 0, 0, length, depth, height - 0.06, height, wood),
            *legs("bench", length - 0.1, depth - 0.04, height - 0.06, 0.07, wood),
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
