"""Numba kernels of the renderer. Pure functions of arrays; see kinaema_ros.sim.render and .scene for layouts.

Per image: (1) the nearest full-height box of every column bounds what can be seen, (2) all other boxes are
drawn into a depth and identity buffer, (3) every pixel is shaded once (kinaema_ros.sim.shading).
"""

from __future__ import annotations

import math

import numpy as np

from kinaema_ros.sim.jit import kernel
from kinaema_ros.sim.shading import CEILING, FLOOR, OUTSIDE, face_shades, shade_image

NEAR = 0.02  # metres
FAR = 1e6


@kernel
def render_images(out, poses, view, boxes, ceiling, look):
    """Fills out (B, H, W, 3) uint8 with what the camera sees from poses (B, 3)."""
    height, width = out.shape[1], out.shape[2]
    depth = np.empty((width, height), np.float32)
    ident = np.empty((width, height), np.int32)
    wall_depth = np.empty(width, np.float32)
    wall_ident = np.empty(width, np.int32)
    shade = face_shades(boxes, look.sun)
    for n in range(len(out)):
        frame = _box_frames(boxes, poses[n], view, width)
        _draw_walls(boxes, frame, view, ceiling, wall_depth, wall_ident)
        _background(view, ceiling, wall_depth, wall_ident, depth, ident)
        for b in range(len(boxes)):
            if not (boxes[b, 5] <= 0.0 and boxes[b, 6] >= ceiling):
                _draw_box(boxes[b], b, frame[b], view, wall_depth, depth, ident)
        shade_image(out[n], poses[n], view, frame, shade, look, depth, ident)


@kernel
def _box_frames(boxes, pose, view, width):
    """Camera and view in each box's frame, (B, 8).

    Each row: camera position, the directions forward and left, first and last image column in which the box
    can be seen (last < first: not at all).
    """
    frame = np.empty((len(boxes), 8))
    cos_yaw, sin_yaw = math.cos(pose[2]), math.sin(pose[2])
    fx, cx = view.fx, view.cx
    for b in range(len(boxes)):
        dx, dy = boxes[b, 0] - pose[0], boxes[b, 1] - pose[1]
        c, s = math.cos(boxes[b, 4]), math.sin(boxes[b, 4])
        forward_x, forward_y = c * cos_yaw + s * sin_yaw, -s * cos_yaw + c * sin_yaw
        frame[b, 0], frame[b, 1] = -(c * dx + s * dy), s * dx - c * dy
        frame[b, 2], frame[b, 3] = forward_x, forward_y
        frame[b, 4], frame[b, 5] = -forward_y, forward_x
        ahead, left = cos_yaw * dx + sin_yaw * dy, -sin_yaw * dx + cos_yaw * dy
        first, last, behind = 1e9, -1e9, 0
        for k in range(4):
            a = 0.5 * boxes[b, 2] * (1 if k & 1 else -1)
            e = 0.5 * boxes[b, 3] * (1 if k & 2 else -1)
            t = ahead + a * forward_x + e * forward_y
            side = left - a * forward_y + e * forward_x
            if t < NEAR:
                behind += 1
            else:
                column = cx - fx * side / t
                first, last = min(first, column), max(last, column)
        if behind == 4:
            first, last = 1.0, 0.0
        elif behind > 0:
            first, last = 0.0, float(width)
        frame[b, 6], frame[b, 7] = max(0.0, math.floor(first)), min(width - 1.0, math.ceil(last))
    return frame


@kernel
def _cross(box, frame, slope):
    """Forward depth at which the column's ray enters and leaves the box, and the face it enters by.

    The ray's direction is forward + slope * left. It hits nothing where it leaves before it enters.
    """
    near, far, face = -FAR, FAR, 0
    half = 0.5 * box[2]
    p, q = frame[0], frame[2] + slope * frame[4]
    if abs(q) < 1e-9:
        if abs(p) > half:
            return 1.0, 0.0, 0
    else:
        a, b = (-half - p) / q, (half - p) / q
        if q > 0.0:
            near, far, face = a, b, 2
        else:
            near, far, face = b, a, 0
    half = 0.5 * box[3]
    p, q = frame[1], frame[3] + slope * frame[5]
    if abs(q) < 1e-9:
        if abs(p) > half:
            return 1.0, 0.0, 0
    else:
        a, b = (-half - p) / q, (half - p) / q
        entered = 3
        if q < 0.0:
            a, b, entered = b, a, 1
        if a > near:
            near, face = a, entered
        far = min(far, b)
    return near, far, face


