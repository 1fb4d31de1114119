"""Turns a floor plan into boxes: walls, doors, decoration on the walls, furniture."""

from __future__ import annotations

import math

from kinaema_ros.sim.building.builder import Builder
from kinaema_ros.sim.building.furniture import ROOMS, Piece
from kinaema_ros.sim.building.layout import OUTSIDE, SIDES, Room, Wall

Rect = tuple[float, float, float, float]
_REPEAT = {
    "wallpaper": 0.9,
    "brick": 1.1,
    "tile": 1.2,
    "plank": 1.3,
    "carpet": 1.2,
    "wood": 1.3,
    "plaster": 1.6,
}


def paint_room(b: Builder, room: Room) -> dict[str, int]:
    """Materials of the room's walls by side; one wall in four rooms is an accent wall."""
    walls = ROOMS[room.kind][2]
    category = b.rng.choice(walls)
    main = b.material(category, _REPEAT[category], b.tint(0.4, 0.6))
    sides = dict.fromkeys(SIDES, main)
    if b.rng.random() < 0.3:
        category = b.rng.choice(("wallpaper", "brick", "wood", "plaster"))
        sides[b.rng.choice(SIDES)] = b.material(category, _REPEAT[category], b.tint(0.5, 0.5))
    return sides


def floor_material(b: Builder, room: Room) -> int:
    """A material for the room's floor, of a category that suits the kind of room."""
    category = b.rng.choice(ROOMS[room.kind][3])
    return b.material(category, _REPEAT[category], b.tint(0.3, 0.6))


def build_wall(
    b: Builder, wall: Wall, paints: list[dict[str, int]], thickness: float, ceiling: float, trim: int
) -> None:
    """The boxes of a wall: its pieces beside the opening, the lintel above it, and the door frame."""
    low = paints[wall.low]["north" if wall.along_x else "east"] if wall.low != OUTSIDE else trim
    high = paints[wall.high]["south" if wall.along_x else "west"] if wall.high != OUTSIDE else trim

    def piece(
        kind: str, a: float, e: float, z0: float, z1: float, depth: float, material: int | None
    ) -> None:
        middle, length = (a + e) / 2, e - a
        if wall.along_x:
            faces = (trim, high, trim, low, trim, trim) if material is None else material
            b.box(kind, middle, wall.c, length, depth, z0, z1, faces)
        else:
            faces = (high, trim, low, trim, trim, trim) if material is None else material
            b.box(kind, wall.c, middle, depth, length, z0, z1, faces)

    # Outer walls reach around the corner so that the building is closed.
    reach = thickness / 2 if OUTSIDE in (wall.low, wall.high) else 0.0
    if wall.opening is None:
        piece("wall", wall.a - reach, wall.b + reach, 0.0, ceiling, thickness, None)
        return
    o = wall.opening
    piece("wall", wall.a, o.a, 0.0, ceiling, thickness, None)
    piece("wall", o.b, wall.b, 0.0, ceiling, thickness, None)
    top = 2.05 if o.b - o.a < 1.3 else ceiling - b.rng.uniform(0.15, 0.4)
    piece("lintel", o.a, o.b, top, ceiling, thickness, None)
    piece("sill", o.a, o.b, 0.0, 0.004, thickness, trim)
    if o.framed:
        piece("door_frame", o.a - 0.06, o.a + 0.012, 0.0, top + 0.06, thickness + 0.04, trim)
        piece("door_frame", o.b - 0.012, o.b + 0.06, 0.0, top + 0.06, thickness + 0.04, trim)
        piece("door_frame", o.a, o.b, top - 0.012, top + 0.06, thickness + 0.04, trim)


