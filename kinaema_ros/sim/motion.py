"""Robot motion in a scene: exploration, viewpoints near and far from a path, odometry that drifts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from kinaema_ros import geometry
from kinaema_ros.settings import check, setting
from kinaema_ros.sim.astar import shortest_path
from kinaema_ros.sim.jit import kernel
from kinaema_ros.sim.scene import GRID, MARGIN, PASSABLE, Scene
from kinaema_ros.sim.space import line_of_sight, nearest_distance, ray_distance

MAX_TURN = math.radians(25.0)  # a step
LOOKAHEAD = 15  # cells of the path
WALL_DISTANCE = 0.5  # a viewpoint does not face a wall closer than this
UNSEEN_DISTANCE = 3.0


def explore(scene: Scene, rng: np.random.Generator, steps: int) -> np.ndarray:
    """True poses (steps, 3) x, y, yaw of a robot wandering through the rooms of a scene.

    Each step drives 0.2 to 0.3 m (less on arrival) straight or along a bend of at most 25 degrees, or turns
    on the spot by at most 25 degrees. The robot drives between random waypoints in rooms little visited,
    so that rooms are covered and corridors revisited, and now and then looks around. It keeps 0.25 m clear.
    """
    if steps < 1:
        raise ValueError(f"steps {steps} must be positive")
    cells = np.argwhere(scene.reachable)
    rooms = scene.room_grid[cells[:, 0], cells[:, 1]]
    order = np.argsort(rooms, kind="stable")
    bounds = np.searchsorted(rooms[order], np.arange(len(scene.rooms) + 1))
    return _wander(scene.clearance, cells[order], bounds, scene.room_grid, steps, int(rng.integers(2**31)))


@kernel
def _wander(clearance, cells, bounds, room_grid, steps, seed):
    np.random.seed(seed)
    poses = np.empty((steps, 3))
    visits = np.zeros(len(bounds) - 1)
    start = cells[np.random.randint(len(cells))]
    x, y, yaw = _centre(start[1]), _centre(start[0]), np.random.uniform(-math.pi, math.pi)
    path, at = np.empty((0, 2), np.int64), 0
    look, turn = 0, 0.0
    for n in range(steps):
        poses[n] = x, y, yaw
        if look > 0:  # looking around
            look -= 1
            yaw = _wrap(yaw + turn)
            continue
        while at >= len(path) - 1:
            goal = _next_goal(cells, bounds, room_grid, visits, x, y)
            path, at = shortest_path(clearance, PASSABLE, GRID, (_cell(y), _cell(x)), (goal[0], goal[1])), 0
        # Head for the farthest cell of the path in sight.
        ahead = min(at + LOOKAHEAD, len(path) - 1)
        while ahead > at + 1 and not _open(clearance, x, y, _centre(path[ahead, 1]), _centre(path[ahead, 0])):
            ahead -= 1
        tx, ty = _centre(path[ahead, 1]), _centre(path[ahead, 0])
        error = _wrap(math.atan2(ty - y, tx - x) - yaw)
        if abs(error) > MAX_TURN:
            yaw = _wrap(yaw + math.copysign(np.random.uniform(0.7, 1.0) * MAX_TURN, error))
            continue
        left = math.hypot(tx - x, ty - y)
        step = min(np.random.uniform(0.2, 0.3), left)
        if left > 1e-6:
            yaw = _wrap(yaw + error)
            x, y = x + step * math.cos(yaw), y + step * math.sin(yaw)
        # Progress along the path: the nearest of the cells up to the target.
        nearest = 1e9
        for k in range(at, ahead + 1):
            d = math.hypot(_centre(path[k, 1]) - x, _centre(path[k, 0]) - y)
            if d <= nearest:
                nearest, at = d, k
        if at >= len(path) - 1:
            visits[room_grid[_cell(y), _cell(x)]] += 1.0
            if np.random.random() < 0.3:
                look = np.random.randint(3, 16)
                turn = np.random.choice(np.array((-1.0, 1.0))) * np.random.uniform(0.6, 1.0) * MAX_TURN
    return poses


@kernel
def _next_goal(cells, bounds, room_grid, visits, x, y):
    """A random cell of a random room; rooms little visited and near ones are preferred."""
    here = room_grid[_cell(y), _cell(x)]
    weights = np.zeros(len(visits))
    for room in range(len(visits)):
        if bounds[room + 1] > bounds[room]:
            sample = cells[(bounds[room] + bounds[room + 1]) // 2]
            distance = math.hypot(_centre(sample[1]) - x, _centre(sample[0]) - y)
            weights[room] = math.exp(-distance / 4.0) / (1.0 + visits[room]) ** 2
            if room == here:
                weights[room] *= 0.3
    room = np.searchsorted(np.cumsum(weights), np.random.random() * weights.sum())
    room = min(room, len(weights) - 1)
    if bounds[room + 1] == bounds[room]:
        return cells[np.random.randint(len(cells))]
    return cells[np.random.randint(bounds[room], bounds[room + 1])]


@kernel
def _cell(coordinate):
    return int((coordinate + MARGIN) / GRID)


@kernel
def _centre(cell):
    return (cell + 0.5) * GRID - MARGIN


@kernel
def _wrap(angle):
    return (angle + math.pi) % (2.0 * math.pi) - math.pi


@kernel
def _open(clearance, x0, y0, x1, y1):
    """Whether a straight drive passes only cells with enough clearance."""
    count = int(math.hypot(x1 - x0, y1 - y0) / (0.4 * GRID)) + 1
    for k in range(count + 1):
        a = k / count
        if clearance[_cell(y0 + a * (y1 - y0)), _cell(x0 + a * (x1 - x0))] < PASSABLE:
            return False
    return True


def sample_viewpoints(
    scene: Scene,
    rng: np.random.Generator,
    poses: np.ndarray,
    n: int,
    max_distance: float = 1.0,
    max_angle: float = math.radians(40.0),
) -> tuple[np.ndarray, np.ndarray]:
    """Viewpoints (n, 3) near poses (T, 3) of a path, and the path index (n,) each belongs to.

    The index is uniform; the offset is uniform in the disc of max_distance (m), the yaw offset uniform within
    max_angle (rad). Viewpoints have 0.2 m clearance, a line of sight to their pose, and face no wall nearer
    than 0.5 m.
    """
    return _near(
        scene.boxes,
        scene.obstacles,
        scene.sight_blockers,
        np.array(scene.size),
        np.asarray(poses, float),
        n,
        max_distance,
        max_angle,
        int(rng.integers(2**31)),
    )


@kernel
def _near(boxes, obstacles, blockers, size, poses, n, max_distance, max_angle, seed):
    np.random.seed(seed)
    views, source = np.empty((n, 3)), np.empty(n, np.int64)
    for k in range(n):
        source[k] = np.random.randint(len(poses))
        for attempt in range(1000):
            if attempt % 50 == 49:  # a pose with hardly any good viewpoint around it
                source[k] = np.random.randint(len(poses))
            x0, y0, yaw0 = poses[source[k]]
            r, a = max_distance * math.sqrt(np.random.random()), np.random.uniform(-math.pi, math.pi)
            x, y = x0 + r * math.cos(a), y0 + r * math.sin(a)
            yaw = _wrap(yaw0 + np.random.uniform(-max_angle, max_angle))
            if _good_view(boxes, obstacles, blockers, size, x, y, yaw) and line_of_sight(
                boxes, blockers, x0, y0, x, y
            ):
                break
        else:
            x, y, yaw = x0, y0, yaw0
        views[k] = x, y, yaw
    return views, source


@kernel
def _good_view(boxes, obstacles, blockers, size, x, y, yaw):
    return (
        0.0 < x < size[0]
        and 0.0 < y < size[1]
        and nearest_distance(boxes, obstacles, x, y, 0.2) >= 0.2
        and ray_distance(boxes, blockers, x, y, yaw, WALL_DISTANCE) >= WALL_DISTANCE
    )


def sample_unseen_viewpoints(scene: Scene, rng: np.random.Generator, poses: np.ndarray, n: int) -> np.ndarray:
    """Up to n viewpoints (m, 3) of places the path never came near: no pose is within 3 m in line of sight.

    Fewer (even none) come back when the path has been almost everywhere.
    """
    cells = np.argwhere(scene.reachable)
    return _unseen(
        scene.boxes,
        scene.obstacles,
        scene.sight_blockers,
        np.array(scene.size),
        cells,
        np.asarray(poses, float),
        n,
        int(rng.integers(2**31)),
    )


@kernel
def _unseen(boxes, obstacles, blockers, size, cells, poses, n, seed):
    np.random.seed(seed)
    views, count = np.empty((n, 3)), 0
    for _ in range(30 * n):
        if count == n:
            break
        cell = cells[np.random.randint(len(cells))]
        x, y = (
            _centre(cell[1] + np.random.uniform(-0.5, 0.5)),
            _centre(cell[0] + np.random.uniform(-0.5, 0.5)),
        )
        yaw = np.random.uniform(-math.pi, math.pi)
        if not _good_view(boxes, obstacles, blockers, size, x, y, yaw):
            continue
        for pose in poses:
            near = math.hypot(pose[0] - x, pose[1] - y) <= UNSEEN_DISTANCE
            if near and line_of_sight(boxes, blockers, pose[0], pose[1], x, y):
                break
        else:
            views[count] = x, y, yaw
            count += 1
    return views[:count]


@dataclass(frozen=True)
class OdometryNoise:
    """Errors of odometry per step: fraction of the distance driven (along, across), and degrees of yaw.

    Both are standard deviations of independent Gaussian errors; a robot at rest makes no error. Raises
    ValueError for one out of range. A step is a quarter of a metre, or 25 degrees.
    """

    fraction: float = setting(
        0.02, "Error of the odometry's position, of the distance, per quarter of a metre", low=0.0, high=1.0
    )
    degrees: float = setting(
        0.2, "Error of the odometry's heading per quarter of a metre or 25 degrees", low=0.0, high=45.0
    )

    def __post_init__(self) -> None:
        check(self)


def integrate_odometry(poses: np.ndarray, noise: OdometryNoise, rng: np.random.Generator) -> np.ndarray:
    """Odometry (T, 3) of a robot whose true poses are (T, 3): starts at the identity and drifts."""
    poses = np.asarray(poses, float)
    steps = geometry.between(poses[:-1], poses[1:])
    distance = np.hypot(steps[:, 0], steps[:, 1])
    moved = (distance > 1e-9) | (np.abs(steps[:, 2]) > 1e-9)
    noisy = steps + rng.standard_normal(steps.shape) * np.stack(
        [noise.fraction * distance, noise.fraction * distance, math.radians(noise.degrees) * moved], axis=1
    )
    yaw = np.concatenate([[0.0], np.cumsum(noisy[:, 2])])
    c, s = np.cos(yaw[:-1]), np.sin(yaw[:-1])
    x = np.concatenate([[0.0], np.cumsum(c * noisy[:, 0] - s * noisy[:, 1])])
    y = np.concatenate([[0.0], np.cumsum(s * noisy[:, 0] + c * noisy[:, 1])])
    return np.stack([x, y, geometry.wrap_angle(yaw)], axis=1)
