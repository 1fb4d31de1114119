"""What fixes the shape of the learned baselines; travels inside their checkpoints."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from kinaema_ros.model.config import Checked
from kinaema_ros.settings import setting


@dataclass(frozen=True)
class LearnedConfig(Checked):
    """Validated on construction; ``ValueError`` names the field and its range."""

    image_width: int = setting(160, "Pixels of the camera that every image is resampled to", 1, 65536)
    image_height: int = setting(120, "Pixels, the same", 1, 65536)
    hfov_deg: float = setting(90.0, "Its horizontal field of view", 10.0, 150.0)
    key_dim: int = setting(128, "Of what is compared", 1, 65536)
    content_dim: int = setting(256, "Of what is stored", 1, 65536)
    head_dim: int = setting(512, "Of the hidden layers that read an answer", 1, 65536)
    feature_dropout: float = setting(0.15, "Of the standardised features, while training", 0.0, 0.99)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)
