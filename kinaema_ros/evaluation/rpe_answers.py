"""What a method answered in `kinaema evaluate rpe`, beside what is true: `LabelledEstimates`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinaema_ros import metrics
from kinaema_ros.geometry import Array
from kinaema_ros.model.answer import Answer

DISTANCES_M = (0.0, 3.0, 6.0, 12.0, 24.0, math.inf)
QUARTERS = ("newest quarter", "second", "third", "oldest quarter")


@dataclass
class LabelledEstimates:
    """The answers at one length of S drives: to Q questions about seen places, then to Q about unseen ones."""

    pose: Array  # (S, 2 Q, 3) robot_T_query
    covariance: Array | None  # (S, 2 Q, 3, 3)
    seen: Array  # (S, 2 Q)
    confidence: Array  # (S, 2 Q)
    truth: Array  # (S, Q, 3)
    age: Array  # (S, Q) in [0, 1): how long ago the place was last near, as a fraction of the drive

    @property
    def located(self) -> Array:
        """The poses answered for seen places, (S, Q, 3)."""
        return self.pose[:, : self.truth.shape[1]]

    @property
    def is_seen(self) -> NDArray[np.bool_]:
        """(S, 2 Q)."""
        return np.broadcast_to(np.arange(self.seen.shape[1]) < self.truth.shape[1], self.seen.shape)

    @property
    def is_right(self) -> NDArray[np.bool_]:
        """(S, 2 Q) whether the answer is right; False for unseen places."""
        right = np.zeros(self.seen.shape, dtype=bool)
        right[:, : self.truth.shape[1]] = metrics.is_right(*metrics.pose_errors(self.located, self.truth))
        return right

    def heading_errors(self) -> Array:
        """Radians (S, Q) by which the heading of the robot, as seen from a place, is off; NaN where not sure of the place.

        A photo tells its heading in its place to a fraction of a degree: what is off is the robot against the place.
        """
        sure = self.confidence[:, : self.truth.shape[1]] >= metrics.CONFIDENT
        return np.where(sure, metrics.pose_errors(self.located, self.truth)[1], np.nan)

    def levels(self) -> Array | None:
        """Confidence level of the ellipse on whose border each truth lies, (S, Q)."""
        if self.covariance is None:
            return None
        return metrics.ellipse_levels(self.located, self.truth, self.covariance[:, : self.truth.shape[1]])

    @classmethod
    def of_drive(cls, answers: Sequence[Answer], truth: Array, age: Array) -> LabelledEstimates:
        """The answers of one drive (S = 1)."""
        covariances = [answer.covariance for answer in answers]
        return cls(
            np.stack([answer.pose.cpu().numpy() for answer in answers])[None],
            None
            if covariances[0] is None
            else np.stack([c.cpu().numpy() for c in covariances if c is not None])[None],
            np.array([[answer.seen for answer in answers]]),
            np.array([[answer.confidence for answer in answers]]),
            truth[None],
            age[None],
        )

    @classmethod
    def joined(cls, parts: Sequence[LabelledEstimates]) -> LabelledEstimates:
        """The answers in several drives by one method."""
        covariances = [part.covariance for part in parts if part.covariance is not None]
        return cls(
            np.concatenate([part.pose for part in parts]),
            np.concatenate(covariances) if covariances else None,
            np.concatenate([part.seen for part in parts]),
            np.concatenate([part.confidence for part in parts]),
            np.concatenate([part.truth for part in parts]),
            np.concatenate([part.age for part in parts]),
        )


def groups(name: str, answers: Sequence[LabelledEstimates], lengths: Sequence[int]) -> list[dict[str, Any]]:
    """Accuracy by how long ago the place was last near, in quarters of the drive, and by its distance."""
    entries = []
    for length, answer in zip(lengths, answers, strict=True):
        position, yaw = metrics.pose_errors(answer.located, answer.truth)
        quarter = np.minimum((4 * answer.age).astype(int), 3)
        distance = np.hypot(answer.truth[..., 0], answer.truth[..., 1])
        chosen = [("age", QUARTERS[q], quarter == q) for q in range(4)]
        for near, far in pairwise(DISTANCES_M):
            text = f"{near:.0f} to {far:.0f} m" if math.isfinite(far) else f"beyond {near:.0f} m"
            chosen.append(("distance", text, (near <= distance) & (distance < far)))
        for kind, group, mask in chosen:
            summary = metrics.accuracy_summary(position[mask], yaw[mask])
            entry = {"method": name, "length": length, "by": kind, "group": group, "queries": int(mask.sum())}
            heading = heading_p90_deg(answer.heading_errors()[mask])
            entries.append({**entry, **summary, "heading_p90_deg": heading})
    return entries


def heading_p90_deg(errors: Array) -> float | None:
    """What nine of ten of these ``heading_errors`` are below; None where the method is sure of no place."""
    sure = errors[~np.isnan(errors)]
    return float(np.degrees(np.percentile(sure, 90))) if sure.size else None
