"""Numba kernels that colour what the rasteriser has made out: textures, light, exposure.

A pixel's surface is FLOOR, CEILING, OUTSIDE or 8 * box + face (faces as in kinaema_ros.sim.building.builder.FACES).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from kinaema_ros.sim.jit import fast_kernel, kernel
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

TONE_PER_UNIT = 512.0  # the tone curve has an entry every 1/512 of full intensity
FLOOR, CEILING, OUTSIDE = -1, -2, -3
_MIP_OFFSET = tuple(int(o) for o in LEVEL_OFFSET)


class View(NamedTuple):
    """The upright camera: focal lengths and principal point in pixels, height above the floor in metres."""

    fx: float
    fy: float
    cx: float
    cy: float
    z: float


class Look(NamedTuple):
    """How a building looks in some light; layouts as in kinaema_ros.sim.scene."""

    faces: np.ndarray
    materials: np.ndarray  # as ``paint_materials`` makes them
    texels: np.ndarray
    room_grid: np.ndarray
    grid_frame: np.ndarray  # x, y of the grid's corner, cells per metre
    floors: np.ndarray
    ceilings: np.ndarray
    lights: np.ndarray
    sun: float  # direction that it shines from, radians
    tone: np.ndarray  # displayed value of intensity k / TONE_PER_UNIT


class Column(NamedTuple):
    """Rays of one column of the image: at forward depth t they are at t * (dx, dy) from the camera."""

    number: int
    slope: float  # to the left, per metre forward
    dx: float
    dy: float
    stretch: float  # length of (dx, dy)


@kernel
def face_shades(boxes, sun):
    """(B, 6) brightness of the faces by their direction."""
    shade = np.empty((len(boxes), 6), np.float32)
    for b in range(len(boxes)):
        for k in range(4):
            shade[b, k] = 0.85 + 0.15 * math.cos(boxes[b, 4] + 0.5 * math.pi * k - sun)
        shade[b, 4], shade[b, 5] = 1.0, 0.55
    return shade


@fast_kernel
def shade_image(image, pose, view, frame, shade, look, depth, ident):
    """Colours every pixel.

    Columns are walked in runs of one surface: what is constant along an upright surface is computed once.
    """
    width, height = depth.shape
    cos_yaw, sin_yaw = math.cos(pose[2]), math.sin(pose[2])
    for index in range(width):
        slope = (view.cx - index - 0.5) / view.fx
        dx, dy = cos_yaw - slope * sin_yaw, sin_yaw + slope * cos_yaw
        column = Column(index, slope, dx, dy, math.sqrt(1.0 + slope * slope))
        end = 0
        while end < height:
            start, surface = end, ident[index, end]
            while end < height and ident[index, end] == surface:
                end += 1
            if surface == OUTSIDE:
                for row in range(start, end):
                    image[row, index, 0] = image[row, index, 1] = image[row, index, 2] = 0
            elif surface >= 0 and surface & 7 < 4:
                _shade_upright(image, column, start, end, pose, view, surface, frame, shade, look, depth)
            else:
                _shade_level(image, column, start, end, pose, view, surface, frame, shade, look, depth)


@fast_kernel
def _room(look, x, y):
    i = min(max(int((y - look.grid_frame[1]) * look.grid_frame[2]), 0), look.room_grid.shape[0] - 1)
    j = min(max(int((x - look.grid_frame[0]) * look.grid_frame[2]), 0), look.room_grid.shape[1] - 1)
    return look.room_grid[i, j]


@fast_kernel
def _light(lights, room, x, y):
    d2 = (x - lights[room, 0]) ** 2 + (y - lights[room, 1]) ** 2
    return lights[room, 2] + lights[room, 3] / (1.0 + d2 / lights[room, 4])


@fast_kernel
def _mip(area):
    """Mip level for a pixel that covers this many texels of the full texture."""
    level = 0
    while area > 2.0 and level < LEVELS - 1:
        area *= 0.25
        level += 1
    return level


@fast_kernel
def _shade_upright(image, column, start, end, pose, view, surface, frame, shade, look, depth):
    """A run of an upright face: where along it, the pixel's width across it and the light are constant."""
    b, face = surface >> 3, surface & 7
    axis = face & 1  # 0: the face looks along the box's x, 1: along y
    sign = 1.0 if face < 2 else -1.0
    t = depth[column.number, start]
    across = frame[b, 1 - axis] + t * (frame[b, 3 - axis] + column.slope * frame[b, 5 - axis])
    facing = -sign * (frame[b, 2 + axis] + column.slope * frame[b, 4 + axis])
    u = across * (sign if axis == 0 else -sign)
    width = t / view.fx * column.stretch / max(facing, 0.05)  # of a pixel, across the face
    # The light is that of the room in front of the surface, not behind it.
    x, y = pose[0] + (t - 0.08) * column.dx, pose[1] + (t - 0.08) * column.dy
    room = _room(look, x, y)
    material, paint, lights, texels = look.faces[b, face], look.materials, look.lights, look.texels
    glow = paint[material, EMISSION]
    light = shade[b, face] * _light(lights, room, x, y) * (1.0 - glow) + 1.2 * glow
    red = light * (lights[room, 5] * (1.0 - glow) + glow)
    green = light * (lights[room, 6] * (1.0 - glow) + glow)
    blue = light * (lights[room, 7] * (1.0 - glow) + glow)
    scale_u, scale_v = paint[material, SCALE_U], paint[material, SCALE_V]
    level = _mip(SIZE * SIZE * width * t / view.fy * abs(scale_u * scale_v))
    size = SIZE >> level
    u = u * scale_u + paint[material, OFFSET_U]
    texture = np.uintp(paint[material, TEXTURE])
    first = _MIP_OFFSET[level] + _wrap(u, size) * size
    offset_v = paint[material, OFFSET_V]
    red, green, blue = (
        red * paint[material, RED],
        green * paint[material, GREEN],
        blue * paint[material, BLUE],
    )
    bias = paint[material, CONTRAST]
    # Unsigned indices spare numba the test for negative ones, a third of the time of this loop.
    j, per_row = np.uintp(column.number), t / view.fy
    for row in range(start, end):
        height = view.z + per_row * (view.cy - row - 0.5)
        # Ambient occlusion near the floor grounds walls and furniture.
        dim = 0.8 + min(0.2, 0.6 * height)
        dim = dim + glow * (1.0 - dim)
        texel = np.uintp(first + _wrap(-(height * scale_v + offset_v), size))
        i = np.uintp(row)
        image[i, j, 0] = _tone(look.tone, (texels[texture, texel, 0] + bias) * (red * dim))
        image[i, j, 1] = _tone(look.tone, (texels[texture, texel, 1] + bias) * (green * dim))
        image[i, j, 2] = _tone(look.tone, (texels[texture, texel, 2] + bias) * (blue * dim))


