#!/usr/bin/env python3
"""The photos of a query table as they would be in other light: what does the memory still recognise?

    python benchmarks/other_light.py ../shared/data/gazebo_bookstore/queries.csv --out /tmp/light --every 4
    for light in /tmp/light/*; do
        kinaema replay ../shared/data/gazebo_bookstore/bag --queries $light/queries.csv --json $light/replay.json
    done

Writes a folder with queries.csv and queries/ for each light: as_it_is, darker (-1 EV), brighter (+0.7 EV), warm (3000 K) and
cold (9000 K) with the white balance of daylight, grey, and dim (noise of a room at night). Exposure and white balance change
the light itself, which the numbers of a picture are the 2.2th root of.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from kinaema_ros.images import RGB, read_image
from kinaema_ros.replay.queries import read_queries
from kinaema_ros.reporting import progress

GAMMA = 2.2
# Red, green and blue of a black body of that temperature in linear sRGB, green 1, against those of daylight (6500 K)
WARM = (1.95, 1.0, 0.30)  # 3000 K
COLD = (0.86, 1.0, 1.29)  # 9000 K
PHOTONS = 60.0  # of white in a dim room: few, so that they come unevenly
READ_NOISE = 0.01  # of white, of the sensor itself


def lit(rgb: RGB, factor: float | tuple[float, float, float]) -> RGB:
    """The picture in ``factor`` times the light, or that of each colour."""
    return _picture(_light(rgb) * np.asarray(factor))


def grey(rgb: RGB) -> RGB:
    """Without colours."""
    luma = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    return np.repeat(luma[..., None], 3, axis=-1)


def dim(rgb: RGB) -> RGB:
    """As a sensor sees a dim room whose picture is brightened to look like daylight's; the same each time."""
    rng = np.random.default_rng(0)
    light = rng.poisson(_light(rgb) * PHOTONS) / PHOTONS
    return _picture(light + rng.normal(0.0, READ_NOISE, light.shape))


LIGHTS: dict[str, Callable[[RGB], RGB]] = {
    "as_it_is": lambda rgb: rgb,
    "darker": lambda rgb: lit(rgb, 2.0**-1.0),
    "brighter": lambda rgb: lit(rgb, 2.0**0.7),
    "warm": lambda rgb: lit(rgb, WARM),
    "cold": lambda rgb: lit(rgb, COLD),
    "grey": grey,
    "dim": dim,
}


def _light(rgb: RGB) -> np.ndarray:
    return (rgb / 255.0) ** GAMMA


def _picture(light: np.ndarray) -> RGB:
    return np.rint(255.0 * np.clip(light, 0.0, 1.0) ** (1.0 / GAMMA)).astype(np.uint8)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("queries", type=Path, help="table; its photos lie in queries/ beside it")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1, help="one photo in so many")
    parser.add_argument("--lights", nargs="+", choices=LIGHTS, default=list(LIGHTS))
    arguments = parser.parse_args()
    read_queries(arguments.queries)  # refuses a table that replay would refuse
    with arguments.queries.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))[:: arguments.every]
    for name in progress(arguments.lights, total=len(arguments.lights), desc="lights", unit="light"):
        folder = arguments.out / name
        (folder / "queries").mkdir(parents=True, exist_ok=True)
        for row in rows:
            picture = LIGHTS[name](read_image(arguments.queries.parent / "queries" / row["file"]))
            path = folder / "queries" / Path(row["file"]).with_suffix(".png")
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), picture[..., ::-1])
        with (folder / "queries.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(row | {"file": str(Path(row["file"]).with_suffix(".png"))} for row in rows)
        print(folder)


if __name__ == "__main__":
    main()
