"""What every command of `kinaema` does alike with its results: JSON files, tables, progress bars."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kinaema_ros.estimate import Alternative


def write_json(path: Path, value: Any) -> None:
    """Write atomically, but into a pipe or a device; NaN and infinities, which JSON does not know, become null."""
    text = json.dumps(_finite(value), indent=2) + "\n"
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8")
        return
    path = Path(os.path.realpath(path))  # where a link leads to, and not the link, is written
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def table(rows: Sequence[Sequence[str]], header: Sequence[str]) -> str:
    """Rows under a header and a rule, columns aligned: the first to the left, the others to the right."""
    cells = [tuple(header), *map(tuple, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def number(value: float | None, digits: int = 2, unit: str = "") -> str:
    """A figure for a table; a dash where there is none."""
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}f}{unit}"


def percent(value: float | None) -> str:
    """A fraction as a percentage for a table; a dash where there is none."""
    return "-" if value is None or math.isnan(value) else f"{100 * value:.1f} %"


def place(pose: Iterable[float]) -> str:
    """A pose (x, y, yaw) in metres and radians, for people."""
    x, y, yaw = pose
    return f"x {x:.2f} m, y {y:.2f} m, yaw {math.degrees(yaw):.0f} deg"


def pose_record(pose: Iterable[float], frame_id: str) -> dict[str, Any]:
    """A pose (x, y, yaw) in metres and radians, and its frame, for --json."""
    return {**dict(zip(("x", "y", "yaw"), map(float, pose), strict=True)), "frame_id": frame_id}


def goal_record(photo: Path | None, name: str) -> dict[str, Any]:
    """What was asked for, a photo or a named place, for --json."""
    return {"place": name} if photo is None else {"file": str(photo)}


def alternative_record(other: Alternative) -> dict[str, Any]:
    """Another place that a photo may show, for --json."""
    x, y, yaw = other.pose
    return {
        "x": x,
        "y": y,
        "yaw": yaw,
        "covariance": other.covariance.tolist(),
        "confidence": other.confidence,
    }


def progress(
    items: Iterable[Any], *, total: int | None = None, desc: str = "", unit: str = "it"
) -> Iterable[Any]:
    """Pass the items through, showing a bar on stderr that leaves nothing behind in a log file."""
    from tqdm import tqdm

    return tqdm(items, total=total, desc=desc, unit=f" {unit}", disable=None, dynamic_ncols=True)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
