"""Scenes: the same in every process, connected, and described truthfully by their grids and exports."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from kinaema_ros.sim import Scene, SceneConfig, generate_scene, jit
from kinaema_ros.sim.export.map import export_map
from kinaema_ros.sim.materials import texture_pool
from kinaema_ros.sim.scene import GRID
from kinaema_ros.sim.space import line_of_sight

SEEDS = range(30)
PROGRAM = """
import hashlib, numpy as np
from kinaema_ros.sim import *
scene = generate_scene(7)
poses = explore(scene, np.random.default_rng(3), 40)
views, _ = sample_viewpoints(scene, np.random.default_rng(4), poses, 10)
images = render(scene, np.concatenate([poses[:4], views[:2]]), lighting=Lighting(noise=3.0, seed=5))
print(hashlib.sha256(scene.boxes.tobytes() + scene.materials.tobytes() + poses.tobytes() + views.tobytes()
                     + images.tobytes()).hexdigest())
"""


def digest(scene: Scene) -> str:
    return hashlib.sha256(
        scene.boxes.tobytes() + scene.faces.tobytes() + scene.materials.tobytes()
    ).hexdigest()


def exact_clearance(boxes: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(N,) distance of points (N, 2) to the nearest box, in plain numpy: the reference for the kernels."""
    x, y, length, width, yaw = boxes[:, :5].T
    dx, dy = points[:, :1] - x, points[:, 1:] - y
    along, across = np.cos(yaw) * dx + np.sin(yaw) * dy, np.cos(yaw) * dy - np.sin(yaw) * dx
    gaps = np.hypot(np.maximum(np.abs(along) - length / 2, 0.0), np.maximum(np.abs(across) - width / 2, 0.0))
    return gaps.min(axis=1)


def obstacles_of(scene: Scene) -> np.ndarray:
    return scene.boxes[scene.obstacles]


def test_a_seed_gives_the_same_world_path_and_images_in_fresh_processes():
    command = [sys.executable, "-c", PROGRAM]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in "ab"]
    printed = [run.communicate(timeout=300)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert printed[0] == printed[1]
    assert len(printed[0].strip()) == 64


def test_no_kernel_lies_where_stale_ones_are_not_looked_for():
    folder = Path(jit.__file__).parent
    assert {path.parent for path in folder.rglob("*.py") if "sim.jit import" in path.read_text()} == {folder}


def test_kernels_older_than_any_source_are_compiled_anew(tmp_path):
    (tmp_path / "__pycache__").mkdir()
    source, old, new = tmp_path / "a.py", tmp_path / "__pycache__/b.nbi", tmp_path / "__pycache__/c.nbi"
    for seconds, path in ((100, old), (200, source), (300, new)):
        path.touch()
        os.utime(path, (seconds, seconds))
    jit.drop_stale_kernels(tmp_path)
    assert not old.exists()
    assert new.exists()


def test_seeds_texture_seeds_and_configs_give_different_scenes():
    scenes = [generate_scene(s) for s in range(4)] + [generate_scene(0, SceneConfig(furniture=0.3))]
    assert len({digest(s) for s in scenes}) == 5
    assert not np.array_equal(texture_pool(0).texels, texture_pool(1).texels)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_robot_of_25_cm_reaches_every_room(seed):
    scene = generate_scene(seed)
    rooms = scene.room_grid[scene.reachable]
    assert set(rooms.tolist()) == set(range(len(scene.rooms)))
    # The same on a finer grid of exact distances, independent of the scene's own planning grid.
    grid = scene.occupancy()
    free = np.ascontiguousarray(~grid.data, np.uint8)
    clear = cv2.distanceTransform(free, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) * 0.05 >= 0.25 + 0.025
    rows, columns = np.indices(clear.shape)
    x, y = grid.origin[0] + (columns + 0.5) * 0.05, grid.origin[1] + (rows + 0.5) * 0.05
    inside = (x > 0) & (y > 0) & (x < scene.size[0]) & (y < scene.size[1])
    _, labels = cv2.connectedComponents((clear & inside).astype(np.uint8), connectivity=4)
    i, j = np.argwhere(scene.reachable)[0]
    start = labels[round((i + 0.5) * GRID / 0.05), round((j + 0.5) * GRID / 0.05)]
    assert start > 0
    for x0, y0, x1, y1 in scene.rooms:
        assert ((labels == start) & (x > x0) & (x < x1) & (y > y0) & (y < y1)).any()


def test_scene_sizes_follow_the_config():
    config = SceneConfig(size_min=9.0, size_max=11.0)
    for seed in range(10):
        scene = generate_scene(seed, config)
        assert all(9.0 <= s <= 11.0 for s in scene.size)
        area = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in scene.rooms)
        assert area == pytest.approx(scene.size[0] * scene.size[1])  # rooms tile the building


