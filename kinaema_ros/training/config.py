"""How the network is trained: typed, validated, readable from YAML."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from kinaema_ros.errors import InputError
from kinaema_ros.model.config import KinaemaConfig
from kinaema_ros.training.drives import DriveConfig

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class TrainConfig:
    """What is learned, and from how much."""

    projection_scenes: int = 60  # whose views the descriptors' projection is made from
    projection_views: int = 16  # frames of each, and as many photos
    held_out: float = 0.25  # share of the drives that nothing is fitted on
    model: KinaemaConfig = field(default_factory=KinaemaConfig)
    data: DriveConfig = field(default_factory=DriveConfig)

    def __post_init__(self) -> None:
        for name in ("projection_scenes", "projection_views"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} is out of range: it must be at least 1")
        if not 1 <= self.drives_held_out < self.data.drives:
            raise ValueError(
                f"held_out = {self.held_out} of {self.data.drives} drives: both for fitting and held out there must be one"
            )

    @property
    def drives_held_out(self) -> int:
        """Of data.drives, the last ones."""
        return round(self.held_out * self.data.drives)

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain values."""
        return dataclasses.asdict(self)


def read_config(kind: type[Kind], path: str | Path) -> Kind:
    """A configuration from a YAML file. Raises ``InputError`` naming the file and the unknown or invalid field."""
    try:
        return build(kind, yaml.safe_load(Path(path).read_text()) or {})
    except (OSError, yaml.YAMLError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"{path}: {error}") from error


def build(kind: Any, values: dict[str, Any]) -> Any:
    """A configuration from a nested mapping; what is missing keeps its default. ``ValueError`` for an unknown field."""
    if kind is KinaemaConfig:
        return KinaemaConfig.from_dict(values)
    types = typing.get_type_hints(kind)
    unknown = sorted(set(values) - set(types))
    if unknown:
        raise ValueError(f"unknown configuration fields: {', '.join(unknown)}")
    return kind(**{
        name: build(types[name], value) if dataclasses.is_dataclass(types[name])
        else _tuple(types[name], value) if isinstance(value, list) else value
        for name, value in values.items()
    })  # fmt: skip


def _tuple(kind: Any, values: list[Any]) -> tuple[Any, ...]:
    of = typing.get_args(kind)[0]
    return tuple(build(of, value) if dataclasses.is_dataclass(of) else value for value in values)
