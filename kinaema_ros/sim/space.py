"""Free space of a scene: clearance and lines of sight. Numba kernels on plain arrays.

boxes is (B, 7): x, y, length, width, yaw, z0, z1. Grids are indexed [row = y, column = x]; the centre of
cell (i, j) lies at origin + resolution * (j + 0.5, i + 0.5).
"""

from __future__ import annotations

import math

import numpy as np

from kinaema_ros.sim.jit import kernel


@kernel
def box_distance(box, x, y):
    """Distance from a point to the footprint of a box, 0 inside."""
    c, s = math.cos(box[4]), math.sin(box[4])
    dx, dy = x - box[0], y - box[1]
    ex = max(0.0, abs(c * dx + s * dy) - 0.5 * box[2])
    ey = max(0.0, abs(-s * dx + c * dy) - 0.5 * box[3])
    return math.hypot(ex, ey)


@kernel
def clearance_field(boxes, which, origin, shape, resolution, reach):
    """Distance from each cell's centre to the nearest of the boxes selected by which, at most reach."""
    field = np.full(shape, np.float32(reach))
    for b in range(len(boxes)):
        if not which[b]:
            continue
        box = boxes[b]
        c, s = math.cos(box[4]), math.sin(box[4])
        a, e = 0.5 * box[2], 0.5 * box[3]
        hx, hy = abs(c) * a + abs(s) * e + reach, abs(s) * a + abs(c) * e + reach
        j0, j1 = int((box[0] - hx - origin[0]) / resolution), int((box[0] + hx - origin[0]) / resolution)
        i0, i1 = int((box[1] - hy - origin[1]) / resolution), int((box[1] + hy - origin[1]) / resolution)
        for i in range(max(i0, 0), min(i1 + 1, shape[0])):
            dy = origin[1] + (i + 0.5) * resolution - box[1]
            for j in range(max(j0, 0), min(j1 + 1, shape[1])):
                dx = origin[0] + (j + 0.5) * resolution - box[0]
                along, across = abs(c * dx + s * dy) - a, abs(c * dy - s * dx) - e
                if along < field[i, j] and across < field[i, j]:
                    along, across = max(along, 0.0), max(across, 0.0)
                    d = math.sqrt(along * along + across * across)
                    if d < field[i, j]:
                        field[i, j] = d
    return field


@kernel
def ray_distance(boxes, which, x, y, yaw, reach):
    """Distance along a ray to the first selected box, at most reach."""
    best = reach
    for b in range(len(boxes)):
        if which[b]:
            t = _ray_box(boxes[b], x, y, math.cos(yaw), math.sin(yaw))
            if t < best:
                best = t
    return best


@kernel
def _ray_box(box, x, y, dx, dy):
    """Where a ray enters a box's footprint (0 when it starts inside), 1e9 when it misses."""
    c, s = math.cos(box[4]), math.sin(box[4])
    px, py = c * (x - box[0]) + s * (y - box[1]), -s * (x - box[0]) + c * (y - box[1])
    qx, qy = c * dx + s * dy, -s * dx + c * dy
    near, far = 0.0, 1e9
    for p, q, half in ((px, qx, 0.5 * box[2]), (py, qy, 0.5 * box[3])):
        if abs(q) < 1e-12:
            if abs(p) > half:
                return 1e9
        else:
            a, b = (-half - p) / q, (half - p) / q
            near, far = max(near, min(a, b)), min(far, max(a, b))
    return near if near <= far else 1e9


@kernel
def line_of_sight(boxes, which, x0, y0, x1, y1):
    """Whether the straight segment between two points meets none of the selected boxes."""
    length = math.hypot(x1 - x0, y1 - y0)
    if length < 1e-9:
        return True
    dx, dy = (x1 - x0) / length, (y1 - y0) / length
    for b in range(len(boxes)):
        if which[b]:
            # Boxes whose centre is out of reach need no exact test.
            reach = length + 0.5 * math.hypot(boxes[b, 2], boxes[b, 3])
            near = (boxes[b, 0] - x0) ** 2 + (boxes[b, 1] - y0) ** 2 <= reach * reach
            if near and _ray_box(boxes[b], x0, y0, dx, dy) <= length:
                return False
    return True


@kernel
def nearest_distance(boxes, which, x, y, reach):
    """Distance from a point to the nearest selected box, at most reach."""
    best = reach
    for b in range(len(boxes)):
        if which[b]:
            d = best + 0.5 * (boxes[b, 2] + boxes[b, 3])
            if abs(boxes[b, 0] - x) < d and abs(boxes[b, 1] - y) < d:
                best = min(best, box_distance(boxes[b], x, y))
    return best
