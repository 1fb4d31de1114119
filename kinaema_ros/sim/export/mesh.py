"""A scene as textured triangle meshes, for simulators that draw with a graphics card.

Every quadrilateral carries the texture coordinates that the renderer uses (kinaema_ros.sim.shading), so that
one small image per look is repeated as often as on the renderer's walls.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from kinaema_ros.sim import materials as m
from kinaema_ros.sim.scene import Scene

# A quadrilateral: (4, 5) float64, rows x, y, z, u, v counter-clockwise from its front; v grows upwards.
Quad = np.ndarray


@dataclass(frozen=True)
class Look:
    """What two surfaces share that differ in the texture's scale and offset only.

    emission in [0, 1]: the part of the surface's colour that does not depend on light.
    """

    texture: int
    tint: tuple[float, float, float]
    contrast: float
    emission: float


@dataclass
class Meshes:
    """The quadrilaterals of a scene by kind of thing ("wall", "sofa", "floor", ...) and row of looks."""

    looks: list[Look] = field(default_factory=list)
    quads: dict[tuple[str, int], list[Quad]] = field(default_factory=dict)


def scene_meshes(scene: Scene) -> Meshes:
    """All surfaces of a scene that can be seen from inside, in the scene's frame (metres)."""
    meshes, numbers = Meshes(), dict[Look, int]()
    for kind, row, quad in _surfaces(scene):
        values = [float(v) for v in scene.materials[row]]
        tint = (values[m.RED], values[m.GREEN], values[m.BLUE])
        look = Look(int(values[m.TEXTURE]), tint, values[m.CONTRAST], values[m.EMISSION])
        number = numbers.setdefault(look, len(numbers))
        if number == len(meshes.looks):
            meshes.looks.append(look)
        meshes.quads.setdefault((kind, number), []).append(quad)
    return meshes


def look_image(scene: Scene, look: Look) -> np.ndarray:
    """The colour of a look under light of strength one, (128, 128, 3) uint8 RGB; tiles without a seam."""
    image = (scene.pool.image(look.texture).astype(np.float32) - 127.5) * look.contrast + 127.5
    return np.rint(np.clip(image * np.array(look.tint, np.float32), 0, 255)).astype(np.uint8)


def obj_text(quads: Iterable[Quad]) -> str:
    """Quadrilaterals as a Wavefront OBJ file without materials."""
    lines = []
    for k, quad in enumerate(quads):
        normal = np.cross(quad[1, :3] - quad[0, :3], quad[2, :3] - quad[0, :3])
        lines += ["v {:.4f} {:.4f} {:.4f}".format(*corner[:3]) for corner in quad]
        lines += ["vt {:.5f} {:.5f}".format(*corner[3:]) for corner in quad]
        lines.append("vn {:.5f} {:.5f} {:.5f}".format(*(normal / np.linalg.norm(normal))))
        a, b, c, d = range(4 * k + 1, 4 * k + 5)
        for triangle in ((a, b, c), (a, c, d)):
            lines.append("f " + " ".join(f"{i}/{i}/{k + 1}" for i in triangle))
    return "\n".join(lines) + "\n"


def _surfaces(scene: Scene) -> Iterator[tuple[str, int, Quad]]:
    """Kind, row of scene.materials and quadrilateral of every surface."""
    for room, (x0, y0, x1, y1) in enumerate(scene.rooms):
        corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
        floor, ceiling = scene.floors[room], scene.ceilings[room]
        yield "floor", floor, _level(corners, corners, 0.0, scene.materials[floor])
        yield "ceiling", ceiling, _level(corners, corners, scene.ceiling, scene.materials[ceiling])[::-1]
    for box, faces, kind in zip(scene.boxes, scene.faces, scene.kinds, strict=True):
        for face, quad in _box_quads(box, scene.materials[faces], scene.ceiling):
            yield kind, faces[face], quad


def _box_quads(box: np.ndarray, face_materials: np.ndarray, ceiling: float) -> Iterator[tuple[int, Quad]]:
    """The faces of a box (numbers as builder.FACES) but those that lie on the floor or at the ceiling."""
    x, y, length, width, yaw, z0, z1 = box
    rotation = np.array([(math.cos(yaw), -math.sin(yaw)), (math.sin(yaw), math.cos(yaw))])
    for face in range(4):
        half, reach = (length / 2, width / 2) if face % 2 == 0 else (width / 2, length / 2)
        c, s = round(math.cos(face * math.pi / 2)), round(math.sin(face * math.pi / 2))
        right = np.array((-s, c))  # as one looks at the face
        low, high = (np.array((c, s)) * half + side * reach * right for side in (-1, 1))
        _, su, sv, ou, ov = face_materials[face, : m.OFFSET_V + 1]
        quad = np.empty((4, 5))
        quad[:, :2] = (x, y) + np.array((low, high, high, low)) @ rotation.T
        quad[:, 2] = z0, z0, z1, z1
        quad[:, 3] = np.array((-1, 1, 1, -1)) * reach * su + ou
        quad[:, 4] = quad[:, 2] * sv + ov
        yield face, quad
    local = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (length / 2, width / 2)
    corners = (x, y) + local @ rotation.T
    if z1 < ceiling:
        yield 4, _level(corners, local, z1, face_materials[4])
    if z0 > 0.0:
        yield 5, _level(corners, local, z0, face_materials[5])[::-1]


def _level(corners: np.ndarray, coordinates: np.ndarray, z: float, material: np.ndarray) -> Quad:
    """A quadrilateral that faces up; coordinates (4, 2): where its corners lie on the texture, in metres."""
    _, su, sv, ou, ov = material[: m.OFFSET_V + 1]
    return np.column_stack((corners, np.full(4, z), coordinates * (su, sv) + (ou, ov)))
