"""Messages and files as no honest program would send them: fields at random, bytes at random."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from typing import Any

import numpy as np

FLOATS = (0.0, -0.0, -1.0, 1e-40, 0.5, 1e7, 1e30, -1e30, np.nan, np.inf, -np.inf)
LARGE_FLOATS = (1e308, -1e308, 1e-320)  # beyond float32
STRINGS = (
    *(
        "",
        "odom",
        "base_link",
        "map",
        "rgb8",
        "mono8",
        "mono16",
        "bgra16",
        "bayer_rggb8",
        "yuv422",
        "nv21",
        "16UC1",
    ),
    *("jpeg", "png", "16UC1; compressedDepth", "plumb_bob", "equidistant", "rational_polynomial", "none"),
    *("x" * 100_000, "../../x", "%s %n {0}", "a\nb", "\x1b[2J", "Ж\u202e\U0001f916", " ", "~", "."),
)


def fields(message: Any) -> Iterator[tuple[Any, str, str]]:
    """(owner, name, type) of every field that is no message itself."""
    for name, kind in message.get_fields_and_field_types().items():
        value = getattr(message, name)
        if hasattr(value, "get_fields_and_field_types"):
            yield from fields(value)
        else:
            yield message, name, kind


def mutate(rng: np.random.Generator, message: Any) -> None:
    """Changes one to three fields of a message."""
    everything = list(fields(message))
    for index in rng.integers(0, len(everything), rng.integers(1, 4)):
        owner, name, kind = everything[index]
        setattr(owner, name, strange(rng, kind, getattr(owner, name)))


def strange(rng: np.random.Generator, kind: str, value: Any) -> Any:
    """Another value of a field's type."""
    if kind == "string":
        return str(rng.choice(STRINGS))
    if kind == "boolean":
        return not value
    if kind == "sequence<uint8>":
        return array("B", corrupted(rng, bytes(value)))
    if kind in ("double", "float"):
        return float(rng.choice(FLOATS if kind == "float" else FLOATS + LARGE_FLOATS))
    if match := re.fullmatch(r"(u?)int(\d+)", kind):
        bits = int(match[2])
        low, high = (0, 2**bits - 1) if match[1] else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        near = [value - 1, value + 1, 2 * value, low, high, 0, 1, int(rng.integers(0, 2**16))]
        return int(np.clip(near[rng.integers(len(near))], low, high))
    several = [float(v) for v in value]  # of floats
    if kind.startswith("sequence"):
        several = (several + [0.1] * 20)[: rng.integers(0, 20)]
    for index in rng.integers(0, max(1, len(several)), 2)[: len(several)]:
        several[index] = float(rng.choice(FLOATS + LARGE_FLOATS))
    return several


def corrupted(rng: np.random.Generator, data: bytes) -> bytes:
    """Bytes of which some are others, that end early or late, or that are none."""
    changed = bytearray(data)
    what = rng.integers(6)
    if what == 0:
        return bytes(changed[: rng.integers(0, len(changed) + 1)])
    if what == 1:
        return bytes(changed) + rng.bytes(int(rng.integers(1, 100)))
    if what == 2:
        return rng.bytes(int(rng.integers(0, 100)))
    # Where formats keep what is worth a change: in their first bytes
    reach = len(changed) if what == 3 else min(len(changed), 200)
    for index in rng.integers(0, max(1, reach), rng.integers(1, 8)):
        changed[index : index + 1] = rng.bytes(1)
    return bytes(changed)