def test_rooms_hold_furniture_pictures_and_windows_of_many_kinds():
    kinds = {k for seed in range(8) for k in generate_scene(seed).kinds}
    assert {"wall", "lintel", "window", "picture", "table", "chair", "shelf", "sofa", "bed", "plant"} <= kinds
    bare = generate_scene(0, SceneConfig(furniture=0.0))
    assert not {"table", "shelf", "sofa", "cabinet"} & set(bare.kinds)


def test_clearance_and_occupancy_agree_with_exact_distances():
    scene = generate_scene(3)
    rng = np.random.default_rng(0)
    grid = scene.occupancy()
    cells = rng.integers((0, 0), scene.clearance.shape, (500, 2))
    exact = exact_clearance(obstacles_of(scene), np.array(scene.grid_origin) + (cells[:, ::-1] + 0.5) * GRID)
    assert np.allclose(scene.clearance[tuple(cells.T)], np.minimum(exact, 0.6), atol=1e-5)
    cells = rng.integers((0, 0), grid.data.shape, (1000, 2))
    exact = exact_clearance(obstacles_of(scene), np.array(grid.origin) + (cells[:, ::-1] + 0.5) * 0.05)
    assert np.array_equal(grid.data[tuple(cells.T)], exact < 0.025)


def test_line_of_sight_agrees_with_marching_along_the_segment():
    scene = generate_scene(5)
    rng = np.random.default_rng(1)
    blockers = scene.boxes[scene.sight_blockers]
    seen = 0
    for _ in range(200):
        a = rng.uniform(0.3, np.array(scene.size) - 0.3)
        b = a + rng.uniform(-2.0, 2.0, 2)
        nearest = exact_clearance(blockers, a + np.linspace(0.0, 1.0, 1000)[:, None] * (b - a)).min()
        if not 0.0 < nearest < 0.005:  # leave out grazing passes, where marching is not exact
            assert line_of_sight(scene.boxes, scene.sight_blockers, *a, *b) == (nearest > 0.0)
            seen += nearest > 0.0
    assert 20 < seen < 180


def test_box_gives_kind_pose_size_and_materials():
    scene = generate_scene(2)
    index = scene.kinds.index("shelf")
    box = scene.box(index)
    assert box.kind == "shelf"
    assert box.center[2] == pytest.approx(box.size[2] / 2)
    assert min(box.size) > 0.0
    assert max(box.materials) < len(scene.materials)
    assert all(0 <= scene.materials[m, 0] < len(scene.pool.names) for m in box.materials)
    assert scene.pool.image(int(scene.materials[box.materials[1], 0])).shape == (128, 128, 3)


def test_exported_map_reads_back_the_right_way_up(tmp_path):
    scene = generate_scene(4)
    text = export_map(scene, tmp_path / "maps").read_text()
    values = dict(line.split(": ", 1) for line in text.splitlines())
    image = cv2.imread(str(tmp_path / "maps" / values["image"]), cv2.IMREAD_UNCHANGED)
    resolution = float(values["resolution"])
    x0, y0, yaw = (float(v) for v in values["origin"].strip("[]").split(","))
    assert yaw == 0.0
    assert values["negate"] == "0"
    assert values["mode"] == "trinary"
    # map_server: pixel (row, column) covers x = origin + column * resolution, y counted from the last row.
    occupancy = (255 - image.astype(float)) / 255.0
    points = np.random.default_rng(0).uniform(0.0, scene.size, (2000, 2))
    rows = image.shape[0] - 1 - ((points[:, 1] - y0) / resolution).astype(int)
    values_there = occupancy[rows, ((points[:, 0] - x0) / resolution).astype(int)]
    clearance = exact_clearance(obstacles_of(scene), points)
    # A cell's centre is within half a diagonal of the point, so these are certain; the rest is at an edge.
    assert (values_there[clearance > 0.1] < float(values["free_thresh"])).all()
    corners = points[:, None] + resolution * np.array([(-1, -1), (-1, 1), (1, -1), (1, 1), (0, 0)])
    within = (exact_clearance(obstacles_of(scene), corners.reshape(-1, 2)).reshape(-1, 5) == 0.0).all(axis=1)
    assert within.sum() > 20
    assert (values_there[within] > float(values["occupied_thresh"])).all()
    assert not np.array_equal(image, image[::-1])  # a map the wrong way up would have been noticed


@pytest.mark.parametrize(
    "wrong",
    [
        {"size_min": 1.0},
        {"size_min": 12.0, "size_max": 10.0},
        {"furniture": -1.0},
    ],
)
def test_a_config_out_of_range_is_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SceneConfig(**wrong)
