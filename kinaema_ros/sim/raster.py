"""Numba kernels of the renderer. Pure functions of arrays; see kinaema_ros.sim.render and .scene for layouts.

Per image: (1) the nearest full-height box of every column bounds what can be seen, (2) all other boxes are
drawn into a depth and identity buffer, (3) every pixel is shaded once.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from kinaema_ros.sim.materials import (
    BLUE,
    CONTRAST,
    EMISSION,
    GREEN,
    LEVEL_OFFSET,
    LEVELS,
    OFFSET_U,
    OFFSET_V,
    RED,
    SCALE_U,
    SCALE_V,
    SIZE,
    TEXTURE,
)

NEAR = 0.02  # metres
FAR = 1e6
TONE_PER_UNIT = 512.0
FLOOR, CEILING, OUTSIDE = -1, -2, -3
_MIP_OFFSET = tuple(int(o) for o in LEVEL_OFFSET)


@njit(cache=True, nogil=True, error_model="numpy")
def render_images(out, poses, intrinsics, boxes, faces, materials, texels, room_grid, grid_frame, floors, ceilings,
                  lights, ceiling, sun, exposure, tone):
    """Fills out (B, H, W, 3) uint8. intrinsics: fx, fy, cx, cy, camera height. grid_frame: x, y of the grid's
    corner, cells per metre. tone: displayed value of intensity k / TONE_PER_UNIT."""
    height, width = out.shape[1], out.shape[2]
    depth = np.empty((width, height), np.float32)
    ident = np.empty((width, height), np.int32)
    wall_depth = np.empty(width, np.float32)
    wall_ident = np.empty(width, np.int32)
    shade = _face_shades(boxes, sun)
    paint = _paint(materials, exposure)
    for n in range(len(out)):
        frame = _box_frames(boxes, poses[n], intrinsics, width)
        _draw_walls(boxes, frame, intrinsics, ceiling, wall_depth, wall_ident)
        _background(intrinsics, ceiling, wall_depth, wall_ident, depth, ident)
        for b in range(len(boxes)):
            if not (boxes[b, 5] <= 0.0 and boxes[b, 6] >= ceiling):
                _draw_box(boxes[b], b, frame[b], intrinsics, wall_depth, depth, ident)
        _shade(out[n], poses[n], intrinsics, faces, frame, shade, paint, texels, room_grid, grid_frame, floors,
               ceilings, lights, tone, depth, ident)


@njit(cache=True, nogil=True, error_model="numpy")
def _face_shades(boxes, sun):
    """(B, 6) brightness of the faces by their direction."""
    shade = np.empty((len(boxes), 6), np.float32)
    for b in range(len(boxes)):
        for k in range(4):
            shade[b, k] = 0.85 + 0.15 * math.cos(boxes[b, 4] + 0.5 * math.pi * k - sun)
        shade[b, 4], shade[b, 5] = 1.0, 0.55
    return shade


@njit(cache=True, nogil=True, error_model="numpy")
def _box_frames(boxes, pose, intrinsics, width):
    """(B, 8): camera position and the directions forward and left in each box's frame, first and last column
    the box can be seen in (last < first: not at all)."""
    frame = np.empty((len(boxes), 8))
    cos_yaw, sin_yaw = math.cos(pose[2]), math.sin(pose[2])
    fx, cx = intrinsics[0], intrinsics[2]
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


@njit(cache=True, nogil=True, error_model="numpy")
def _cross(box, frame, slope):
    """Forward depth at which the column's ray enters and leaves the box, and the face it enters by.
    The ray's direction is forward + slope * left. Leaves before it enters: no hit."""
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


@njit(cache=True, nogil=True, error_model="numpy")
def _draw_walls(boxes, frame, intrinsics, ceiling, wall_depth, wall_ident):
    wall_depth[:] = FAR
    wall_ident[:] = OUTSIDE
    fx, cx = intrinsics[0], intrinsics[2]
    for b in range(len(boxes)):
        if boxes[b, 5] <= 0.0 and boxes[b, 6] >= ceiling:
            for column in range(int(frame[b, 6]), int(frame[b, 7]) + 1):
                near, far, face = _cross(boxes[b], frame[b], (cx - column - 0.5) / fx)
                if near <= far and NEAR <= near < wall_depth[column]:
                    wall_depth[column] = near
                    wall_ident[column] = b * 8 + face


@njit(cache=True, nogil=True, error_model="numpy")
def _background(intrinsics, ceiling, wall_depth, wall_ident, depth, ident):
    """Floor, ceiling and the wall between them, in every column."""
    fy, cy, z = intrinsics[1], intrinsics[3], intrinsics[4]
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


@njit(cache=True, nogil=True, error_model="numpy")
def _row(edge, height):
    """First row whose centre lies below an edge (in pixels from the top), within the image."""
    return int(min(max(math.ceil(edge - 0.5), 0.0), float(height)))


