"""Driving in a scene: differential drive with collision, path planning, path following."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from kinaema_ros.sim.astar import shortest_path
from kinaema_ros.sim.jit import kernel
from kinaema_ros.sim.scene import OccupancyGrid, Scene
from kinaema_ros.sim.space import nearest_distance

ROBOT_RADIUS = 0.2
CLEARANCE = ROBOT_RADIUS + 0.05  # metres that a planned path keeps from obstacles
PLANNER_TOLERANCE = 0.5  # metres; that of Nav2's planners by default
SUBSTEP = 0.02  # metres between collision checks

Pose = tuple[float, float, float]


def step_robot(scene: Scene, pose: Sequence[float], v: float, omega: float, dt: float) -> tuple[Pose, bool]:
    """Moves a round differential-drive robot of radius 0.2 m for dt seconds.

    pose: x, y, yaw in the scene's frame; v: forward speed (m/s); omega: yaw rate (rad/s). Returns the new
    pose and whether an obstacle stopped it. A stopped robot still turns, and may move where clearance grows.
    """
    if dt <= 0.0 or not all(math.isfinite(a) for a in (*pose, v, omega)):
        raise ValueError(
            f"drive needs dt > 0 and finite numbers, got pose {tuple(pose)}, v {v}, omega {omega}, dt {dt}"
        )
    x, y, yaw, collided = _drive(scene.boxes, scene.obstacles, pose[0], pose[1], pose[2], v, omega, dt)
    return (x, y, yaw), collided


@kernel
def _drive(boxes, obstacles, x, y, yaw, v, omega, dt):
    steps = int(max(abs(v) * dt / SUBSTEP, abs(omega) * dt / 0.1)) + 1
    h = dt / steps
    collided = False
    here = nearest_distance(boxes, obstacles, x, y, 2.0 * ROBOT_RADIUS)
    for _ in range(steps):
        # Midpoint of the arc: exact to second order.
        middle = yaw + 0.5 * omega * h
        nx, ny = x + v * h * math.cos(middle), y + v * h * math.sin(middle)
        yaw += omega * h
        there = nearest_distance(boxes, obstacles, nx, ny, 2.0 * ROBOT_RADIUS)
        if there >= ROBOT_RADIUS or there > here:
            x, y, here = nx, ny, there
        elif v != 0.0:
            collided = True
    return x, y, (yaw + math.pi) % (2.0 * math.pi) - math.pi, collided


def plan_path(
    grid: OccupancyGrid,
    start_xy: Sequence[float],
    goal_xy: Sequence[float],
    radius: float,
    tolerance: float = PLANNER_TOLERANCE,
) -> np.ndarray | None:
    """Way points (K, 2) from start to goal that keep radius away from occupied cells, or None.

    As by Nav2's planners, a goal that is inside an inflated obstacle or walled in is moved to the nearest cell within
    tolerance (m) that can be reached; from a start inside one, the path first leads to a free cell. The path prefers the middle of free space. Frame: the grid's.
    """
    free = np.ascontiguousarray(~grid.data, np.uint8)
    # Distance from cell centre to the nearest occupied cell's centre, less half a cell for its edge.
    clearance = (
        cv2.distanceTransform(free, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) * grid.resolution
        - grid.resolution / 2
    )
    start, goal = grid.cell(start_xy), grid.cell(goal_xy)
    if start is None or goal is None:
        return None
    end = np.asarray(goal_xy, float)
    passable = clearance >= radius
    nearest = _nearest(passable, start, tolerance / grid.resolution)
    if nearest is None:
        return None
    start = nearest
    # The search below does not cut corners, so that what it reaches is connected by sides.
    areas = cv2.connectedComponents(passable.astype(np.uint8), connectivity=4)[1]
    nearest = _nearest(areas == areas[start], goal, tolerance / grid.resolution)
    if nearest is None:
        return None
    if nearest != goal:
        goal = nearest
        end = _centre(grid, np.array([goal]))[0]
    cells = shortest_path(clearance, radius, grid.resolution, start, goal)
    if len(cells) == 0:
        return None
    points = np.concatenate([[np.asarray(start_xy, float)], _centre(grid, cells[1:-1]), [end]])
    return points[_shortcut(clearance, points, radius, grid.resolution, np.array(grid.origin))]


def _nearest(cells: np.ndarray, cell: tuple[int, int], reach: float) -> tuple[int, int] | None:
    """The nearest of the cells (H, W) that are true, at most ``reach`` cells away."""
    if cells[cell]:
        return cell
    rows, columns = np.nonzero(cells)
    if len(rows) == 0:
        return None
    distance = np.hypot(rows - cell[0], columns - cell[1])
    nearest = int(np.argmin(distance))
    return (int(rows[nearest]), int(columns[nearest])) if distance[nearest] <= reach else None


def _centre(grid: OccupancyGrid, cells: np.ndarray) -> np.ndarray:
    return (cells[:, ::-1] + 0.5) * grid.resolution + np.array(grid.origin)


@kernel
def _shortcut(clearance, points, radius, resolution, origin):
    """Indices of the points that remain when stretches are replaced by straight lines at most 1 m long.

    A line is about as clear as the stretch it replaces, so that the path stays in the middle of doors.
    """
    kept = np.empty(len(points), np.int64)
    kept[0], count, at = 0, 1, 0
    while at < len(points) - 1:
        ahead, least = at + 1, 1e9
        for k in range(at + 1, len(points)):
            x, y = points[k]
            if math.hypot(x - points[at, 0], y - points[at, 1]) > 1.0:
                break
            least = min(
                least, clearance[int((y - origin[1]) / resolution), int((x - origin[0]) / resolution)]
            )
            if _clear(
                clearance,
                points[at],
                points[k],
                max(radius, min(least, 1.0) - resolution),
                resolution,
                origin,
            ):
                ahead = k
        kept[count], count, at = ahead, count + 1, ahead
    return kept[:count]


@kernel
def _clear(clearance, a, b, radius, resolution, origin):
    steps = int(math.hypot(b[0] - a[0], b[1] - a[1]) / (0.5 * resolution)) + 1
    for k in range(1, steps + 1):
        x, y = a[0] + k / steps * (b[0] - a[0]), a[1] + k / steps * (b[1] - a[1])
        if clearance[int((y - origin[1]) / resolution), int((x - origin[0]) / resolution)] < radius:
            return False
    return True


class PathFollower:
    """Follows a path with smooth speeds, stops at its end and turns to the final yaw.

    Call command(pose, dt) at the control rate until done or stuck. path (K, 2) in the frame of the poses;
    goal_yaw None: no final turn.
    """

    MAX_SPEED, MAX_TURN = 0.5, 1.5  # m/s, rad/s
    ACCELERATION = 1.0  # m/s^2
    POSITION_TOLERANCE, YAW_TOLERANCE = 0.08, 0.05  # metres, radians
    LOOKAHEAD = 0.35
    STUCK_AFTER = 6.0  # seconds without progress
    PROGRESS = 0.05  # metres or radians that count as progress

    def __init__(self, path: np.ndarray, goal_yaw: float | None = None) -> None:
        self._speed = 0.0
        self._arrived = False
        self._best = math.inf
        self._idle = 0.0
        self.done = False
        self.stuck = False
        self.go_on_along(path, goal_yaw)

    def go_on_along(self, path: np.ndarray, goal_yaw: float | None) -> None:
        """Follow another path, which begins where the robot is, at the speed that it has."""
        self.path = np.asarray(path, float)
        if self.path.ndim != 2 or self.path.shape[1] != 2 or len(self.path) == 0:
            raise ValueError(f"path must be (K, 2) with K >= 1, got shape {self.path.shape}")
        self.goal_yaw = goal_yaw
        steps = np.hypot(*np.diff(self.path, axis=0).T) if len(self.path) > 1 else np.zeros(0)
        self._along = np.concatenate([[0.0], np.cumsum(steps)])
        self._at = 0.0  # metres of the path that lie behind
        self.distance_remaining = float(self._along[-1])

    def command(self, pose: Sequence[float], dt: float) -> tuple[float, float]:
        """Speeds (v, omega) for the next dt seconds at the pose x, y, yaw; zeros once done or stuck."""
        if self.done or self.stuck:
            return 0.0, 0.0
        self._locate(pose)
        gap = float(np.hypot(self.path[-1, 0] - pose[0], self.path[-1, 1] - pose[1]))
        self.distance_remaining = max(float(self._along[-1]) - self._at, gap)
        self._arrived = self._arrived or gap < self.POSITION_TOLERANCE
        if self._arrived:
            error = 0.0 if self.goal_yaw is None else _wrap(self.goal_yaw - pose[2])
            self._speed = 0.0
            self.done = bool(abs(error) < self.YAW_TOLERANCE)
            self._watch(abs(error), dt)
            return 0.0, 0.0 if self.done else self._turn(error)
        target = self._target(pose)
        error = _wrap(math.atan2(target[1] - pose[1], target[0] - pose[0]) - pose[2])
        self._watch(10.0 + self.distance_remaining + 0.3 * abs(error), dt)
        # Slow down for bends and for the end; turn on the spot when facing away.
        wish = self.MAX_SPEED * max(0.0, math.cos(error)) ** 2 if abs(error) < 1.0 else 0.0
        wish = min(wish, math.sqrt(2.0 * 0.7 * self.ACCELERATION * gap) + 0.02)
        self._speed = min(
            max(wish, self._speed - 2.0 * self.ACCELERATION * dt), self._speed + self.ACCELERATION * dt
        )
        return self._speed, self._turn(error)

    def _turn(self, error: float) -> float:
        return min(max(2.5 * error, -self.MAX_TURN), self.MAX_TURN)

    def _locate(self, pose: Sequence[float]) -> None:
        """Moves the foot point forward: the nearest point of the next metre and a half of the path."""
        best = math.inf
        for k in range(max(len(self.path) - 1, 1)):
            a, b = self.path[k], self.path[min(k + 1, len(self.path) - 1)]
            if self._along[min(k + 1, len(self._along) - 1)] < self._at or self._along[k] > self._at + 1.5:
                continue
            length = math.hypot(b[0] - a[0], b[1] - a[1])
            part = 0.0
            if length > 0.0:
                part = ((pose[0] - a[0]) * (b[0] - a[0]) + (pose[1] - a[1]) * (b[1] - a[1])) / length
                part = min(max(part, self._at - self._along[k], 0.0), length)
            ratio = part / length if length > 0.0 else 0.0
            foot = a + ratio * (b - a)
            distance = math.hypot(foot[0] - pose[0], foot[1] - pose[1])
            if distance < best - 1e-9:
                best, at = distance, float(self._along[k]) + part
        if best < math.inf:
            self._at = at

    def _target(self, pose: Sequence[float]) -> tuple[float, float]:
        """The point of the path one look-ahead beyond the foot point."""
        ahead = self._at + self.LOOKAHEAD
        return (
            float(np.interp(ahead, self._along, self.path[:, 0])),
            float(np.interp(ahead, self._along, self.path[:, 1])),
        )

    def _watch(self, remaining: float, dt: float) -> None:
        if remaining < self._best - self.PROGRESS:
            self._best, self._idle = remaining, 0.0
        else:
            self._idle += dt
            self.stuck = self._idle > self.STUCK_AFTER and not self.done


def _wrap(angle: float) -> float:
    return (angle + math.pi) % (2.0 * math.pi) - math.pi
