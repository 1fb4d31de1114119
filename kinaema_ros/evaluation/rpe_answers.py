"""What a method answered in `kinaema evaluate rpe`, beside what is true: `LabelledEstimates`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kinaema_ros import metrics
from kinaema_ros.geometry import Array
from kinaema_ros.model.estimates import Estimates

DISTANCES_M = (0.0, 3.0, 6.0, 9.0, math.inf)
QUARTERS = ("newest quarter", "second", "third", "oldest quarter")


@dataclass
class LabelledEstimates:
    """The answers at one length of S drives: to Q questions about seen places, then to Q about unseen ones."""

    estimates: Estimates  # (S, 2 Q), float64 on the CPU
    truth: Array  # (S, Q, 3) robot_T_query
    age: Array  # (S, Q) in [0, 1): how long ago the place was last near, as a fraction of the drive

    @property
    def located(self) -> Array:
        """The poses answered for seen places, (S, Q, 3)."""
        return self.estimates.pose[:, : self.truth.shape[1]].numpy()

    @property
    def is_seen(self) -> NDArray[np.bool_]:
        """(S, 2 Q)."""
        shape = self.estimates.seen.shape
        return np.broadcast_to(np.arange(shape[1]) < self.truth.shape[1], shape)

    def levels(self) -> Array | None:
        """Confidence level of the ellipse on whose border each truth lies, (S, Q)."""
        if self.estimates.std is None:
            return None
        covariance = np.zeros((*self.truth.shape[:2], 3, 3))
        std = self.estimates.std[:, : self.truth.shape[1]].numpy()
        for axis, column in enumerate((0, 0, 1)):
            covariance[..., axis, axis] = std[..., column] ** 2
        return metrics.ellipse_levels(self.located, self.truth, covariance)

    @classmethod
    def joined(cls, parts: Sequence[LabelledEstimates]) -> LabelledEstimates:
        """The answers of several groups of drives by one method."""
        estimates = [part.estimates for part in parts]
        stds = [e.std for e in estimates if e.std is not None]
        return cls(
            Estimates(
                torch.cat([e.pose for e in estimates]),
                torch.cat(stds) if stds else None,
                torch.cat([e.seen for e in estimates]),
            ),
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
            entries.append({**entry, **summary})
    return entries