@kernel
def _draw_walls(boxes, frame, view, ceiling, wall_depth, wall_ident):
    wall_depth[:] = FAR
    wall_ident[:] = OUTSIDE
    fx, cx = view.fx, view.cx
    for b in range(len(boxes)):
        if boxes[b, 5] <= 0.0 and boxes[b, 6] >= ceiling:
            for column in range(int(frame[b, 6]), int(frame[b, 7]) + 1):
                near, far, face = _cross(boxes[b], frame[b], (cx - column - 0.5) / fx)
                if near <= far and NEAR <= near < wall_depth[column]:
                    wall_depth[column] = near
                    wall_ident[column] = b * 8 + face


@kernel
def _background(view, ceiling, wall_depth, wall_ident, depth, ident):
    """Floor, ceiling and the wall between them, in every column."""
    fy, cy, z = view.fy, view.cy, view.z
    width, height = depth.shape
    for column in range(width):
        t = wall_depth[column]
        top = _row(cy - fy * (ceiling - z) / t, height)
        bottom = _row(cy + fy * z / t, height)
        for row in range(top):
            depth[column, row] = (ceiling - z) * fy / (cy - row - 0.5)
            ident[column, row] = CEILING
        for row in range(top, bottom):
            depth[column, row] = t
            ident[column, row] = wall_ident[column]
        for row in range(bottom, height):
            depth[column, row] = z * fy / (row + 0.5 - cy)
            ident[column, row] = FLOOR


@kernel
def _row(edge, height):
    """First row whose centre lies below an edge (in pixels from the top), within the image."""
    return int(min(max(math.ceil(edge - 0.5), 0.0), float(height)))


@kernel
def _draw_box(box, b, frame, view, wall_depth, depth, ident):
    fx, fy, cx, cy, z = view
    height = depth.shape[1]
    low, high = box[5] - z, box[6] - z
    for column in range(int(frame[6]), int(frame[7]) + 1):
        near, far, face = _cross(box, frame, (cx - column - 0.5) / fx)
        if near > far or far < NEAR or near >= wall_depth[column]:
            continue
        if near >= NEAR:
            for row in range(_row(cy - fy * high / near, height), _row(cy - fy * low / near, height)):
                if near < depth[column, row]:
                    depth[column, row] = near
                    ident[column, row] = b * 8 + face
        else:
            near = NEAR
        if high < 0.0:  # seen from above
            for row in range(_row(cy - fy * high / far, height), _row(cy - fy * high / near, height)):
                t = -high * fy / (row + 0.5 - cy)
                if t < depth[column, row]:
                    depth[column, row] = t
                    ident[column, row] = b * 8 + 4
        elif low > 0.0:  # seen from below
            for row in range(_row(cy - fy * low / near, height), _row(cy - fy * low / far, height)):
                t = low * fy / (cy - row - 0.5)
                if t < depth[column, row]:
                    depth[column, row] = t
                    ident[column, row] = b * 8 + 5


@kernel
def add_noise(images, deviation, seed):
    """Adds roughly Gaussian noise in place: four bytes of a 32-bit generator summed per value."""
    state = np.uint32(seed * 2654435761 + 12345)
    scale = deviation / 147.8  # deviation of the sum of four uniform bytes
    flat = images.reshape(-1)
    for n in range(flat.size):
        state ^= np.uint32(state << np.uint32(13))
        state ^= state >> np.uint32(17)
        state ^= np.uint32(state << np.uint32(5))
        total = (state & 255) + ((state >> 8) & 255) + ((state >> 16) & 255) + (state >> 24)
        value = flat[n] + scale * (float(total) - 510.0)
        flat[n] = np.uint8(min(max(value + 0.5, 0.0), 255.0))
