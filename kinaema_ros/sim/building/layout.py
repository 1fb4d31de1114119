"""Floor plans: rooms by binary space partition, corridors, and the doors that connect all of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from random import Random

SIDES = ("south", "east", "north", "west")
OUTSIDE = -1
ROOM_MIN, ROOM_MAX = 2.6, 6.5  # metres; a room's side
EXTRA_DOORS = 0.25  # fraction of walls that get a door beside those that connect the rooms


@dataclass
class Room:
    """A rectangular room; x0..y1 are the centre lines of its walls (metres)."""

    x0: float
    y0: float
    x1: float
    y1: float
    kind: str = "hall"
    # Stretches of each wall that are taken by doors or decoration, as (from, to) along the wall.
    taken: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: {s: [] for s in SIDES})


@dataclass(frozen=True)
class Opening:
    """A passage through a wall, from a to b along it. Wide openings have no frame."""

    a: float
    b: float
    framed: bool


@dataclass(frozen=True)
class Wall:
    """A straight wall from a to b at coordinate c. along_x: it runs along x, else along y.

    low and high are the rooms (indices) on its smaller and larger side, or OUTSIDE.
    """

    along_x: bool
    c: float
    a: float
    b: float
    low: int
    high: int
    opening: Opening | None = None


def _split(rng: Random, room: Room, out: list[Room]) -> None:
    least, most = ROOM_MIN, ROOM_MAX
    width, height = room.x1 - room.x0, room.y1 - room.y0
    longest = max(width, height)
    if longest < 2 * least or (longest < most and width * height < most * least * 1.6 and rng.random() < 0.7):
        out.append(room)
        return
    along_x = width > height if abs(width - height) > 1.0 else rng.random() < 0.5
    along_x = along_x if (width if along_x else height) >= 2 * least else not along_x
    low, high = (room.x0, room.x1) if along_x else (room.y0, room.y1)
    cuts = [rng.uniform(low + least, high - least)]
    corridor = rng.uniform(1.5, 2.1)
    is_corridor = longest > 2 * least + corridor + 1.0 and min(width, height) > 4.5 and rng.random() < 0.4
    if is_corridor:
        first = rng.uniform(low + least, high - least - corridor)
        cuts = [first, first + corridor]
    edges = [low, *cuts, high]
    for k, (a, b) in enumerate(pairwise(edges)):
        part = Room(a, room.y0, b, room.y1) if along_x else Room(room.x0, a, room.x1, b)
        if is_corridor and k == 1:
            part.kind = "corridor"
            out.append(part)
        else:
            _split(rng, part, out)


def floor_plan(rng: Random, width: float, height: float) -> list[Room]:
    """Rooms that fill a width x height rectangle with its lower corner at the origin."""
    rooms: list[Room] = []
    _split(rng, Room(0.0, 0.0, width, height), rooms)
    return rooms


def _shared(rooms: list[Room]) -> list[Wall]:
    """The wall pieces between every pair of rooms that touch."""
    walls = []
    for i, p in enumerate(rooms):
        for j, q in enumerate(rooms):
            if abs(p.x1 - q.x0) < 1e-9 and (a := max(p.y0, q.y0)) < (b := min(p.y1, q.y1)) - 1e-9:
                walls.append(Wall(False, p.x1, a, b, i, j))
            if abs(p.y1 - q.y0) < 1e-9 and (a := max(p.x0, q.x0)) < (b := min(p.x1, q.x1)) - 1e-9:
                walls.append(Wall(True, p.y1, a, b, i, j))
    return walls


def _outer(rooms: list[Room], width: float, height: float) -> list[Wall]:
    walls = []
    for i, r in enumerate(rooms):
        if r.y0 == 0.0:
            walls.append(Wall(True, 0.0, r.x0, r.x1, OUTSIDE, i))
        if r.y1 == height:
            walls.append(Wall(True, height, r.x0, r.x1, i, OUTSIDE))
        if r.x0 == 0.0:
            walls.append(Wall(False, 0.0, r.y0, r.y1, OUTSIDE, i))
        if r.x1 == width:
            walls.append(Wall(False, width, r.y0, r.y1, i, OUTSIDE))
    return walls


def _opening(rng: Random, wall: Wall, rooms: list[Room], thickness: float) -> Opening:
    length = wall.b - wall.a
    margin = thickness / 2 + 0.12
    corridor = "corridor" in (rooms[wall.low].kind, rooms[wall.high].kind)
    if length > 2.6 and not corridor and rng.random() < 0.18:
        width, framed = rng.uniform(1.5, min(length - 2 * margin, 3.5)), False
    else:
        width, framed = rng.uniform(0.85, 1.1), rng.random() < 0.85
    centre = rng.uniform(wall.a + margin + width / 2, wall.b - margin - width / 2)
    return Opening(centre - width / 2, centre + width / 2, framed)


def walls_with_doors(
    rng: Random, rooms: list[Room], width: float, height: float, thickness: float
) -> list[Wall]:
    """All walls; openings join the rooms to one connected building.

    They lie in the walls of a random spanning tree, corridors first, and in a fraction EXTRA_DOORS of the
    other walls. Doors are noted in the rooms' taken stretches.
    """
    shared = _shared(rooms)
    usable = [w for w in shared if w.b - w.a > 1.1 + thickness + 0.3]

    def late(wall: Wall) -> float:
        """Corridors get their doors first."""
        return rng.random() - 0.6 * ("corridor" in (rooms[wall.low].kind, rooms[wall.high].kind))

    order = sorted(usable, key=late)
    group = list(range(len(rooms)))
    doors: dict[int, Opening] = {}
    for w in order:
        joins = group[w.low] != group[w.high]
        if joins or rng.random() < EXTRA_DOORS:
            doors[id(w)] = _opening(rng, w, rooms, thickness)
            old, new = group[w.low], group[w.high]
            group = [new if g == old else g for g in group]
    walls = [Wall(w.along_x, w.c, w.a, w.b, w.low, w.high, doors.get(id(w))) for w in shared]
    for w in walls:
        if w.opening:
            stretch = (w.opening.a - 0.1, w.opening.b + 0.1)
            rooms[w.low].taken["north" if w.along_x else "east"].append(stretch)
            rooms[w.high].taken["south" if w.along_x else "west"].append(stretch)
    if len(set(group)) > 1:
        raise ValueError("floor plan cannot be connected")  # the caller draws another one
    return walls + _outer(rooms, width, height)