class RoomFurnisher:
    """Places decoration and furniture in one room without overlaps and clear of its doors."""

    def __init__(self, b: Builder, room: Room, outer: set[str], thickness: float, ceiling: float) -> None:
        self.b, self.room, self.outer, self.ceiling = b, room, outer, ceiling
        h = thickness / 2
        self.x0, self.y0, self.x1, self.y1 = room.x0 + h, room.y0 + h, room.x1 - h, room.y1 - h
        self.used: list[Rect] = []
        for side in SIDES:  # keep the space in front of doors free
            for a, e in room.taken[side]:
                self.used.append(self._against(side, a, e, 0.9))

    def _against(self, side: str, a: float, e: float, depth: float) -> Rect:
        return {
            "south": (a, self.y0, e, self.y0 + depth),
            "north": (a, self.y1 - depth, e, self.y1),
            "west": (self.x0, a, self.x0 + depth, e),
            "east": (self.x1 - depth, a, self.x1, e),
        }[side]

    def _free(self, rect: Rect) -> bool:
        return all(
            rect[0] >= u[2] or rect[2] <= u[0] or rect[1] >= u[3] or rect[3] <= u[1] for u in self.used
        )

    def _on_wall(self, side: str, along: float, out: float) -> tuple[float, float, float]:
        """Pose of a thing at distance out from the wall; its y axis points into the room."""
        return {
            "south": (along, self.y0 + out, 0.0),
            "north": (along, self.y1 - out, math.pi),
            "west": (self.x0 + out, along, -math.pi / 2),
            "east": (self.x1 - out, along, math.pi / 2),
        }[side]

    def _stretch(self, side: str, length: float) -> tuple[float, float] | None:
        """A random stretch of the wall that no door or decoration takes."""
        low, high = (self.x0, self.x1) if side in ("south", "north") else (self.y0, self.y1)
        if high - low < length + 0.1:
            return None
        for _ in range(3):
            a = self.b.rng.uniform(low + 0.05, high - length - 0.05)
            if all(a >= t[1] or a + length <= t[0] for t in self.room.taken[side]):
                return a, a + length
        return None

    def _hang(
        self, kind: str, side: str, length: float, depth: float, z0: float, z1: float, material: int
    ) -> bool:
        stretch = self._stretch(side, length)
        if stretch is None:
            return False
        self.room.taken[side].append((stretch[0] - 0.1, stretch[1] + 0.1))
        x, y, yaw = self._on_wall(side, sum(stretch) / 2, depth / 2)
        # The front is the +y face; thin edges take the same material.
        self.b.box(kind, x, y, length, depth, z0, z1, material, yaw)
        return True

    def decorate(self) -> None:
        """Windows with radiators on outer walls, door leaves, pictures, lamps, a rug."""
        u, b = self.b.rng.uniform, self.b
        for side in SIDES:
            if side in self.outer and b.rng.random() < 0.75:
                width, z0, z1 = u(0.8, 2.2), u(0.6, 1.0), u(1.9, self.ceiling - 0.2)
                pane = b.stretched("window", width, z0, z1, 1.0, (1.0, 1.0, 1.0))
                if self._hang("window", side, width, 0.03, z0, z1, pane) and b.rng.random() < 0.4:
                    taken = self.room.taken[side][-1]
                    length = min(1.2, taken[1] - taken[0] - 0.3)
                    x, y, yaw = self._on_wall(side, (taken[0] + taken[1]) / 2, 0.06)
                    b.box(
                        "radiator",
                        x,
                        y,
                        length,
                        0.1,
                        0.1,
                        0.55,
                        b.stretched("radiator", length, 0.1, 0.55, tint=b.tint(0.1, 0.85)),
                        yaw,
                    )
            for _ in range(b.rng.randrange(1, 4)):
                if b.rng.random() < 0.75:
                    width, height, z = u(0.25, 1.2), u(0.25, 0.9), u(1.0, 1.5)
                    self._hang(
                        "picture",
                        side,
                        width,
                        0.03,
                        z,
                        z + height,
                        b.stretched("picture", width, z, z + height, tint=b.tint(0.4, 0.6)),
                    )
        self._door_leaves()
        cx, cy = (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2
        size = u(0.25, 0.7)
        b.box(
            "ceiling_lamp",
            cx,
            cy,
            size,
            u(0.25, 1.2),
            self.ceiling - u(0.05, 0.5),
            self.ceiling - 0.01,
            b.material("plain", 1.0, (1.15, 1.1, 1.0), 1.0),
            0.0 if b.rng.random() < 0.5 else math.pi / 2,
        )
        if b.rng.random() < 0.4 and self.room.kind not in ("corridor", "bathroom", "storage"):
            length, width = u(0.4, 0.7) * (self.x1 - self.x0), u(0.4, 0.7) * (self.y1 - self.y0)
            b.box(
                "rug",
                cx + u(-0.3, 0.3),
                cy + u(-0.3, 0.3),
                length,
                width,
                0.0,
                0.01,
                b.laid("rug", length, width),
            )

    def _door_leaves(self) -> None:
        b = self.b
        for side in SIDES:
            low, high = (self.x0, self.x1) if side in ("south", "north") else (self.y0, self.y1)
            for a, e in list(self.room.taken[side])[:1]:
                width = e - a - 0.2
                for start in (e + 0.02, a - width - 0.02):
                    free = all(start >= t[1] or start + width <= t[0] for t in self.room.taken[side])
                    if (
                        0.8 < width < 1.2
                        and start > low
                        and start + width < high
                        and free
                        and b.rng.random() < 0.4
                    ):
                        self.room.taken[side].append((start, start + width))
                        self.used.append(self._against(side, start, start + width, 0.1))
                        x, y, yaw = self._on_wall(side, start + width / 2, 0.05)
                        leaf = b.stretched(
                            "front" if b.rng.random() < 0.4 else "wood",
                            width,
                            0.0,
                            2.0,
                            tint=b.tint(0.5, 0.5),
                        )
                        b.box("door", x, y, width, 0.045, 0.0, 2.0, leaf, yaw)
                        break

    def furnish(self, density: float) -> None:
        """Furniture against the walls and in the open; density scales how much."""
        b, rng = self.b, self.b.rng
        at_wall, in_open, _, _ = ROOMS[self.room.kind]
        area = (self.x1 - self.x0) * (self.y1 - self.y0)
        for _ in range(min(12, round(density * area * rng.uniform(0.3, 0.55)))):
            self._place_at_wall(rng.choice(at_wall)(b))
        if in_open:
            for _ in range(min(6, round(density * area * rng.uniform(0.04, 0.16)))):
                self._place_in_open(rng.choice(in_open)(b))

    def _place_at_wall(self, piece: Piece) -> None:
        rng = self.b.rng
        for _ in range(4):
            side = rng.choice(SIDES)
            low, high = (self.x0, self.x1) if side in ("south", "north") else (self.y0, self.y1)
            if high - low < piece.length + 0.1:
                continue
            # Corridors stay passable along their length.
            depth = (self.y1 - self.y0) if side in ("south", "north") else (self.x1 - self.x0)
            if depth - piece.depth < 0.95:
                continue
            along = rng.uniform(low + piece.length / 2 + 0.03, high - piece.length / 2 - 0.03)
            rect = self._against(side, along - piece.length / 2, along + piece.length / 2, piece.depth + 0.13)
            if self._free(rect):
                self.used.append(rect)
                self.b.place(piece.parts, *self._on_wall(side, along, 0.12 + piece.depth / 2))
                return

    def _place_in_open(self, piece: Piece) -> None:
        rng = self.b.rng
        for _ in range(4):
            yaw = rng.randrange(4) * math.pi / 2 if rng.random() < 0.6 else rng.uniform(-math.pi, math.pi)
            c, s = abs(math.cos(yaw)), abs(math.sin(yaw))
            half_x, half_y = (
                (c * piece.length + s * piece.depth) / 2,
                (s * piece.length + c * piece.depth) / 2,
            )
            margin = 0.75
            if 2 * (half_x + margin) > self.x1 - self.x0 or 2 * (half_y + margin) > self.y1 - self.y0:
                continue
            x = rng.uniform(self.x0 + margin + half_x, self.x1 - margin - half_x)
            y = rng.uniform(self.y0 + margin + half_y, self.y1 - margin - half_y)
            rect = (x - half_x, y - half_y, x + half_x, y + half_y)
            if self._free((rect[0] - 0.5, rect[1] - 0.5, rect[2] + 0.5, rect[3] + 0.5)):
                self.used.append(rect)
                self.b.place(piece.parts, x, y, yaw)
                return
