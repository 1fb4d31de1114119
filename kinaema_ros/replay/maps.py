"""Occupancy maps of map_server (a YAML file beside an image), for drawing under a path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from kinaema_ros.errors import InputError


@dataclass(frozen=True)
class Map:
    """An occupancy map as map_server has it.

    image: (H, W) uint8 grey, row 0 at the top, 0 occupied and 255 free; resolution: metres per pixel;
    origin: (x, y, yaw) of the lower left corner in the map's frame.
    """

    image: NDArray[np.uint8]
    resolution: float
    origin: tuple[float, float, float]


def read_map(path: str | Path) -> Map:
    """Read map.yaml and its image. Raises InputError or OSError saying what is wrong with it."""
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        image_path = path.parent / values["image"]
        resolution = float(values["resolution"])
        x, y, heading = (float(value) for value in values["origin"])
        negate = bool(values.get("negate", 0))
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a map of map_server: {error}") from None
    grey = cv2.imdecode(np.frombuffer(image_path.read_bytes() or b"\0", np.uint8), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise InputError(f"{path}: {image_path} is not an image")
    if not resolution > 0:
        raise InputError(f"{path}: resolution must be positive, not {resolution}")
    return Map((255 - grey if negate else grey).astype(np.uint8), resolution, (x, y, heading))


def find_map(bag: Path) -> Path | None:
    """map.yaml in the bag's folder or beside it, as recordings are often kept; None if there is none."""
    return next((path for path in (bag / "map.yaml", bag.parent / "map.yaml") if path.is_file()), None)
