"""How far rays reach in a scene."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kinaema_ros.sim import Scene, SceneConfig, generate_scene, ray_lengths

BOX = np.array([[3.0, 0.0, 2.0, 1.0, np.pi / 2, 0.0, 0.4]])  # turned: 1 m along x, 2 m along y


@pytest.fixture(scope="module")
def scene() -> Scene:
    return generate_scene(0, SceneConfig(8.0, 8.0))


@pytest.mark.parametrize(
    ("direction", "length"),
    [
        ((1.0, 0.0, 0.0), 2.5),  # the box's face
        ((0.8, 0.6, 0.0), np.inf),  # beside it, and level: nothing
        ((0.0, 0.0, -1.0), 0.3),  # the floor
        ((0.0, 0.0, 1.0), 2.2),  # the ceiling
        ((3.0, 0.0, 0.1), 2.5 * np.hypot(3.0, 0.1) / 3.0),  # the face, just below its edge
        ((3.0, 0.0, 0.5), 2.2 / 0.5 * np.hypot(3.0, 0.5)),  # above the box: the ceiling
        ((-1.0, 0.0, 0.0), np.inf),  # behind the camera nothing is seen
    ],
)
def test_a_ray_ends_at_what_it_meets_first(
    scene: Scene, direction: tuple[float, float, float], length: float
) -> None:
    room = replace(scene, boxes=BOX, ceiling=2.5)
    unit = np.array([direction]) / np.linalg.norm(direction)
    found = ray_lengths(room, np.array([0.0, 0.0, 0.3]), unit)[0]
    assert (found > 1e9) if np.isinf(length) else (found == pytest.approx(length))


def test_all_rays_of_a_building_end_and_inside_no_box(scene: Scene) -> None:
    rng = np.random.default_rng(0)
    x0, y0, x1, y1 = scene.rooms[0]
    directions = rng.normal(size=(500, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    origin = np.array([(x0 + x1) / 2, (y0 + y1) / 2, scene.ceiling - 0.05])
    lengths = ray_lengths(scene, origin, directions)
    assert np.all((lengths > 0) & (lengths < 20.0))
    just_before = origin + (lengths - 1e-6)[:, None] * directions
    for x, y, length, width, yaw, z0, z1 in scene.boxes:
        dx, dy = just_before[:, 0] - x, just_before[:, 1] - y
        ahead, left = np.cos(yaw) * dx + np.sin(yaw) * dy, np.cos(yaw) * dy - np.sin(yaw) * dx
        inside = (np.abs(ahead) < length / 2) & (np.abs(left) < width / 2)
        inside &= (just_before[:, 2] > z0) & (just_before[:, 2] < z1)
        assert not inside.any()
