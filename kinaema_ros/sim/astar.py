"""A* on a grid of clearances, as a numba kernel."""

from __future__ import annotations

import math

import numpy as np

from kinaema_ros.sim.jit import kernel

COMFORT = 0.55  # metres; nearer to obstacles every metre costs up to PENALTY more
PENALTY = 2.0


@kernel
def _push(heap, cost, size, node, value):
    k = size
    while k > 0:
        parent = (k - 1) >> 1
        if cost[parent] <= value:
            break
        heap[k], cost[k] = heap[parent], cost[parent]
        k = parent
    heap[k], cost[k] = node, value
    return size + 1


@kernel
def _pop(heap, cost, size):
    node, value = heap[0], cost[0]
    size -= 1
    last, last_cost = heap[size], cost[size]
    k = 0
    while True:
        child = 2 * k + 1
        if child >= size:
            break
        if child + 1 < size and cost[child + 1] < cost[child]:
            child += 1
        if cost[child] >= last_cost:
            break
        heap[k], cost[k] = heap[child], cost[child]
        k = child
    heap[k], cost[k] = last, last_cost
    return node, value, size


@kernel
def _trace(parent, first, last, width):
    """Cells (K, 2) from first to last, along the parents of last; a cell's number is row * width + column."""
    count, node = 1, last
    while node != first:
        node, count = parent[node], count + 1
    cells, node = np.empty((count, 2), np.int64), last
    for k in range(count - 1, -1, -1):
        cells[k, 0], cells[k, 1] = node // width, node % width
        node = parent[node]
    return cells


@kernel
def shortest_path(clearance, passable, resolution, start, goal):
    """Cells (K, 2) int64 (row, column) from start to goal; empty if there is no path.

    The path leads over cells with clearance >= passable, 8-connected without cutting corners, and prefers to
    keep COMFORT away from obstacles. The start cell itself need not be passable.
    """
    height, width = clearance.shape
    first, last = start[0] * width + start[1], goal[0] * width + goal[1]
    best = np.full(height * width, np.inf)
    parent = np.full(height * width, -1)
    closed = np.zeros(height * width, np.bool_)
    heap, cost = np.empty(8 * height * width, np.int64), np.empty(8 * height * width)
    best[first] = 0.0
    size = _push(heap, cost, 0, first, 0.0)
    while size > 0:
        node, _, size = _pop(heap, cost, size)
        if node == last:
            break
        if closed[node]:
            continue
        closed[node] = True
        i, j = node // width, node % width
        for di in range(-1, 2):
            for dj in range(-1, 2):
                k, m = i + di, j + dj
                if (di == 0 and dj == 0) or k < 0 or k >= height or m < 0 or m >= width:
                    continue
                if clearance[k, m] < passable:
                    continue
                if di != 0 and dj != 0 and (clearance[i, m] < passable or clearance[k, j] < passable):
                    continue
                near = max(0.0, COMFORT - clearance[k, m]) / COMFORT
                step = resolution * math.sqrt(di * di + dj * dj) * (1.0 + PENALTY * near)
                other, value = k * width + m, best[node] + step
                if value < best[other]:
                    best[other], parent[other] = value, node
                    ahead = resolution * math.hypot(k - goal[0], m - goal[1])
                    size = _push(heap, cost, size, other, value + ahead)
    if first != last and parent[last] < 0:
        return np.empty((0, 2), np.int64)
    return _trace(parent, first, last, width)