@fast_kernel
def _shade_level(image, column, start, end, pose, view, surface, frame, shade, look, depth):
    """A run of a horizontal surface: floor, ceiling, or the top or bottom of a box."""
    paint, lights, texels = look.materials, look.lights, look.texels
    last_room = -1
    if surface >= 0:
        b, face = surface >> 3, surface & 7
        material, bright = look.faces[b, face], shade[b, face]
        u0, du = frame[b, 0], frame[b, 2] + column.slope * frame[b, 4]
        v0, dv = frame[b, 1], frame[b, 3] + column.slope * frame[b, 5]
    else:
        material, bright = 0, np.float32(1.0 if surface == FLOOR else 0.85)
        u0, du, v0, dv = pose[0], column.dx, pose[1], column.dy
    # The pixel's footprint: t / fx to the side, and longer along the column the flatter it is seen.
    t = depth[column.number, start]
    away = t * max(abs(view.cy - start - 0.5), 1e-3) / view.fy  # height above or below the camera
    footprint = (SIZE / view.fx) ** 2 * column.stretch / away
    j = np.uintp(column.number)
    scale_u = scale_v = offset_u = offset_v = bias = red = green = blue = glow = area = 0.0
    texture = np.uintp(0)
    for row in range(start, end):
        i = np.uintp(row)
        t = depth[j, i]
        x, y = pose[0] + t * column.dx, pose[1] + t * column.dy
        room = _room(look, x, y)
        if room != last_room:
            last_room = room
            if surface == FLOOR:
                material = look.floors[room]
            elif surface == CEILING:
                material = look.ceilings[room]
            glow, bias, texture = (
                paint[material, EMISSION],
                paint[material, CONTRAST],
                np.uintp(paint[material, TEXTURE]),
            )
            scale_u, scale_v = paint[material, SCALE_U], paint[material, SCALE_V]
            offset_u, offset_v = paint[material, OFFSET_U], paint[material, OFFSET_V]
            red = paint[material, RED] * (lights[room, 5] * (1.0 - glow) + glow)
            green = paint[material, GREEN] * (lights[room, 6] * (1.0 - glow) + glow)
            blue = paint[material, BLUE] * (lights[room, 7] * (1.0 - glow) + glow)
            area = footprint * abs(scale_u * scale_v)
        light = bright * _light(lights, room, x, y) * (1.0 - glow) + 1.2 * glow
        level = _mip(area * t * t * t)
        size = SIZE >> level
        texel = np.uintp(
            _MIP_OFFSET[level]
            + _wrap((u0 + t * du) * scale_u + offset_u, size) * size
            + _wrap(-((v0 + t * dv) * scale_v + offset_v), size)
        )
        image[i, j, 0] = _tone(look.tone, (texels[texture, texel, 0] + bias) * (red * light))
        image[i, j, 1] = _tone(look.tone, (texels[texture, texel, 1] + bias) * (green * light))
        image[i, j, 2] = _tone(look.tone, (texels[texture, texel, 2] + bias) * (blue * light))


@fast_kernel
def _wrap(coordinate, size):
    """Texel of a coordinate that repeats with period 1; the large offset makes truncation act as floor."""
    return int((coordinate + 1024.0) * size) & (size - 1)


@fast_kernel
def _tone(tone, value):
    return tone[np.uintp(min(max(int(value), 0), 1023))]


@kernel
def paint_materials(materials, exposure):
    """Materials with tint, contrast and exposure folded into two numbers a channel.

    The value on the tone curve's axis is (texel + CONTRAST) * (RED, GREEN, BLUE).
    """
    paint = materials.copy()
    for m in range(len(materials)):
        contrast = materials[m, CONTRAST]
        paint[m, CONTRAST] = 255.0 * (0.5 - 0.5 * contrast) / contrast
        for k in range(3):
            paint[m, RED + k] = contrast / 255.0 * materials[m, RED + k] * exposure[k] * TONE_PER_UNIT
    return paint
