"""What fixes the shape of the learned baselines; travels inside their checkpoints."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from kinaema_ros.errors import InputError
from kinaema_ros.model.config import Checked, from_dict
from kinaema_ros.settings import setting


@dataclass(frozen=True)
class PaperConfig(Checked):
    """Of the paper's own memory."""

    embeddings: int = setting(32, "N", 1, 65536)
    dim: int = setting(128, "E, numbers of an embedding; a multiple of heads", 1, 65536)
    heads: int = setting(4, "Of each attention", 1, 256)
    view_tokens: int = setting(2, "Tokens of a view, and of a photo that is asked about", 1, 256)
    decoder_layers: int = setting(2, "Of the decoder that reads an answer", 1, 16)
    egocentric: bool = (
        False  # told the motion since the last view alone; else where the robot is since the start, too
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dim % self.heads:
            raise InputError(f"dim is {self.dim}, must be a multiple of heads, {self.heads}")


@dataclass(frozen=True)
class LearnedConfig(Checked):
    """Validated on construction; ``ValueError`` names the field and its range."""

    image_width: int = setting(160, "Pixels of the camera that every image is resampled to", 1, 65536)
    image_height: int = setting(120, "Pixels, the same", 1, 65536)
    hfov_deg: float = setting(90.0, "Its horizontal field of view", 10.0, 150.0)
    key_dim: int = setting(128, "Of what is compared", 1, 65536)
    content_dim: int = setting(256, "Of what is stored", 1, 65536)
    head_dim: int = setting(512, "Of the hidden layers that read an answer", 1, 65536)
    feature_dropout: float = setting(0.15, "Of a view's numbers, while training", 0.0, 0.99)
    paper: PaperConfig = field(default_factory=PaperConfig)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> LearnedConfig:
        """From a checkpoint's mapping. ``ValueError`` for an unknown name, another type, or a value out of range."""
        return from_dict(cls, values)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)
