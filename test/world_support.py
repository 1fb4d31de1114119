"""Reads an exported world without the code that wrote it, and looks at it with a ray caster."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np


@dataclass(frozen=True)
class Triangles:
    """corners (T, 3, 3) metres; uv (T, 3, 2), v upwards; texture (T,): which of the images (h, w, 3) RGB."""

    corners: np.ndarray
    uv: np.ndarray
    texture: np.ndarray
    images: list[np.ndarray]


def numbers(text: str | None) -> list[float]:
    assert text is not None
    return [float(word) for word in text.split()]


def read_visuals(world: Path) -> Triangles:
    """All mesh visuals of the world's static models."""
    files: dict[str, int] = {}
    images, corners, uvs, textures = [], [], [], []
    for visual in ElementTree.parse(world).iterfind("world/model[static]/link/visual"):
        uri = visual.findtext("geometry/mesh/uri")
        albedo = visual.findtext("material/pbr/metal/albedo_map")
        assert uri
        assert albedo
        if albedo not in files:
            files[albedo] = len(images)
            image = cv2.imread(str(world.parent / albedo))
            assert image is not None, albedo
            images.append(image[..., ::-1])
        position, uv = read_obj(world.parent / uri)
        corners.append(position)
        uvs.append(uv)
        textures.append(np.full(len(position), files[albedo]))
    return Triangles(np.concatenate(corners), np.concatenate(uvs), np.concatenate(textures), images)


def read_obj(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Corners (T, 3, 3) and texture coordinates (T, 3, 2) of an OBJ file of triangles."""
    rows: dict[str, list[list[float]]] = {"v": [], "vt": [], "vn": []}
    faces = []
    for line in path.read_text().splitlines():
        key, _, rest = line.partition(" ")
        if key == "f":
            faces.append([[int(i) - 1 for i in corner.split("/")] for corner in rest.split()])
        else:
            rows[key].append(numbers(rest))
    index = np.array(faces)
    corners = np.array(rows["v"])[index[..., 0]]
    normals = np.array(rows["vn"])[index[..., 2]]
    # A front is where the corners run counter-clockwise: the normals in the file must say the same.
    front = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (np.einsum("tk,tck->tc", front, normals) > 0).all(), path
    return corners, np.array(rows["vt"])[index[..., 1]]


@dataclass(frozen=True)
class View:
    """Of every pixel (H, W): the triangle, the texture coordinates (H, W, 2) and the depth along the axis."""

    triangle: np.ndarray
    uv: np.ndarray
    depth: np.ndarray


def look(triangles: Triangles, pose: np.ndarray, z: float, width: int, height: int, hfov: float) -> View:
    """What a level camera at x, y, yaw sees: fronts only, as a graphics card draws them."""
    x, y, yaw = pose
    focal = width / 2 / math.tan(hfov / 2)
    columns, rows = np.meshgrid(np.arange(width) + 0.5 - width / 2, np.arange(height) + 0.5 - height / 2)
    forward = np.array([math.cos(yaw), math.sin(yaw), 0.0])
    left = np.array([-math.sin(yaw), math.cos(yaw), 0.0])
    up = np.array([0.0, 0.0, 1.0])
    rays = (forward - columns[..., None] / focal * left - rows[..., None] / focal * up).reshape(-1, 3)
    # Moeller and Trumbore, "Fast, minimum storage ray/triangle intersection", 1997, for all pairs at once.
    a = triangles.corners[:, 0]
    e1, e2 = triangles.corners[:, 1] - a, triangles.corners[:, 2] - a
    from_a = np.array([x, y, z]) - a
    q = np.cross(from_a, e1)
    with np.errstate(divide="ignore", invalid="ignore"):
        # e1 . (ray x e2) = ray . (e2 x e1)
        det = rays @ np.cross(e2, e1).T
        u, v = rays @ np.cross(e2, from_a).T / det, rays @ q.T / det
        t = np.einsum("tk,tk->t", e2, q) / det
        hit = (det > 1e-12) & (u >= -1e-9) & (v >= -1e-9) & (u + v <= 1 + 1e-9) & (t > 0.02)
    t = np.where(hit, t, np.inf)
    n = np.argmin(t, axis=1)
    k = np.arange(len(rays))
    weights = np.stack([1 - u[k, n] - v[k, n], u[k, n], v[k, n]], axis=1)
    uv = np.einsum("pc,pck->pk", weights, triangles.uv[n])
    return View(n.reshape(height, width), uv.reshape(height, width, 2), t[k, n].reshape(height, width))


def colors(triangles: Triangles, view: View) -> np.ndarray:
    """(H, W, 3) uint8: the nearest texels of repeated textures, without light."""
    images = np.stack(triangles.images)
    texel = (view.uv * (1, -1) % 1.0 * images.shape[1]).astype(int) % images.shape[1]
    return images[triangles.texture[view.triangle], texel[..., 1], texel[..., 0]]
