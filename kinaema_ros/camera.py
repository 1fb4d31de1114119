"""Resampling of any rectified camera image to the network's canonical camera."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from kinaema_ros.errors import InputError
from kinaema_ros.images import RGB

BLANK = 127  # what the camera did not see; the encoder's zero


@dataclass(frozen=True)
class Intrinsics:
    """Pinhole camera without distortion, in pixels; the centre of the first pixel is (0, 0), as in CameraInfo.k."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise InputError(f"camera of {self.width} x {self.height} pixels: both must be at least 1")
        if not all(math.isfinite(v) for v in (self.fx, self.fy, self.cx, self.cy)):
            raise InputError("camera intrinsics are not finite; is the camera calibrated?")
        if self.fx <= 0 or self.fy <= 0:
            raise InputError(
                f"focal lengths fx {self.fx:g}, fy {self.fy:g} must be positive; is the camera calibrated?"
            )

    @classmethod
    def from_hfov(cls, width: int, height: int, hfov: float) -> Intrinsics:
        """Square pixels, optical axis in the middle, horizontal field of view in radians."""
        if not 0.17 <= hfov <= 2.62:
            raise InputError(
                f"horizontal field of view of {hfov:g} rad: it must lie between 0.17 and 2.62 (10 to 150 deg)"
            )
        f = width / 2 / math.tan(hfov / 2)
        return cls(width, height, f, f, (width - 1) / 2, (height - 1) / 2)

    def scaled_to(self, width: int, height: int) -> Intrinsics:
        """The same camera read out at another resolution."""
        sx, sy = width / self.width, height / self.height
        return Intrinsics(
            width, height, self.fx * sx, self.fy * sy, (self.cx + 0.5) * sx - 0.5, (self.cy + 0.5) * sy - 0.5
        )


def resample(image: RGB, source: Intrinsics, target: Intrinsics) -> RGB:
    """What the target camera would have seen: (H, W, 3) -> (target.height, target.width, 3) uint8.

    Rays beyond the source's field of view are blank. Shrinks by area averaging first, so that fine texture does
    not alias.
    """
    shrink = min(source.fx / target.fx, source.fy / target.fy)
    if shrink > 1.0:
        width, height = max(1, round(source.width / shrink)), max(1, round(source.height / shrink))
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        source = source.scaled_to(width, height)
    if source == target:
        return image
    sx, sy = source.fx / target.fx, source.fy / target.fy
    to_source = np.array([[sx, 0, source.cx - sx * target.cx], [0, sy, source.cy - sy * target.cy]])
    return cv2.warpAffine(  # type: ignore[return-value]
        image,
        to_source,
        (target.width, target.height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(BLANK, BLANK, BLANK),
    )
