"""ROS parameters from a typed dataclass: one declaration gives name, type, default, range and description.

@dataclass(frozen=True)
class MyParameters:
    rate_hz: float = parameter(5.0, "How often ...", low=0.1, high=100.0)

parameters = declare(node, MyParameters)      # raises ParameterError with name and range
watch(node, lambda: parameters, apply)        # later changes, as a new MyParameters
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from kinaema_ros.errors import InputError

Config = TypeVar("Config")
_TYPES = {
    bool: Parameter.Type.BOOL,
    int: Parameter.Type.INTEGER,
    float: Parameter.Type.DOUBLE,
    str: Parameter.Type.STRING,
}
# Declared by rclpy itself, with or without a value from outside.
_OF_RCLPY = ("use_sim_time", "start_type_description_service", "qos_overrides.")


class ParameterError(InputError):
    """A parameter that the node must not start with; the message names it and what is allowed."""


def parameter(
    default: Any,
    description: str,
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[str] = (),
    read_only: bool = False,
) -> Any:
    """A field of a parameter dataclass. ``low`` and ``high`` are inclusive; ``read_only`` ones only change
    at start."""
    metadata = {
        "description": description,
        "low": low,
        "high": high,
        "choices": choices,
        "read_only": read_only,
    }
    return dataclasses.field(default=default, metadata=metadata)


def declare(node: Node, config: type[Config]) -> Config:
    """Declares every field of ``config`` on the node and returns the values, overrides applied.

    Raises ParameterError for an unknown name, a wrong type or a value out of range.
    """
    fields = dataclasses.fields(config)  # type: ignore[arg-type]
    known = {field.name for field in fields}
    # rclpy has no public list of the overrides that nobody declared; a typing error must not go unnoticed.
    for name in node._parameter_overrides:
        if name not in known and not name.startswith(_OF_RCLPY):
            raise ParameterError(f"parameter '{name}' is not known; known are: {', '.join(sorted(known))}")
    values = {}
    for field in fields:
        try:
            values[field.name] = node.declare_parameter(field.name, field.default, _descriptor(field)).value
        except InvalidParameterTypeException:
            raise ParameterError(
                f"parameter '{field.name}' must be of type {_kind(field).__name__}"
                + (" (write 5.0, not 5)" if _kind(field) is float else "")
            ) from None
        except InvalidParameterValueException:
            given = node._parameter_overrides[field.name].value
            raise ParameterError(
                f"parameter '{field.name}' is {given!r}, must be {_allowed(field)}"
            ) from None
        _check_choice(field, values[field.name])
    return config(**values)


def watch(node: Node, current: Callable[[], Config], apply: Callable[[Config], None]) -> None:
    """Calls ``apply`` with the new dataclass whenever parameters of ``current()`` are set, all or none."""

    def on_set(parameters: list[Parameter]) -> SetParametersResult:
        fields = {field.name: field for field in dataclasses.fields(current())}  # type: ignore[arg-type]
        changes = {p.name: p.value for p in parameters if p.name in fields}
        try:
            for name, value in changes.items():
                _check_choice(fields[name], value)
            if changes:
                apply(dataclasses.replace(current(), **changes))  # type: ignore[type-var]
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(on_set)


def _kind(field: dataclasses.Field) -> type:
    return type(field.default)


def _check_choice(field: dataclasses.Field, value: Any) -> None:
    choices = field.metadata["choices"]
    if choices and value not in choices:
        raise ParameterError(f"parameter '{field.name}' is {value!r}, must be {_allowed(field)}")


def _allowed(field: dataclasses.Field) -> str:
    if field.metadata["choices"]:
        return "one of " + ", ".join(field.metadata["choices"])
    return f"in [{field.metadata['low']}, {field.metadata['high']}]"


def _descriptor(field: dataclasses.Field) -> ParameterDescriptor:
    meta = field.metadata
    descriptor = ParameterDescriptor(
        name=field.name,
        type=_TYPES[_kind(field)].value,
        description=meta["description"],
        read_only=meta["read_only"],
    )
    if meta["choices"]:
        descriptor.additional_constraints = _allowed(field)
    if meta["low"] is not None and _kind(field) is float:
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=float(meta["low"]), to_value=float(meta["high"]))
        ]
    elif meta["low"] is not None:
        descriptor.integer_range = [IntegerRange(from_value=meta["low"], to_value=meta["high"], step=1)]
    return descriptor