@njit(cache=True, nogil=True, error_model="numpy")
def _draw_box(box, b, frame, intrinsics, wall_depth, depth, ident):
    fx, fy, cx, cy, z = intrinsics[0], intrinsics[1], intrinsics[2], intrinsics[3], intrinsics[4]
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


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _shade(image, pose, intrinsics, faces, frame, shade, paint, texels, room_grid, grid_frame, floors, ceilings,
           lights, tone, depth, ident):
    """Colours every pixel. Columns are walked in runs of one surface: what is constant along an upright
    surface is computed once a run."""
    fx, fy, cx, cy, z = intrinsics[0], intrinsics[1], intrinsics[2], intrinsics[3], intrinsics[4]
    width, height = depth.shape
    cos_yaw, sin_yaw = math.cos(pose[2]), math.sin(pose[2])
    for column in range(width):
        slope = (cx - column - 0.5) / fx
        dx, dy = cos_yaw - slope * sin_yaw, sin_yaw + slope * cos_yaw
        stretch = math.sqrt(1.0 + slope * slope)
        end = 0
        while end < height:
            start, surface = end, ident[column, end]
            while end < height and ident[column, end] == surface:
                end += 1
            if surface == OUTSIDE:
                for row in range(start, end):
                    image[row, column, 0] = image[row, column, 1] = image[row, column, 2] = 0
            elif surface >= 0 and surface & 7 < 4:
                b, face = surface >> 3, surface & 7
                axis = face & 1  # 0: the face looks along the box's x, 1: along y
                sign = 1.0 if face < 2 else -1.0
                t = depth[column, start]
                across = frame[b, 1 - axis] + t * (frame[b, 3 - axis] + slope * frame[b, 5 - axis])
                facing = -sign * (frame[b, 2 + axis] + slope * frame[b, 4 + axis])
                u = across * (sign if axis == 0 else -sign)
                # The light is that of the room in front of the surface, not behind it.
                x, y = pose[0] + (t - 0.08) * dx, pose[1] + (t - 0.08) * dy
                _shade_upright(image, column, start, end, cy, fy, z, t, u, t / fx * stretch / max(facing, 0.05),
                               x, y, faces[b, face], shade[b, face], paint, texels, _room(room_grid, grid_frame, x, y),
                               lights, tone)
            else:
                _shade_level(image, column, start, end, pose, intrinsics, slope, dx, dy, stretch, surface, faces, frame,
                             shade, paint, texels, room_grid, grid_frame, floors, ceilings, lights, tone, depth)


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _room(room_grid, grid_frame, x, y):
    i = min(max(int((y - grid_frame[1]) * grid_frame[2]), 0), room_grid.shape[0] - 1)
    j = min(max(int((x - grid_frame[0]) * grid_frame[2]), 0), room_grid.shape[1] - 1)
    return room_grid[i, j]


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _light(lights, room, x, y):
    d2 = (x - lights[room, 0]) ** 2 + (y - lights[room, 1]) ** 2
    return lights[room, 2] + lights[room, 3] / (1.0 + d2 / lights[room, 4])


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _mip(area):
    """Mip level for a pixel that covers this many texels of the full texture."""
    level = 0
    while area > 2.0 and level < LEVELS - 1:
        area *= 0.25
        level += 1
    return level


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _shade_upright(image, column, start, end, cy, fy, z, t, u, across, x, y, material, shade, paint, texels, room,
                   lights, tone):
    """A run of an upright face: u (m along the face), the pixel's width across it and the light are constant."""
    glow = paint[material, EMISSION]
    light = shade * _light(lights, room, x, y) * (1.0 - glow) + 1.2 * glow
    red = light * (lights[room, 5] * (1.0 - glow) + glow)
    green = light * (lights[room, 6] * (1.0 - glow) + glow)
    blue = light * (lights[room, 7] * (1.0 - glow) + glow)
    scale_u, scale_v = paint[material, SCALE_U], paint[material, SCALE_V]
    level = _mip(SIZE * SIZE * across * t / fy * abs(scale_u * scale_v))
    size = SIZE >> level
    u = u * scale_u + paint[material, OFFSET_U]
    texture = np.uintp(paint[material, TEXTURE])
    first = _MIP_OFFSET[level] + _wrap(u, size) * size
    offset_v = paint[material, OFFSET_V]
    red, green, blue = red * paint[material, RED], green * paint[material, GREEN], blue * paint[material, BLUE]
    bias = paint[material, CONTRAST]
    # Unsigned indices spare numba the test for negative ones, a third of the time of this loop.
    j, per_row = np.uintp(column), t / fy
    for row in range(start, end):
        height = z + per_row * (cy - row - 0.5)
        # Ambient occlusion near the floor grounds walls and furniture.
        dim = 0.8 + min(0.2, 0.6 * height)
        dim = dim + glow * (1.0 - dim)
        texel = np.uintp(first + _wrap(-(height * scale_v + offset_v), size))
        i = np.uintp(row)
        image[i, j, 0] = _tone(tone, (texels[texture, texel, 0] + bias) * (red * dim))
        image[i, j, 1] = _tone(tone, (texels[texture, texel, 1] + bias) * (green * dim))
        image[i, j, 2] = _tone(tone, (texels[texture, texel, 2] + bias) * (blue * dim))


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _shade_level(image, column, start, end, pose, intrinsics, slope, dx, dy, stretch, surface, faces, frame, shade,
                 paint, texels, room_grid, grid_frame, floors, ceilings, lights, tone, depth):
    """A run of a horizontal surface: floor, ceiling, or the top or bottom of a box."""
    last_room = -1
    if surface >= 0:
        b, face = surface >> 3, surface & 7
        material, bright = faces[b, face], shade[b, face]
        u0, du = frame[b, 0], frame[b, 2] + slope * frame[b, 4]
        v0, dv = frame[b, 1], frame[b, 3] + slope * frame[b, 5]
    else:
        material, bright = 0, np.float32(1.0 if surface == FLOOR else 0.85)
        u0, du, v0, dv = pose[0], dx, pose[1], dy
    # The pixel's footprint: t / fx to the side, and longer along the column the flatter it is seen.
    t = depth[column, start]
    away = t * max(abs(intrinsics[3] - start - 0.5), 1e-3) / intrinsics[1]  # height above or below the camera
    footprint = (SIZE / intrinsics[0]) ** 2 * stretch / away
    j = np.uintp(column)
    scale_u = scale_v = offset_u = offset_v = bias = red = green = blue = glow = area = 0.0
    texture = np.uintp(0)
    for row in range(start, end):
        i = np.uintp(row)
        t = depth[j, i]
        x, y = pose[0] + t * dx, pose[1] + t * dy
        room = _room(room_grid, grid_frame, x, y)
        if room != last_room:
            last_room = room
            if surface == FLOOR:
                material = floors[room]
            elif surface == CEILING:
                material = ceilings[room]
            glow, bias, texture = paint[material, EMISSION], paint[material, CONTRAST], np.uintp(paint[material, TEXTURE])
            scale_u, scale_v = paint[material, SCALE_U], paint[material, SCALE_V]
            offset_u, offset_v = paint[material, OFFSET_U], paint[material, OFFSET_V]
            red = paint[material, RED] * (lights[room, 5] * (1.0 - glow) + glow)
            green = paint[material, GREEN] * (lights[room, 6] * (1.0 - glow) + glow)
            blue = paint[material, BLUE] * (lights[room, 7] * (1.0 - glow) + glow)
            area = footprint * abs(scale_u * scale_v)
        light = bright * _light(lights, room, x, y) * (1.0 - glow) + 1.2 * glow
        level = _mip(area * t * t * t)
        size = SIZE >> level
        texel = np.uintp(_MIP_OFFSET[level] + _wrap((u0 + t * du) * scale_u + offset_u, size) * size
                         + _wrap(-((v0 + t * dv) * scale_v + offset_v), size))
        image[i, j, 0] = _tone(tone, (texels[texture, texel, 0] + bias) * (red * light))
        image[i, j, 1] = _tone(tone, (texels[texture, texel, 1] + bias) * (green * light))
        image[i, j, 2] = _tone(tone, (texels[texture, texel, 2] + bias) * (blue * light))


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _wrap(coordinate, size):
    """Texel of a coordinate that repeats with period 1; the large offset makes truncation act as floor."""
    return int((coordinate + 1024.0) * size) & (size - 1)


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _tone(tone, value):
    return tone[np.uintp(min(max(int(value), 0), 1023))]


