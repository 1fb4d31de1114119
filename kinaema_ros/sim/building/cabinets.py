"""Furniture that holds things: shelves, cabinets, kitchen units, baths, crates. A function draws a piece."""

from __future__ import annotations

from kinaema_ros.sim.building.builder import Builder, Part
from kinaema_ros.sim.building.pieces import Piece, faces_of, legs, ornament


def shelf(b: Builder) -> Piece:
    """A book shelf, tall or half-height."""
    u = b.rng.uniform
    length, depth, height = u(0.7, 2.0), u(0.28, 0.42), b.rng.choice((u(1.7, 2.2), u(1.7, 2.2), u(0.8, 1.3)))
    wood = b.material("wood", 1.0)
    fronts = b.stretched("books", length, 0.0, height * b.rng.choice((1.0, 1.0, 0.5)), tint=b.tint(0.3, 0.8))
    parts = [Part("shelf", 0, 0, length, depth, 0.0, height, (wood, fronts, wood, wood, wood, wood))]
    if height < 1.4:
        parts.append(ornament(b, u(-0.3, 0.3) * length, 0.0, height))
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
    length, depth, metal = u(0.9, 1.8), u(0.35, 0.5), faces_of(b.material("metal", 0.5))
    levels = b.rng.randrange(3, 5)
    top = u(1.5, 2.1)
    parts = legs("rack", length, depth, top, 0.04, metal)
    for k in range(levels):
        z = 0.12 + (top - 0.2) * k / (levels - 1)
        parts.append(Part("rack", 0, 0, length - 0.02, depth - 0.02, z, z + 0.03, metal))
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
                            faces_of(crate),
                        )
                    )
    return Piece(length, depth, parts)


def cabinet(b: Builder) -> Piece:
    """A wardrobe, cupboard or sideboard."""
    u = b.rng.uniform
    height = b.rng.choice((u(1.7, 2.2), u(0.7, 1.1), u(0.7, 1.1)))
    length, depth = u(0.6, 1.9), u(0.38, 0.6)
    body, front = b.material("wood", 1.0), b.stretched("front", length, 0.0, height, tint=b.tint(0.5, 0.5))
    parts = [Part("cabinet", 0, 0, length, depth, 0.0, height, faces_of(body, front))]
    if height < 1.2 and b.rng.random() < 0.7:
        parts.append(ornament(b, u(-0.35, 0.35) * length, 0.0, height))
    return Piece(length, depth, parts)


def television(b: Builder) -> Piece:
    """A television on a low cabinet."""
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
                faces_of(b.material("wood", 1.0), b.stretched("front", length, 0.0, height)),
            ),
            Part(
                "television",
                0,
                0,
                width,
                0.06,
                z,
                z + 0.58 * width,
                faces_of(
                    b.material("metal", tint=(0.15, 0.15, 0.15)),
                    b.stretched("screen", width, z, z + 0.58 * width, 0.5),
                ),
            ),
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
            faces_of(body, b.stretched("front", unit * 2, 0.0, height - 0.04, tint=tint)),
        ),
        Part("counter", 0, 0, length, depth, height - 0.04, height, faces_of(top)),
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
                faces_of(body, b.stretched("front", unit * 2, z0, z1, tint=tint)),
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
                faces_of(metal, b.stretched("front", 0.62, 0.0, tall, tint=b.tint(0.1, 0.9))),
            )
        )
    return Piece(length, depth + 0.02, parts)


def bath(b: Builder) -> Piece:
    """A bath tub: a bottom between four sides."""
    u = b.rng.uniform
    length, depth, height = u(1.4, 1.8), u(0.65, 0.8), u(0.5, 0.6)
    white = faces_of(b.material("plain", 1.0, b.tint(0.1, 0.95)))
    rim = [Part("bath", 0, side * (depth - 0.07) / 2, length, 0.07, 0.0, height, white) for side in (-1, 1)]
    ends = [
        Part("bath", side * (length - 0.07) / 2, 0, 0.07, depth - 0.14, 0.0, height, white)
        for side in (-1, 1)
    ]
    return Piece(
        length, depth, [Part("bath", 0, 0, length - 0.02, depth - 0.02, 0.0, 0.15, white), *rim, *ends]
    )


def basin(b: Builder) -> Piece:
    """A wash basin on a cupboard, with a mirror above."""
    u = b.rng.uniform
    length, white = u(0.5, 1.1), faces_of(b.material("plain", 1.0, b.tint(0.1, 0.95)))
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
                faces_of(body, b.stretched("front", length, 0.0, 0.7)),
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
                faces_of(b.material("metal", 1.5, (0.95, 1.0, 1.05), emission=0.2)),
            ),
        ],
    )


def crates(b: Builder) -> Piece:
    """A pile of boxes."""
    u, z, parts, size = b.rng.uniform, 0.0, [], b.rng.uniform(0.4, 0.8)
    for _ in range(b.rng.randrange(1, 4)):
        height, edge = u(0.25, 0.5), size * u(0.7, 1.0)
        material = b.material(b.rng.choice(("wood", "carpet", "fabric", "picture")), 0.7, b.tint(0.6, 0.5))
        parts.append(
            Part("crate", 0, 0, edge, edge * u(0.7, 1.0), z, z + height, faces_of(material), u(-0.2, 0.2))
        )
        z += height
    return Piece(size * 1.15, size * 1.15, parts)
