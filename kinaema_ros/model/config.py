"""Everything that fixes the network's shape and behaviour; travels inside each checkpoint."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class KinaemaConfig:
    """Validated on construction; ``ValueError`` names the field and its range.

    The memory is ``num_embeddings`` (N) embeddings of dimension ``key_dim + content_dim`` (E), each anchored
    at a planar pose. The camera fields describe the canonical camera that every image is resampled to.
    """

    image_width: int = 160
    image_height: int = 120
    hfov_deg: float = 90.0
    num_embeddings: int = 512
    key_dim: int = 128
    content_dim: int = 256
    head_dim: int = 512
    feature_dropout: float = 0.15  # of the standardised features, while training
    context_layers: int = 1  # self-attention blocks across embeddings; 0 switches contextualisation off
    context_size: int = 16  # embeddings, the best addressed, that take part in an update's self-attention
    num_hypotheses: int = 8  # embeddings that answer a query
    write_threshold: float = 0.94  # address above which an observation is folded into an existing embedding
    pose_weight: float = 0.1  # cost in the address of a squared distance of (x, y, 2 cos yaw, 2 sin yaw)
    close_loops: bool = True  # correct drifting odometry where a known place is recognised

    def __post_init__(self) -> None:
        def check(ok: bool, name: str, allowed: str) -> None:
            if not ok:
                raise ValueError(f"{name} = {getattr(self, name)!r} is out of range: it must be {allowed}")

        for name in ("image_width", "image_height", "key_dim", "content_dim", "head_dim"):
            check(getattr(self, name) >= 1, name, "at least 1")
        check(0.0 <= self.feature_dropout < 1.0, "feature_dropout", "0 to below 1")
        check(10.0 <= self.hfov_deg <= 150.0, "hfov_deg", "10 to 150")
        check(2 <= self.num_embeddings <= 65536, "num_embeddings", "2 to 65536")
        check(0 <= self.context_layers <= 12, "context_layers", "0 to 12")
        check(1 <= self.context_size <= self.num_embeddings, "context_size", "1 to num_embeddings")
        check(1 <= self.num_hypotheses <= self.num_embeddings, "num_hypotheses", "1 to num_embeddings")
        check(-1.0 <= self.write_threshold <= 1.0, "write_threshold", "-1 to 1")
        check(self.pose_weight >= 0.0, "pose_weight", "at least 0")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> KinaemaConfig:
        """From a checkpoint's or a user's mapping; unknown names raise ``ValueError``."""
        unknown = sorted(set(values) - {field.name for field in dataclasses.fields(cls)})
        if unknown:
            raise ValueError(f"unknown configuration fields: {', '.join(unknown)}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)
