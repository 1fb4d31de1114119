"""``Estimates``: what a memory answers to many questions at once."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class Estimates:
    """Of each of B memories to Q questions. ``std`` is None where a method says nothing of its certainty."""

    pose: Tensor  # (B, Q, 3) robot_T_query
    std: Tensor | None  # (B, Q, 2) of position (metres, each axis) and yaw (radians)
    seen: Tensor  # (B, Q) probability in [0, 1] that the place is in memory
