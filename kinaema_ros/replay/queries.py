"""The table of query images that belongs to a recorded drive."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kinaema_ros.camera import MAX_HFOV_DEG, MIN_HFOV_DEG
from kinaema_ros.errors import InputError
from kinaema_ros.geometry import Array

COLUMNS = ("file", "x", "y", "yaw", "seen")
MAX_YAW = 10.0  # radians; whoever writes larger ones means degrees
_TRUTH_VALUES = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


@dataclass(frozen=True)
class Query:
    """A query image and whether the drive passed the place that it shows.

    ``pose``: where it was taken, (x, y, yaw) in the frame of the drive's ground truth, metres and radians;
    without meaning for an unseen place. ``hfov_deg``: across the longer side of a photo that another camera took, 0: what
    its EXIF data says, or the robot's camera.
    """

    file: str
    path: Path
    pose: Array
    seen: bool
    hfov_deg: float = 0.0


def read_queries(table: str | Path) -> list[Query]:
    """Read a CSV with at least the columns file, x, y, yaw, seen; images lie in `queries/` beside it.

    An optional column hfov_deg is of photos by another camera, empty or 0 for the robot's, or where EXIF data says it. Spreadsheets' ways are
    understood: a byte order mark, semicolons or tabs with decimal commas, blanks around cells.

    Raises InputError naming the row, or what is missing, before any long work is begun; OSError if the table
    cannot be read. Pose cells of unseen queries may be empty.
    """
    table = Path(table)
    with table.open(newline="", encoding="utf-8-sig") as stream:
        try:
            header = stream.readline()
            delimiter = max(",;\t", key=header.count)
            names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
            reader = csv.DictReader(stream, names, delimiter=delimiter, skipinitialspace=True, strict=True)
            missing = [name for name in COLUMNS if name not in names]
            if missing:
                needed = ", ".join(COLUMNS)
                raise InputError(f"{table} lacks the columns {', '.join(missing)}; needed are {needed}")
            decimal = "." if delimiter == "," else ","
            queries = [_query(table, number, row, decimal) for number, row in enumerate(reader, start=2)]
        except (csv.Error, UnicodeDecodeError) as error:
            raise InputError(f"{table} is not a CSV table: {error}") from None
    if not queries:
        raise InputError(f"{table} has no queries")
    absent = [query.file for query in queries if not query.path.is_file()]
    if absent:
        raise InputError(
            f"{len(absent)} of the {len(queries)} images of {table} are not in {table.parent / 'queries'}, "
            f"the first is {absent[0]}"
        )
    return queries


def _query(table: Path, number: int, row: dict[str, str | None], decimal: str) -> Query:
    cells = {name: (row[name] or "").strip() for name in COLUMNS}
    seen = _TRUTH_VALUES.get(cells["seen"].lower())
    if seen is None:
        raise InputError(f"{table}, line {number}: seen must be true or false, not {cells['seen']!r}")
    if not cells["file"]:
        raise InputError(f"{table}, line {number}: no file")
    pose = []
    for name in ("x", "y", "yaw"):
        try:
            value = float(cells[name].replace(decimal, ".")) if cells[name] or seen else math.nan
        except ValueError:
            raise InputError(f"{table}, line {number}: {name} is not a number: {cells[name]!r}") from None
        if seen and not math.isfinite(value):
            raise InputError(f"{table}, line {number}: {name} must be finite, not {cells[name]}")
        if name == "yaw" and abs(value) > MAX_YAW:
            raise InputError(f"{table}, line {number}: yaw {cells[name]} must be in radians, not degrees")
        pose.append(value)
    text = (row.get("hfov_deg") or "").strip()
    try:
        hfov_deg = float(text.replace(decimal, ".") or 0.0)
    except ValueError:
        hfov_deg = math.nan
    if not (hfov_deg == 0.0 or MIN_HFOV_DEG <= hfov_deg <= MAX_HFOV_DEG):
        raise InputError(
            f"{table}, line {number}: hfov_deg must be between {MIN_HFOV_DEG:g} and {MAX_HFOV_DEG:g} degrees, or empty "
            f"for a photo by the robot's camera, not {text!r}"
        )
    return Query(cells["file"], table.parent / "queries" / cells["file"], np.array(pose), seen, hfov_deg)
