"""Settings, declared once: a dataclass whose fields say what they are for and which values they take.

@dataclass(frozen=True)
class Limits:
    max_jump: float = setting(1.0, "A longer step is a jump (m)", low=0.05, high=1000.0)

    def __post_init__(self) -> None:
        check(self)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from kinaema_ros.errors import InputError


def setting(
    default: Any,
    description: str,
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[str] = (),
    **notes: Any,
) -> Any:
    """A field of a dataclass of settings.

    ``low`` and ``high`` come together, are inclusive and finite; ``notes`` are kept in the field's metadata
    beside them.
    """
    metadata = {"description": description, "low": low, "high": high, "choices": tuple(choices), **notes}
    return dataclasses.field(default=default, metadata=metadata)


def check(settings: Any) -> None:
    """Raises InputError, a ValueError, for the first setting out of range (NaN is), with its name and what is allowed."""
    for field in dataclasses.fields(settings):
        if field.metadata:
            check_value(field, getattr(settings, field.name), field.name)


def check_value(field: dataclasses.Field[Any], value: Any, name: str) -> None:
    """Raises InputError, a ValueError, in which the value is called ``name``, unless the field takes it."""
    low, high, choices = (field.metadata[key] for key in ("low", "high", "choices"))
    if (choices and value not in choices) or (low is not None and not low <= value <= high):
        raise InputError(f"{name} is {value!r}, must be {allowed(field)}")


def allowed(field: dataclasses.Field[Any]) -> str:
    """What the field takes, in words: "one of a, b", "in [0.0, 1.0]", or "" for anything of its type."""
    if field.metadata["choices"]:
        return "one of " + ", ".join(field.metadata["choices"])
    return "" if field.metadata["low"] is None else f"in [{field.metadata['low']}, {field.metadata['high']}]"
