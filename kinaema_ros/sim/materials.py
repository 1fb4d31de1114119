"""The pool of textures scenes are painted with, and the layout of a material.

A texture is a 128x128 image with its mip-map chain; a scene refers to textures of a pool through
materials (texture, scale, offset, tint, contrast), so that few images give many looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from kinaema_ros.sim import patterns

PHOTO_DIR = Path(__file__).parent / "textures"
SIZE = patterns.SIZE
LEVELS = 8  # 128, 64, ..., 1
LEVEL_OFFSET = np.array([sum((SIZE >> k) ** 2 for k in range(level)) for level in range(LEVELS)], np.int64)
NUM_TEXELS = int(LEVEL_OFFSET[-1]) + 1

# Columns of a material row (float32).
TEXTURE, SCALE_U, SCALE_V, OFFSET_U, OFFSET_V, RED, GREEN, BLUE, CONTRAST, EMISSION = range(10)

# How many procedural textures of each category a pool holds, in the order they are drawn.
_PROCEDURAL = {
    "plaster": (patterns.plaster, 6),
    "wallpaper": (patterns.wallpaper, 16),
    "brick": (patterns.bricks, 4),
    "tile": (patterns.tiles, 8),
    "plank": (patterns.planks, 6),
    "carpet": (patterns.carpet, 6),
    "wood": (patterns.wood, 6),
    "fabric": (patterns.fabric, 8),
    "rug": (patterns.rug, 10),
    "picture": (patterns.picture, 40),
    "books": (patterns.books, 6),
    "front": (patterns.front, 8),
    "foliage": (patterns.foliage, 4),
    "window": (patterns.window, 8),
    "radiator": (patterns.radiator, 2),
    "screen": (patterns.screen, 4),
    "plain": (patterns.plain, 1),
}

# Categories of the photographs; a photograph may serve in several.
_PHOTOS = {
    "blue-wood": ("wood",),
    "brass-ambra": ("metal", "fabric"),
    "bread": ("carpet",),
    "clay": ("plaster", "tile"),
    "cream-plaster": ("plaster",),
    "dark-wood": ("wood", "plank"),
    "dirt": ("carpet",),
    "gray-felt": ("carpet", "fabric"),
    "gray-plaster": ("plaster", "tile"),
    "gray-woodgrain": ("wood", "fabric"),
    "green-wood": ("wood",),
    "light-gray-floor-tile": ("tile", "plank"),
    "light-gray-plaster": ("plaster",),
    "light-wood": ("wood", "plank"),
    "metal": ("metal",),
    "pink-plaster": ("plaster",),
    "red-wood": ("wood",),
    "steel-brushed": ("metal", "carpet"),
    "steel-scratched": ("metal", "tile", "plaster"),
    "white-bricks": ("brick",),
    "white-plaster": ("plaster",),
    "wood-tiles": ("plank", "tile"),
    "wood-varnished-panels": ("plank", "wood"),
    "yellow-plaster": ("plaster",),
}


@dataclass(frozen=True)
class TexturePool:
    """T textures with their mip levels, photographs and procedural ones.

    texels (T, NUM_TEXELS, 3) uint8 RGB: all mip levels of a texture one after the other, each stored by
    columns because the renderer walks along image columns. photos and procedural map a category to texture
    ids; names (T,) say what a texture is.
    """

    texels: np.ndarray
    names: tuple[str, ...]
    photos: dict[str, tuple[int, ...]]
    procedural: dict[str, tuple[int, ...]]

    def image(self, texture: int) -> np.ndarray:
        """The full-resolution texture, (128, 128, 3) uint8 RGB, row 0 on top."""
        return self.texels[texture, : SIZE * SIZE].reshape(SIZE, SIZE, 3).swapaxes(0, 1)


def _mip_chain(image: np.ndarray) -> np.ndarray:
    levels = [np.asarray(image, np.float64)]
    while len(levels[-1]) > 1:
        a = levels[-1]
        levels.append((a[::2, ::2] + a[1::2, ::2] + a[::2, 1::2] + a[1::2, 1::2]) / 4)
    return np.concatenate([np.rint(a).astype(np.uint8).swapaxes(0, 1).reshape(-1, 3) for a in levels])


@lru_cache(maxsize=4)
def texture_pool(seed: int = 0) -> TexturePool:
    """The photographs plus procedural textures drawn from the seed; about 0.3 s, cached per process."""
    rng = np.random.default_rng([seed, 0x7E87])
    texels: list[np.ndarray] = []
    names: list[str] = []
    photos: dict[str, list[int]] = {}
    procedural: dict[str, list[int]] = {}
    for name, categories in _PHOTOS.items():
        image = cv2.imread(str(PHOTO_DIR / f"{name}.jpg"))
        if image is None:
            raise FileNotFoundError(
                f"{PHOTO_DIR / name}.jpg is missing: reinstall kinaema_ros with its package data"
            )
        for category in categories:
            photos.setdefault(category, []).append(len(names))
        texels.append(_mip_chain(image[..., ::-1]))
        names.append(name)
    for category, (pattern, count) in _PROCEDURAL.items():
        for i in range(count):
            procedural.setdefault(category, []).append(len(names))
            texels.append(_mip_chain(np.clip(pattern(rng), 0.0, 1.0) * 255.0))
            names.append(f"{category}_{i}")
    return TexturePool(
        np.stack(texels),
        tuple(names),
        {k: tuple(v) for k, v in photos.items()},
        {k: tuple(v) for k, v in procedural.items()},
    )