@njit(cache=True, nogil=True, error_model="numpy")
def _paint(materials, exposure):
    """Materials with tint, contrast and exposure folded into two numbers a channel: value on the tone curve's
    axis = (texel + CONTRAST) * (RED, GREEN, BLUE)."""
    paint = materials.copy()
    for m in range(len(materials)):
        contrast = materials[m, CONTRAST]
        paint[m, CONTRAST] = 255.0 * (0.5 - 0.5 * contrast) / contrast
        for k in range(3):
            paint[m, RED + k] = contrast / 255.0 * materials[m, RED + k] * exposure[k] * TONE_PER_UNIT
    return paint


@njit(cache=True, nogil=True, error_model="numpy")
def warp(images, homography, height, width):
    """(B, height, width, 3) uint8: bilinear look-up of images at homography * (column, row, 1), pixel corners."""
    out = np.empty((len(images), height, width, 3), np.uint8)
    h = homography
    for row in range(height):
        for column in range(width):
            c, r = column + 0.5, row + 0.5
            w = h[2, 0] * c + h[2, 1] * r + h[2, 2]
            x = (h[0, 0] * c + h[0, 1] * r + h[0, 2]) / w - 0.5
            y = (h[1, 0] * c + h[1, 1] * r + h[1, 2]) / w - 0.5
            j = min(max(int(x), 0), images.shape[2] - 2)
            i = min(max(int(y), 0), images.shape[1] - 2)
            a, b = min(max(x - j, 0.0), 1.0), min(max(y - i, 0.0), 1.0)
            for n in range(len(images)):
                for k in range(3):
                    top = images[n, i, j, k] * (1 - a) + images[n, i, j + 1, k] * a
                    bottom = images[n, i + 1, j, k] * (1 - a) + images[n, i + 1, j + 1, k] * a
                    out[n, row, column, k] = np.uint8(top * (1 - b) + bottom * b + 0.5)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
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
