"""Everything that fixes the network's shape and behaviour; travels inside each checkpoint."""

from __future__ import annotations

import dataclasses
import math
import typing
from dataclasses import dataclass, field
from typing import Any


def _check(config: Any, name: str, ok: bool, allowed: str) -> None:
    if not ok:
        kind = type(config).__name__
        raise ValueError(f"{kind}.{name} = {getattr(config, name)!r} is out of range: it must be {allowed}")


def _check_positive(config: Any, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        _check(config, name, math.isfinite(value) and value > 0, "above 0")


@dataclass(frozen=True)
class CellConfig:
    """How an observation changes the embeddings. The address of an embedding says how well it fits."""

    address: str = "place"  # by content and pose; "time": by how lately it was written, for ablations
    pose_weight: float = 0.1  # cost in the address of a squared distance of (x, y, 2 cos yaw, 2 sin yaw)
    write_threshold: float = 0.94  # address above which an observation is folded into an existing embedding
    max_stride: float = 1.0  # metres after which a new embedding is taken even in a known place
    count_cap: float = 15.0  # observations after which an embedding keeps adapting at a constant rate
    context_layers: int = 1  # self-attention blocks across embeddings; 0 switches contextualisation off
    context_size: int = 16  # embeddings, the best addressed, that take part in an update's self-attention

    def __post_init__(self) -> None:
        _check(self, "address", self.address in ("place", "time"), "'place' or 'time'")
        _check(self, "pose_weight", self.pose_weight >= 0.0, "at least 0")
        _check(self, "write_threshold", -1.0 <= self.write_threshold <= 1.0, "-1 to 1")
        _check_positive(self, "max_stride")
        _check(self, "count_cap", self.count_cap >= 1.0, "at least 1")
        _check(self, "context_layers", 0 <= self.context_layers <= 12, "0 to 12")
        _check(self, "context_size", self.context_size >= 1, "at least 1")


@dataclass(frozen=True)
class LoopClosureConfig:
    """When the present view is taken for that of a known place, so that it corrects drift."""

    enabled: bool = True
    recent_updates: int = 40  # for which a place is too fresh
    min_match: float = 0.8  # probability that the best place is the one in view
    agreeing_match: float = 0.5  # probability from which another place counts as agreeing
    agreeing_distance: float = 0.7  # metres within which an agreeing place must put the robot
    min_agreeing: int = 2  # places, the best one included
    max_scale: float = 0.5  # metres, of the relative position
    max_correction: float = 3.0  # metres; beyond, a look-alike is likelier than drift
    max_correction_yaw: float = math.radians(30.0)
    variance_per_scale: float = 10.0  # a planar Laplace has 3 scale^2 an axis; views of one place err alike

    def __post_init__(self) -> None:
        _check(self, "recent_updates", self.recent_updates >= 0, "at least 0")
        for name in ("min_match", "agreeing_match"):
            _check(self, name, 0.0 <= getattr(self, name) <= 1.0, "0 to 1")
        _check(self, "min_agreeing", self.min_agreeing >= 1, "at least 1")
        _check_positive(self, "agreeing_distance", "max_scale", "max_correction")
        _check_positive(self, "max_correction_yaw", "variance_per_scale")


@dataclass(frozen=True)
class PoseGraphConfig:
    """How the embeddings' poses agree. Only ratios of variances matter.

    The odometry is a random walk with a wheeled robot's order of magnitude.
    """

    optimise_every: int = 5  # updates
    loops_per_embedding: int = 2  # size of the ring of loops
    position_variance_per_metre: float = 0.02**2  # m^2
    yaw_variance_per_metre: float = 0.007**2  # rad^2
    yaw_variance_per_radian: float = 0.007**2  # rad^2
    min_position_variance: float = 0.02**2  # m^2, of a relation by odometry
    min_yaw_variance: float = 0.005**2  # rad^2
    kernel: float = 3.0  # standard deviations beyond which a loop loses its say (Geman and McClure's kernel)
    position_damping: float = 1.0 / 10.0**2  # 1/m^2: a pose stays near where it was unless something pulls
    yaw_damping: float = 1.0  # 1/rad^2

    def __post_init__(self) -> None:
        _check(self, "optimise_every", self.optimise_every >= 1, "at least 1")
        _check(self, "loops_per_embedding", 1 <= self.loops_per_embedding <= 64, "1 to 64")
        _check_positive(
            self, "position_variance_per_metre", "yaw_variance_per_metre", "yaw_variance_per_radian",
            "min_position_variance", "min_yaw_variance", "kernel", "position_damping", "yaw_damping",
        )  # fmt: skip


@dataclass(frozen=True)
class DistinctnessConfig:
    """How far a query stands out from the look-alikes within the same memory, by which `seen` is judged."""

    min_distance: float = 3.0  # metres from which two embeddings are different places
    typical_likeness: float = (
        0.5  # of look-alikes where no places lie so far apart: procedural scenes' median
    )
    min_contrast: float = 0.05  # least difference between the same view and a look-alike

    def __post_init__(self) -> None:
        _check_positive(self, "min_distance", "min_contrast")
        _check(self, "typical_likeness", -1.0 <= self.typical_likeness < 1.0, "-1 to below 1")


@dataclass(frozen=True)
class KinaemaConfig:
    """Validated on construction; ``ValueError`` names the field and its range.

    The memory is ``num_embeddings`` (N) embeddings of dimension ``key_dim + content_dim`` (E), each anchored
    at a planar pose. The image fields describe the canonical camera that every image is resampled to.
    """

    image_width: int = 160
    image_height: int = 120
    hfov_deg: float = 90.0
    num_embeddings: int = 512
    key_dim: int = 128
    content_dim: int = 256
    head_dim: int = 512
    feature_dropout: float = 0.15  # of the standardised features, while training
    num_hypotheses: int = 8  # embeddings that answer a query
    cell: CellConfig = field(default_factory=CellConfig)
    loop_closure: LoopClosureConfig = field(default_factory=LoopClosureConfig)
    pose_graph: PoseGraphConfig = field(default_factory=PoseGraphConfig)
    distinctness: DistinctnessConfig = field(default_factory=DistinctnessConfig)

    def __post_init__(self) -> None:
        for name in ("image_width", "image_height", "key_dim", "content_dim", "head_dim"):
            _check(self, name, getattr(self, name) >= 1, "at least 1")
        _check(self, "feature_dropout", 0.0 <= self.feature_dropout < 1.0, "0 to below 1")
        _check(self, "hfov_deg", 10.0 <= self.hfov_deg <= 150.0, "10 to 150")
        _check(self, "num_embeddings", 2 <= self.num_embeddings <= 65536, "2 to 65536")
        _check(self, "num_hypotheses", 1 <= self.num_hypotheses <= self.num_embeddings, "1 to num_embeddings")

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
        raise ValueError(f"configuration '{prefix.rstrip('.')}' must be a mapping, not {values!r}")
    types = typing.get_type_hints(cls)
    unknown = sorted(prefix + str(name) for name in values.keys() - types.keys())
    if unknown:
        raise ValueError(f"unknown configuration fields: {', '.join(unknown)}")
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
        raise ValueError(f"{name} = {value!r} must be of type {kind.__name__}")
    return value
