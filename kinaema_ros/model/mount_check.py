"""Whether the camera looks where its mount says: a robot that drives straight must be seen to go where odometry has it go.

The directions in which two views show the same points tell whither the camera went between them, and odometry tells
whither it should have gone: the two differ by how far the mount's yaw is off. One stretch tells that to a degree or two,
some dozens together to a third of one. A heading that drifts, or an odometry that turns too far, makes no difference.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from kinaema_ros.camera import Mount
from kinaema_ros.model.kind import Network
from kinaema_ros.model.se2 import apart, between

SHORTEST, LONGEST = 0.5, 1.5  # metres of a stretch: enough to see a direction, and still the same points
STRAIGHT = math.radians(8.0)  # turns less
KEPT, FEWEST = 64, 24  # stretches: the newest ones count, and so many say something
LEAST_STD = math.radians(0.5)  # of one stretch: odometry slips, robots sway
LARGE = math.radians(1.0)  # an error worth telling: by two degrees drift grows beyond what loops correct
SURE = 3.0  # deviations, of an error worth telling


@dataclass(frozen=True)
class MountError:
    """By how much the camera looks further to the right than the yaw of its mount says. Radians."""

    yaw: float
    std: float
    stretches: int  # that agree on it

    def __str__(self) -> str:
        side = "right" if self.yaw > 0 else "left"
        return (
            f"the camera looks {abs(math.degrees(self.yaw)):.1f} +- {math.degrees(self.std):.1f} degrees further to the {side} "
            f"than its mount says, by {self.stretches} straight stretches of the way"
        )

    @property
    def matters(self) -> bool:
        """Whether it is surely large enough to bend the memory."""
        return abs(self.yaw) > max(LARGE, SURE * self.std)

    def remedy(self, mount: Mount) -> str:
        """What is seen, and what to do about it."""
        yaw = round(mount.yaw - self.yaw, 3) + 0.0  # no -0.0
        return (
            f"{self}: set the mount's yaw to about {yaw:.3f} rad ({math.degrees(yaw):.1f} degrees) instead of {mount.yaw:.3f}, in "
            "camera.yaw, --camera-mount or what TF is from, and reset the memory: headings bend by it"
        )


class MountCheck:
    """Takes the views of a drive one by one. Bounded: keeps two of them, and two numbers for each of the newest stretches."""

    def __init__(self) -> None:
        self._start: tuple[Any, Tensor] | None = None  # of the present stretch
        self._stretch: tuple[Any, Any, Tensor] | None = None  # the newest that ended, until it is looked at
        self._seen: deque[tuple[float, float]] = deque(maxlen=KEPT)
        self.error: MountError | None = None  # None: too few stretches yet

    def add(self, view: Any, odometry: Tensor) -> None:
        """One more view; odometry (3,) float64: the camera's planar pose in the odom frame."""
        if self._start is not None:
            before, start = self._start
            length, turn = (float(of) for of in apart(start, odometry))
            if turn < STRAIGHT and length < SHORTEST:
                return
            if turn < STRAIGHT and length < LONGEST:
                self._stretch = before, view, between(start, odometry)
        self._start = view, odometry

    def look(self, network: Network) -> MountError | None:
        """Look at a stretch that has ended since the last call; returns what is known then, None where there is no new one."""
        stretch, self._stretch = self._stretch, None
        seen = None if stretch is None else network.course(*stretch)
        if seen is None:
            return None
        self._seen.append(seen)
        self.error = together(list(self._seen))
        return self.error


def together(seen: list[tuple[float, float]]) -> MountError | None:
    """What stretches say, each an angle and its deviation; those far from the others, a slip or a crowd, say nothing."""
    if len(seen) < FEWEST:
        return None
    angle, std = np.array(seen).T
    off = np.abs(angle - np.median(angle))
    fits = off <= 3.0 * 1.48 * np.median(off)  # 1.48: of a normal deviation by the median
    angle, weight = angle[fits], 1.0 / (std[fits] ** 2 + LEAST_STD**2)
    weight /= weight.sum()
    mean = float(weight @ angle)
    variance = (weight @ (angle - mean) ** 2) * (weight @ weight)
    return MountError(mean, math.sqrt(variance), len(angle))
