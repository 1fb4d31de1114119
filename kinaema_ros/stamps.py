"""Poses and their stamps: where was it then?"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from typing import Any, TypeAlias

from numpy.typing import NDArray

from kinaema_ros import geometry
from kinaema_ros.geometry import Array

NANOSECONDS = 1_000_000_000  # in a second
Stamps: TypeAlias = Sequence[int] | Sequence[float] | NDArray[Any]


def neighbours(stamps: Stamps, stamp: float) -> tuple[int, int] | None:
    """Indices of the last entry before a stamp and of the first after it, both that of an entry at the stamp.

    ``stamps`` rise. None before the first and after the last.
    """
    after = bisect_left(stamps, stamp)
    if after == len(stamps):
        return None
    if stamps[after] == stamp:
        return after, after
    return (after - 1, after) if after else None


def pose_at(
    stamps: Stamps, poses: Sequence[Array] | Array, stamp: float, max_gap: float = math.inf
) -> Array | None:
    """The pose (3,) at a stamp, interpolated between the two that are next to it.

    stamps: (T,), rising, in any unit; poses: (T, 3). None before the first stamp, after the last, and between two
    that are more than ``max_gap`` apart.
    """
    found = neighbours(stamps, stamp)
    if found is None:
        return None
    before, after = found
    gap = stamps[after] - stamps[before]
    if gap == 0:
        return poses[after]
    if gap > max_gap:
        return None
    return geometry.interpolate(poses[before], poses[after], (stamp - stamps[before]) / gap)


class PoseHistory:
    """The newest ``length`` poses (3,) and their stamps in nanoseconds, which rise. Not thread-safe."""

    def __init__(self, length: int):
        self.stamps: deque[int] = deque(maxlen=length)
        self.poses: deque[Array] = deque(maxlen=length)

    def add(self, stamp: int, pose: Array) -> None:
        """Takes a pose. An older one than the last means that the clock began anew: what was before goes."""
        if self.stamps and stamp < self.stamps[-1]:
            self.clear()
        self.stamps.append(stamp)
        self.poses.append(pose)

    def clear(self) -> None:
        """Forgets all."""
        self.stamps.clear()
        self.poses.clear()

    def at(self, stamp: int, max_gap: float = math.inf) -> Array | None:
        """As ``pose_at``, ``max_gap`` in nanoseconds."""
        return pose_at(self.stamps, self.poses, stamp, max_gap)
