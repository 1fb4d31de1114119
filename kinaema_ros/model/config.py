"""Everything that fixes the network's shape and behaviour; travels inside each checkpoint."""

from __future__ import annotations

import dataclasses
import math
import typing
from dataclasses import dataclass, field
from typing import Any

from kinaema_ros.errors import InputError
from kinaema_ros.settings import check, setting

TINY, LARGE = 1e-9, 1e9  # stand for "above 0" and "any"


class Checked:
    """Refuses a value out of range on construction: ``ValueError`` names the field and its range."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class CellConfig(Checked):
    """How an observation changes the embeddings. The address of an embedding says how well it fits."""

    address: str = setting(
        "place",
        "By content and pose; 'time': by how lately it was written, for ablations",
        choices=("place", "time"),
    )
    pose_weight: float = setting(
        0.1, "Cost in the address of a squared distance of (x, y, 2 cos yaw, 2 sin yaw)", 0.0, LARGE
    )
    write_threshold: float = setting(
        0.94, "Address above which an observation is folded into an existing embedding", -1.0, 1.0
    )
    max_stride: float = setting(
        1.0, "Metres after which a new embedding is taken even in a known place", TINY, LARGE
    )
    count_cap: float = setting(
        15.0, "Observations after which an embedding keeps adapting at a constant rate", 1.0, LARGE
    )
    context_layers: int = setting(
        1, "Self-attention blocks across embeddings; 0 switches contextualisation off", 0, 12
    )
    context_size: int = setting(
        16, "Embeddings, the best addressed, that take part in an update's self-attention", 1, 65536
    )


@dataclass(frozen=True)
class LoopClosureConfig(Checked):
    """When the present view is taken for that of a known place, so that it corrects drift."""

    enabled: bool = True
    recent_updates: int = setting(40, "Updates for which a place is too fresh", 0, 10**9)
    min_match: float = setting(0.8, "Probability that the best place is the one in view", 0.0, 1.0)
    agreeing_match: float = setting(0.5, "Probability from which another place counts as agreeing", 0.0, 1.0)
    agreeing_distance: float = setting(
        0.7, "Metres within which an agreeing place must put the robot", TINY, LARGE
    )
    min_agreeing: int = setting(2, "Places that agree, the best one included", 1, 65536)
    max_scale: float = setting(0.5, "Metres, of the relative position", TINY, LARGE)
    max_correction: float = setting(3.0, "Metres; beyond, a look-alike is likelier than drift", TINY, LARGE)
    max_correction_yaw: float = setting(math.radians(30.0), "Radians; the same", TINY, math.pi)
    variance_per_scale: float = setting(
        10.0, "A planar Laplace has 3 scale^2 an axis, but views of one place err alike", TINY, LARGE
    )


@dataclass(frozen=True)
class PoseGraphConfig(Checked):
    """How the embeddings' poses agree. The odometry is a random walk with a wheeled robot's order of magnitude."""

    optimise_every: int = setting(5, "Updates between two optimisations", 1, 10**9)
    loops_per_embedding: int = setting(2, "Size of the ring of loops", 1, 64)
    position_variance_per_metre: float = setting(0.02**2, "m^2 per metre driven", TINY, LARGE)
    yaw_variance_per_metre: float = setting(0.007**2, "rad^2 per metre driven", TINY, LARGE)
    yaw_variance_per_radian: float = setting(0.007**2, "rad^2 per radian turned", TINY, LARGE)
    min_position_variance: float = setting(0.02**2, "m^2, of a relation by odometry", TINY, LARGE)
    min_yaw_variance: float = setting(0.005**2, "rad^2, of a relation by odometry", TINY, LARGE)
    kernel: float = setting(
        3.0, "Standard deviations beyond which a loop loses its say (Geman and McClure)", TINY, LARGE
    )
    position_damping: float = setting(
        1.0 / 10.0**2, "1/m^2: a pose stays near where it was unless something pulls", TINY, LARGE
    )
    yaw_damping: float = setting(1.0, "1/rad^2: the same", TINY, LARGE)


@dataclass(frozen=True)
class DistinctnessConfig(Checked):
    """How far a query stands out from the look-alikes within the same memory, by which `seen` is judged."""

    min_distance: float = setting(3.0, "Metres from which two embeddings are different places", TINY, LARGE)
    typical_likeness: float = setting(
        0.5, "Of look-alikes where no places lie so far apart: procedural scenes' median", -1.0, 0.99
    )
    min_contrast: float = setting(0.05, "Least difference between the same view and a look-alike", TINY, 1.0)


@dataclass(frozen=True)
class KinaemaConfig(Checked):
    """Validated on construction; ``ValueError`` names the field and its range.

    The memory is ``num_embeddings`` (N) embeddings of dimension ``key_dim + content_dim`` (E), each anchored
    at a planar pose. The image fields describe the canonical camera that every image is resampled to.
    """

    image_width: int = setting(160, "Pixels", 1, 65536)
    image_height: int = setting(120, "Pixels", 1, 65536)
    hfov_deg: float = setting(90.0, "Horizontal field of view", 10.0, 150.0)
    num_embeddings: int = setting(512, "Size of the memory", 2, 65536)
    key_dim: int = setting(128, "Of what is compared", 1, 65536)
    content_dim: int = setting(256, "Of what is stored", 1, 65536)
    head_dim: int = setting(512, "Of the pair head's hidden layers", 1, 65536)
    feature_dropout: float = setting(0.15, "Of the standardised features, while training", 0.0, 0.99)
    num_hypotheses: int = setting(8, "Embeddings that answer a query", 1, 65536)
    cell: CellConfig = field(default_factory=CellConfig)
    loop_closure: LoopClosureConfig = field(default_factory=LoopClosureConfig)
    pose_graph: PoseGraphConfig = field(default_factory=PoseGraphConfig)
    distinctness: DistinctnessConfig = field(default_factory=DistinctnessConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_hypotheses > self.num_embeddings:
            raise InputError(f"num_hypotheses is {self.num_hypotheses}, must be at most num_embeddings")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> KinaemaConfig:
        """From a checkpoint's or a user's nested mapping; what is missing keeps its default.

        Raises ``ValueError`` for an unknown name, a value of another type, or one out of range.
        """
        return _from_dict(cls, values, "")

    def changed(self, changes: dict[str, Any]) -> KinaemaConfig:
        """A copy with the fields of a nested mapping, such as ``{"cell": {"context_layers": 0}}``, changed."""
        values = self.to_dict()
        for name, value in changes.items():
            values[name] = values.get(name, {}) | value if isinstance(value, dict) else value
        return KinaemaConfig.from_dict(values)

    def to_dict(self) -> dict[str, Any]:
        """A nested mapping, ready for JSON."""
        return dataclasses.asdict(self)


def _from_dict(cls: type, values: Any, prefix: str) -> Any:
    if not isinstance(values, dict):
        raise InputError(f"configuration '{prefix.rstrip('.')}' must be a mapping, not {values!r}")
    types = typing.get_type_hints(cls)
    unknown = sorted(prefix + str(name) for name in values.keys() - types.keys())
    if unknown:
        raise InputError(f"unknown configuration fields: {', '.join(unknown)}")
    return cls(**{
        name: _from_dict(types[name], value, f"{prefix}{name}.") if dataclasses.is_dataclass(types[name])
        else _checked(types[name], value, prefix + name)
        for name, value in values.items()
    })  # fmt: skip


def _checked(kind: type, value: Any, name: str) -> Any:
    """The value if its type is that of the field; a whole number may stand for a float."""
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise InputError(f"{name} = {value!r} must be of type {kind.__name__}")
    return value
