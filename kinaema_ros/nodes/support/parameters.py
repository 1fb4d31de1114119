"""ROS parameters from a dataclass of settings (kinaema_ros/settings.py).

One declaration gives name, type, default, range, description, and when it may be changed. A dataclass within
it is a group of parameters: ``odometry.max_jump``.

@dataclass(frozen=True)
class MyParameters:
    autostart: bool = setting(True, "Activate at start", when=READ_ONLY)
    odometry: OdometryLimits = group(OdometryLimits())

class MyNode(Node):
    def __init__(self) -> None:
        super().__init__("my_node", automatically_declare_parameters_from_overrides=True)
        self.parameters = declare(self, MyParameters, self.apply)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from kinaema_ros.errors import InputError
from kinaema_ros.settings import allowed, check_value

Config = TypeVar("Config")
READ_ONLY, AT_CONFIGURE, ANY_TIME = "at start only", "at the next configure", "at any time"
# Declared by rclpy itself, with or without a value from outside.
_OF_RCLPY = ("use_sim_time", "start_type_description_service", "qos_overrides.")


class ParameterError(InputError):
    """A parameter that the node must not start with; the message names it and what is allowed."""


@dataclasses.dataclass(frozen=True)
class Declaration:
    """One parameter. ``field`` is the one of the dataclass, whose default may be another one."""

    name: str
    default: bool | int | float | str
    when: str
    field: dataclasses.Field[Any]

    @property
    def type(self) -> type:
        """bool, int, float or str."""
        return type(self.default)

    def check(self, value: object) -> None:
        """Raises ParameterError for a wrong type or a value that is not allowed."""
        if type(value) is not self.type:
            hint = " (write 5.0, not 5)" if self.type is float else ""
            raise ParameterError(f"parameter '{self.name}' must be of type {self.type.__name__}{hint}")
        try:
            check_value(self.field, value, f"parameter '{self.name}'")
        except ValueError as error:
            raise ParameterError(str(error)) from None


def group(default: Any, when: str = ANY_TIME) -> Any:
    """A field that holds a dataclass of settings; ``when`` holds for all of them."""
    return dataclasses.field(default=default, metadata={"when": when})


def declarations(config: Any, prefix: str = "", when: str = "") -> Iterator[Declaration]:
    """Every parameter of a dataclass of settings, in the order of its fields."""
    for field in dataclasses.fields(config):
        name, default = prefix + field.name, getattr(config, field.name)
        allowed_when = field.metadata.get("when", when or ANY_TIME)
        if dataclasses.is_dataclass(default):
            yield from declarations(default, f"{name}.", allowed_when)
        else:
            yield Declaration(name, default, allowed_when, field)


def declare(node: Node, config: type[Config], apply: Callable[[Config], object]) -> Config:
    """Declares the parameters on the node and returns their values, those given from outside in them.

    Later changes are refused or set together; ``apply`` then gets the new values. The node must have been
    made with ``automatically_declare_parameters_from_overrides``: this is rclpy's only public way to see the
    names given from outside that nobody declares, and a typing error must not go unnoticed.

    Raises ParameterError for an unknown name, a wrong type, or a value that is not allowed.
    """
    known = {declaration.name: declaration for declaration in declarations(config)}
    _check_given(node, known)
    for name, declaration in known.items():
        node.declare_parameter(name, declaration.default, _descriptor(declaration))

    def values(changes: list[Parameter]) -> Config:
        current = {parameter.name: parameter.value for parameter in node.get_parameters(list(known))}
        return _filled(config(), {**current, **{change.name: change.value for change in changes}})

    def judge(changes: list[Parameter]) -> SetParametersResult:
        try:
            for change in changes:
                if change.name in known:
                    known[change.name].check(change.value)
            values(changes)
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def was_set(changes: list[Parameter]) -> None:
        if any(change.name in known for change in changes):
            apply(values([]))

    try:
        start = values([])
    except ValueError as error:
        raise ParameterError(str(error)) from error
    # Another callback may still refuse what this one allows, so that it must change nothing.
    node.add_on_set_parameters_callback(judge)
    node.add_post_set_parameters_callback(was_set)
    return start


def _check_given(node: Node, known: Mapping[str, Declaration]) -> None:
    """Checks the values given from outside and makes room for the declarations of their parameters."""
    for name, parameter in node.get_parameters_by_prefix("").items():
        if name in known:
            known[name].check(parameter.value)
            node.undeclare_parameter(name)  # it has no description and no range yet
        elif not name.startswith(_OF_RCLPY):
            raise ParameterError(f"parameter '{name}' is not known; known are: {', '.join(sorted(known))}")


def _filled(config: Config, values: Mapping[str, Any], prefix: str = "") -> Config:
    """The dataclass with other values, by the parameters' names. Raises ValueError as its checks do."""
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        name, default = prefix + field.name, getattr(config, field.name)
        nested = dataclasses.is_dataclass(default)
        fields[field.name] = _filled(default, values, f"{name}.") if nested else values[name]
    try:
        return dataclasses.replace(config, **fields)  # type: ignore[type-var]
    except ValueError as error:  # it begins with the field's name
        raise ValueError(f"{prefix}{error}") from error


def _descriptor(declaration: Declaration) -> ParameterDescriptor:
    meta = declaration.field.metadata
    descriptor = ParameterDescriptor(
        description=f"{meta['description']} (changeable {declaration.when})",
        read_only=declaration.when == READ_ONLY,
    )
    if meta["choices"]:
        descriptor.additional_constraints = allowed(declaration.field)
    if meta["low"] is not None and declaration.type is float:
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=float(meta["low"]), to_value=float(meta["high"]))
        ]
    elif meta["low"] is not None:
        descriptor.integer_range = [IntegerRange(from_value=meta["low"], to_value=meta["high"], step=1)]
    return descriptor
