"""How far it is to what a ray meets first, exactly: what the pictures show, without their pixels."""

from __future__ import annotations

import numpy as np

from kinaema_ros.sim.scene import Scene


def ray_lengths(scene: Scene, origin: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Metres (J,) from ``origin`` (3,) in the scene along unit ``directions`` (J, 3) to a box, the floor or the ceiling."""
    x, y, length, width, yaw, z0, z1 = scene.boxes.T
    cos, sin = np.cos(yaw), np.sin(yaw)

    def turned(vectors: np.ndarray) -> np.ndarray:
        """(..., B, 3) in the axes of each box."""
        ahead, left, up = np.moveaxis(vectors, -1, 0)
        return np.stack(
            [cos * ahead + sin * left, cos * left - sin * ahead, np.broadcast_to(up, (cos * ahead).shape)], -1
        )

    start = turned(origin - np.stack([x, y, (z0 + z1) / 2.0], axis=-1))
    along = turned(directions[:, None])
    along = np.where(np.abs(along) < 1e-12, 1e-12, along)
    half = np.stack([length, width, z1 - z0], axis=-1) / 2.0
    enters = ((-np.copysign(half, along) - start) / along).max(-1)
    leaves = ((np.copysign(half, along) - start) / along).min(-1)
    box = np.where((enters <= leaves) & (enters > 0.0), enters, np.inf).min(-1, initial=np.inf)
    up = np.where(np.abs(directions[:, 2]) < 1e-12, 1e-12, directions[:, 2])
    room = np.where(up < 0.0, -origin[2], scene.ceiling - origin[2]) / up
    return np.minimum(box, room)
