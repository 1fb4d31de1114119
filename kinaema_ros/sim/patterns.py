"""Procedural texture patterns: functions from a random generator to a (128, 128, 3) float image in [0, 1].

Row 0 is the top of the image. Patterns that cover large surfaces tile seamlessly.
"""

from __future__ import annotations

import colorsys

import cv2
import numpy as np

SIZE = 128
Image = np.ndarray


def _colour(
    rng: np.random.Generator,
    saturation: tuple[float, float] = (0.0, 0.7),
    value: tuple[float, float] = (0.3, 0.95),
) -> np.ndarray:
    """A random RGB colour, uniform in hue."""
    return np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value)))


def _noise(rng: np.random.Generator, slope: float, stretch: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    """Tileable noise (SIZE, SIZE), zero mean and unit deviation, spectrum ~ frequency^-slope."""
    fy = np.fft.fftfreq(SIZE)[:, None] * SIZE * stretch[1]
    fx = np.fft.rfftfreq(SIZE)[None, :] * SIZE * stretch[0]
    spectrum = np.fft.rfft2(rng.standard_normal((SIZE, SIZE))) / (1.0 + np.hypot(fx, fy)) ** slope
    spectrum[0, 0] = 0.0
    noise = np.fft.irfft2(spectrum, s=(SIZE, SIZE))
    return noise / noise.std()


def _tinted(colour: np.ndarray, field: np.ndarray, amount: float) -> Image:
    return colour * (1.0 + amount * field[..., None])


def _grid() -> tuple[np.ndarray, np.ndarray]:
    """Texture coordinates (u, v), each (SIZE, SIZE) in [0, 1), u along columns."""
    v, u = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    return u, v


def plaster(rng: np.random.Generator) -> Image:
    """Plain plaster, slightly cloudy."""
    return _tinted(_colour(rng, (0.0, 0.25), (0.7, 0.9)), _noise(rng, rng.uniform(0.5, 1.5)), 0.05)


def wallpaper(rng: np.random.Generator) -> Image:
    """Stripes, dots, waves, diamonds or plaid in two or three colours."""
    u, v = _grid()
    base, other = _colour(rng, (0.05, 0.5), (0.6, 0.95)), _colour(rng, (0.1, 0.7), (0.35, 0.9))
    n = int(rng.integers(2, 7))
    style = rng.integers(6)
    if style == 0:
        mask = ((u * n) % 1.0) < rng.uniform(0.2, 0.6)
    elif style == 1:
        offset = 0.5 * (np.floor(v * n) % 2)
        mask = np.hypot((u * n + offset) % 1.0 - 0.5, (v * n) % 1.0 - 0.5) < rng.uniform(0.15, 0.4)
    elif style == 2:
        mask = ((v * n + 0.25 * np.sin(2 * np.pi * u * int(rng.integers(1, 4)))) % 1.0) < 0.4
    elif style == 3:
        mask = np.abs((u * n) % 1.0 - 0.5) + np.abs((v * n) % 1.0 - 0.5) < rng.uniform(0.2, 0.45)
    elif style == 4:
        mask = 0.5 * (((u * n) % 1.0) < 0.35) + 0.5 * (((v * n) % 1.0) < 0.35)
    else:
        mask = (_noise(rng, 2.0) + 0.4 * _noise(rng, 1.2)) > rng.uniform(0.0, 0.8)
    image = base + np.asarray(mask, float)[..., None] * (other - base)
    return image * (1.0 + 0.03 * _noise(rng, 0.5)[..., None])


def bricks(rng: np.random.Generator) -> Image:
    """A brick wall, each second row shifted by half a brick."""
    rows, columns = int(rng.integers(4, 9)) * 2 // 2 * 2, int(rng.integers(2, 5))
    return _blocks(rng, rows, columns, 0.5, _colour(rng, (0.2, 0.6), (0.4, 0.8)), 0.12, 0.06)


def tiles(rng: np.random.Generator) -> Image:
    """Square tiles in one colour, or in two like a chessboard."""
    n = int(rng.integers(1, 5)) * 2
    image = _blocks(rng, n, n, 0.0, _colour(rng, (0.0, 0.4), (0.45, 0.95)), 0.05, 0.03)
    if rng.random() < 0.5:
        u, v = _grid()
        check = ((np.floor(u * n) + np.floor(v * n)) % 2)[..., None]
        image = image * (1.0 - check * (1.0 - _colour(rng, (0.0, 0.5), (0.25, 0.9))))
    return image


def planks(rng: np.random.Generator) -> Image:
    """Floor boards with grain along them."""
    rows = int(rng.integers(2, 5)) * 2
    image = _blocks(rng, rows, int(rng.integers(1, 3)), rng.random(), _wood_colour(rng), 0.14, 0.012)
    return image * (1.0 + 0.09 * _noise(rng, 0.8, (5.0, 0.5))[..., None])


def _blocks(
    rng: np.random.Generator,
    rows: int,
    columns: int,
    shift: float,
    colour: np.ndarray,
    variation: float,
    joint: float,
) -> Image:
    """Rows of rectangular blocks with joints; every second row is shifted by a fraction of a block."""
    u, v = _grid()
    row = np.floor(v * rows).astype(int)
    x = u * columns + shift * (row % 2)
    column = np.floor(x).astype(int) % columns
    shade = 1.0 + variation * rng.standard_normal((rows, columns))[row, column]
    image = _tinted(colour, _noise(rng, 0.6), 0.05) * shade[..., None]
    near_joint = (np.minimum(x % 1.0, 1.0 - x % 1.0) / columns < joint / 2) | (
        (v * rows) % 1.0 < joint * rows / 2
    )
    return np.where(near_joint[..., None], colour.mean() * rng.choice([0.5, 1.3]), image)


def _wood_colour(rng: np.random.Generator) -> np.ndarray:
    return np.array(
        colorsys.hsv_to_rgb(rng.uniform(0.05, 0.11), rng.uniform(0.25, 0.65), rng.uniform(0.3, 0.85))
    )


def wood(rng: np.random.Generator) -> Image:
    """The grain of one piece of wood."""
    grain = _noise(rng, 1.0, (6.0, 0.4)) + 0.5 * np.sin(8.0 * _noise(rng, 2.0, (3.0, 1.0)))
    return _tinted(_wood_colour(rng), grain, 0.08)


def carpet(rng: np.random.Generator) -> Image:
    """A speckled carpet."""
    speckle = 0.7 * _noise(rng, 0.0) + 0.5 * _noise(rng, 1.5)
    return _tinted(_colour(rng, (0.05, 0.6), (0.25, 0.75)), speckle, 0.13)


def fabric(rng: np.random.Generator) -> Image:
    """Cloth: striped, plaid or plain."""
    u, v = _grid()
    image = _tinted(_colour(rng, (0.1, 0.8), (0.25, 0.85)), _noise(rng, 0.4), 0.08)
    style = rng.integers(3)
    if style == 0:
        stripe = ((u * int(rng.integers(3, 9))) % 1.0 < 0.4)[..., None]
        image = np.where(stripe, image, image * _colour(rng, (0.0, 0.6), (0.5, 1.0)))
    elif style == 1:
        n = int(rng.integers(3, 8))
        plaid = 1.0 - 0.25 * ((u * n) % 1.0 < 0.4) - 0.25 * ((v * n) % 1.0 < 0.4)
        image = image * plaid[..., None]
    return image


def rug(rng: np.random.Generator) -> Image:
    """A bordered carpet, made to be stretched over its whole surface."""
    u, v = _grid()
    edge = np.minimum(np.minimum(u, 1 - u), np.minimum(v, 1 - v))
    image = _tinted(_colour(rng, (0.3, 0.8), (0.3, 0.7)), _noise(rng, 0.3), 0.1)
    for inner in np.sort(rng.uniform(0.03, 0.4, int(rng.integers(1, 4)))):
        colour = _colour(rng, (0.2, 0.9), (0.25, 0.9))
        image = np.where((edge > inner)[..., None], _tinted(colour, _noise(rng, 0.3), 0.1), image)
    if rng.random() < 0.6:
        n = int(rng.integers(2, 6))
        diamond = np.abs((u * n) % 1.0 - 0.5) + np.abs((v * n) % 1.0 - 0.5) < 0.3
        image = np.where((diamond & (edge > 0.15))[..., None], _colour(rng, (0.2, 0.8), (0.3, 0.95)), image)
    return image


def picture(rng: np.random.Generator) -> Image:
    """A framed picture: landscape, shapes, blobs or stripes."""
    u, v = _grid()
    image = np.ones((SIZE, SIZE, 3)) * _colour(rng, (0.0, 0.6), (0.4, 1.0))
    style = rng.integers(4)
    if style == 0:
        horizon = rng.uniform(0.35, 0.7) + 0.1 * np.cumsum(rng.standard_normal(SIZE)) / np.sqrt(SIZE)
        sky, land = _colour(rng, (0.2, 0.6), (0.7, 1.0)), _colour(rng, (0.3, 0.9), (0.2, 0.6))
        image = np.where(
            (v < horizon[None, :])[..., None],
            sky * (0.7 + 0.4 * v[..., None]),
            _tinted(land, _noise(rng, 1.5), 0.15),
        )
    elif style == 1:
        image = _blobs(rng, image, int(rng.integers(3, 12)))
    elif style == 2:
        for _ in range(3):
            blob = (_noise(rng, 2.2) > rng.uniform(-0.3, 1.0))[..., None]
            image = np.where(blob, _colour(rng, (0.2, 1.0), (0.1, 1.0)), image)
    else:
        bands = np.stack([_colour(rng, (0.2, 0.9), (0.2, 1.0)) for _ in range(7)])
        along = u * np.cos(a := rng.uniform(0, np.pi)) + v * np.sin(a)
        image = bands[np.floor(along * rng.uniform(2, 7)).astype(int) % 7]
    frame = np.minimum(np.minimum(u, 1 - u), np.minimum(v, 1 - v)) < rng.choice([0.0, 0.04, 0.07])
    return np.where(frame[..., None], _colour(rng, (0.0, 0.5), (0.05, 0.9)), image)


def _blobs(rng: np.random.Generator, image: Image, count: int) -> Image:
    canvas = (image * 255).astype(np.uint8)
    for _ in range(count):
        colour = tuple(int(255 * c) for c in _colour(rng, (0.2, 1.0), (0.1, 1.0)))
        x, y, a, b = (int(n) for n in rng.integers((0, 0, 6, 6), (SIZE, SIZE, 45, 45)))
        if rng.random() < 0.5:
            cv2.ellipse(canvas, (x, y), (a, b), float(rng.uniform(0, 180)), 0, 360, colour, -1)
        else:
            cv2.rectangle(canvas, (x - a, y - b), (x + a, y + b), colour, -1)
    return canvas / 255.0


def books(rng: np.random.Generator) -> Image:
    """Four shelves of book spines; stretched over the front of a shelf."""
    image = np.ones((SIZE, SIZE, 3)) * 0.12
    board = _wood_colour(rng)
    for shelf in range(4):
        bottom, x = (shelf + 1) * 32 - 3, 2
        while x < SIZE - 3:
            width, height = int(rng.integers(2, 8)), int(rng.integers(17, 27))
            if rng.random() < 0.88:
                image[bottom - height : bottom, x : x + width] = _colour(rng, (0.1, 0.9), (0.15, 0.95))
                image[bottom - height + 4 : bottom - height + 7, x : x + width] *= rng.uniform(0.5, 1.4)
            x += width + (rng.random() < 0.2)
        image[bottom : bottom + 3] = board
    image[:3] = image[:, :3] = image[:, -3:] = board
    return image


def front(rng: np.random.Generator) -> Image:
    """Doors or drawers with handles; stretched over the front of a cabinet."""
    image = (
        wood(rng)
        if rng.random() < 0.5
        else _tinted(_colour(rng, (0.0, 0.5), (0.5, 0.95)), _noise(rng, 1), 0.02)
    )
    rows, columns = ((int(rng.integers(2, 5)), 1), (1, 2), (2, 2), (1, 3))[rng.integers(4)]
    u, v = _grid()
    x, y = (u * columns) % 1.0, (v * rows) % 1.0
    gap = (np.minimum(x, 1 - x) / columns < 0.012) | (np.minimum(y, 1 - y) / rows < 0.012)
    inset = (np.minimum(x, 1 - x) / columns > 0.05) & (np.minimum(y, 1 - y) / rows > 0.05)
    handle = (np.abs(x - (0.5 if columns == 1 else 0.85)) < 0.08) & (np.abs(y - 0.4) < 0.025 * rows)
    image = image * (1.0 - 0.12 * inset[..., None]) * (1.0 - 0.7 * gap[..., None])
    return np.where(handle[..., None], 0.75 if image.mean() < 0.5 else 0.15, image)


def foliage(rng: np.random.Generator) -> Image:
    """Leaves, as green noise."""
    green = np.array(
        colorsys.hsv_to_rgb(rng.uniform(0.22, 0.4), rng.uniform(0.5, 0.9), rng.uniform(0.35, 0.6))
    )
    return _tinted(green, np.clip(_noise(rng, 0.7), -2, 2), 0.4)


def window(rng: np.random.Generator) -> Image:
    """Sky, skyline and mullions; stretched over the window."""
    u, v = _grid()
    sky = np.array([0.75, 0.87, 1.0]) * (0.85 + 0.15 * v[..., None]) + 0.06 * _noise(rng, 2.0)[..., None]
    skyline = np.repeat(rng.uniform(0.45, 0.9, 16), SIZE // 16)
    image = np.where((v > skyline[None, :])[..., None], _colour(rng, (0.1, 0.6), (0.3, 0.7)), sky)
    columns, rows = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    x, y = (u * columns) % 1.0, (v * rows) % 1.0
    bar = (np.minimum(x, 1 - x) / columns < 0.03) | (np.minimum(y, 1 - y) / rows < 0.03)
    return np.where(bar[..., None], _colour(rng, (0.0, 0.3), (0.3, 0.95)), image)


def radiator(rng: np.random.Generator) -> Image:
    """The upright ribs of a radiator; stretched over its front."""
    u, v = _grid()
    ribs = 0.75 + 0.2 * np.sin(2 * np.pi * u * int(rng.integers(8, 16)))
    return np.repeat(
        (ribs * ((v > 0.06) & (v < 0.94)) + 0.6 * ((v <= 0.06) | (v >= 0.94)))[..., None], 3, axis=2
    )


def screen(rng: np.random.Generator) -> Image:
    """A dark screen, off or with a colourful picture; stretched over the front of a monitor."""
    image = np.full((SIZE, SIZE, 3), 0.05)
    image[8:-8, 6:-6] = (
        _blobs(rng, np.full((SIZE - 16, SIZE - 12, 3), 0.15), 6) if rng.random() < 0.5 else 0.1
    )
    return image


def plain(rng: np.random.Generator) -> Image:
    """An almost even light grey, for lacquer and ceramics."""
    return 0.8 + 0.015 * np.repeat(_noise(rng, 0.8)[..., None], 3, axis=2)
