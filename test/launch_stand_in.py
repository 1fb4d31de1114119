"""What the launch files use of `launch` and `launch_ros`, for machines without them: who is started, and how.

Configurations are scoped as the real ones are: an included file's arguments stay behind where no group encloses it.
test_launch_arguments.py compares its results with the real packages' wherever these are, which keeps this honest.
"""

from __future__ import annotations

import contextlib
import importlib.util
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]


class LaunchContext:
    """Configurations now, those of enclosing scopes, and what was started."""

    def __init__(self, foreign: dict[str, dict[str, str]] | None = None):
        self.launch_configurations: dict[str, Any] = {}
        self.scopes: list[dict[str, Any]] = []
        self.foreign = foreign or {}  # launch file: the defaults of its arguments
        self.calls: dict[str, dict] = {}  # executable: as launch_support's recorder writes it down
        self.brought_up: set[str] = set()  # executables that are configured once they run

    def visit(self, entity: Any) -> None:
        condition = getattr(entity, "condition", None)
        if condition is None or condition.evaluate(self):
            for below in entity.execute(self) or ():
                self.visit(below)

    def text(self, value: Any) -> str:
        if isinstance(value, (list, tuple)):
            return "".join(map(self.text, value))
        return value.perform(self) if hasattr(value, "perform") else str(value)

    def typed(self, value: Any) -> Any:
        """A parameter's value; text is read as YAML, as launch_ros does where no type is given."""
        if isinstance(value, ParameterValue):
            text = self.text(value.value)
            return text if value.value_type is str else value.value_type(yaml.safe_load(text))
        if hasattr(value, "perform"):
            return yaml.safe_load(self.text(value))
        return value


class Substitution:
    def __init__(self, compute: Callable[[LaunchContext], str]):
        self.perform = compute


class Entity:
    """An action that does one thing to the context."""

    def __init__(self, act: Callable[[LaunchContext], Iterable[Any] | None], condition: Any = None):
        self.execute, self.condition = act, condition


class LaunchDescription:
    def __init__(self, entities: list):
        self.entities = entities

    def execute(self, _: LaunchContext) -> list:
        return self.entities


class DeclareLaunchArgument:
    def __init__(self, name: str, default_value: Any = None, description: str = ""):
        self.name, self.default_value, self.description = name, default_value, description

    def execute(self, context: LaunchContext) -> None:
        if self.name not in context.launch_configurations:
            context.launch_configurations[self.name] = context.text(self.default_value)


class GroupAction:
    """Scoped and forwarding, as by default."""

    def __init__(self, actions: list):
        self.actions = actions

    def execute(self, _: LaunchContext) -> list:
        def push(context: LaunchContext) -> None:
            context.scopes.append(dict(context.launch_configurations))

        def pop(context: LaunchContext) -> None:
            context.launch_configurations = context.scopes.pop()

        return [Entity(push), *self.actions, Entity(pop)]


class IncludeLaunchDescription:
    def __init__(self, path: Any, launch_arguments: Iterable[tuple[str, Any]] = ()):
        self.path, self.arguments = path, list(launch_arguments)

    def execute(self, context: LaunchContext) -> list:
        for name, value in self.arguments:
            context.launch_configurations[name] = context.text(value)
        path = context.text(self.path)
        if Path(path).name not in context.foreign:
            return [load(path)]
        defaults = context.foreign[Path(path).name]
        words = [word for name in defaults for word in (name, LaunchConfiguration(name))]
        declared = [DeclareLaunchArgument(name, default) for name, default in defaults.items()]
        return [*declared, Node("foreign", Path(path).name.partition(".")[0], arguments=words)]


class Node:
    def __init__(
        self, package: str, executable: str, name: str | None = None, namespace: Any = None,
        parameters: list | None = None, remappings: list | None = None, arguments: list | None = None,
        condition: Any = None, **_: Any,
    ):  # fmt: skip
        self.node_executable, self.name, self.namespace, self.condition = (
            executable,
            name,
            namespace,
            condition,
        )
        self.parameters, self.remappings, self.arguments = parameters or [], remappings or [], arguments or []

    def execute(self, context: LaunchContext) -> None:
        words = [*map(context.text, self.arguments), "--ros-args"]
        words += ["-r", f"__node:={self.name}"] if self.name else []
        namespace = context.launch_configurations.get("ros_namespace")
        if self.namespace is not None:
            namespace = joined(namespace, context.text(self.namespace))
        words += ["-r", f"__ns:={namespace}"] if namespace else []
        remappings = [*context.launch_configurations.get("ros_remaps", ()), *self.remappings]
        words += [w for old, new in remappings for w in ("-r", f"{context.text(old)}:={context.text(new)}")]
        key = joined(namespace, self.name) if self.name and namespace else "/**"
        texts = []
        for entry in self.parameters:
            if isinstance(entry, dict):
                values = {name: context.typed(value) for name, value in entry.items()}
                texts.append(yaml.safe_dump({key: {"ros__parameters": values}}))
            else:
                texts.append(Path(context.text(entry)).read_text())
        context.calls[self.node_executable] = {"arguments": words, "parameters": texts}


def joined(base: str | None, name: str) -> str:
    """A name, or a namespace, below another one unless it begins at the root."""
    whole = name if name.startswith("/") else f"{(base or '').rstrip('/')}/{name}"
    return whole if whole == "/" else whole.rstrip("/")


class ParameterValue:
    def __init__(self, value: Any, value_type: type):
        self.value, self.value_type = value, value_type


def LaunchConfiguration(name: str) -> Substitution:
    return Substitution(lambda context: context.launch_configurations[name])


def _true(context: LaunchContext, value: Any) -> bool:
    return {"true": True, "1": True, "false": False, "0": False}[context.text(value).lower()]


def _command(context: LaunchContext, words: Any) -> str:
    return subprocess.run(
        shlex.split(context.text(words)), stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def _register(handler: Any, condition: Any = None) -> Entity:
    def register(context: LaunchContext) -> None:
        if handler.target_action is not None:
            context.brought_up.add(handler.target_action.node_executable)

    return Entity(register, condition)


def _push_namespace(namespace: Any) -> Entity:
    def push(context: LaunchContext) -> None:
        now = context.launch_configurations
        now["ros_namespace"] = joined(now.get("ros_namespace"), context.text(namespace))

    return Entity(push)


def _set_remap(old: Any, new: Any) -> Entity:
    def add(context: LaunchContext) -> None:
        now = context.launch_configurations
        now["ros_remaps"] = [*now.get("ros_remaps", ()), (context.text(old), context.text(new))]

    return Entity(add)


def _share(package: str) -> Substitution:
    return Substitution(lambda _: str(ROOT) if package == "kinaema_ros" else f"/share/{package}")


def _modules() -> dict[str, ModuleType]:
    def nothing(*_: Any, **__: Any) -> Entity:
        return Entity(lambda _: None)

    names: dict[str, dict[str, Any]] = {
        "launch": {
            "LaunchContext": LaunchContext,
            "LaunchDescription": LaunchDescription,
            "LaunchDescriptionEntity": object,
        },
        "launch.actions": {
            "DeclareLaunchArgument": DeclareLaunchArgument,
            "EmitEvent": nothing,
            "GroupAction": GroupAction,
            "IncludeLaunchDescription": IncludeLaunchDescription,
            "LogInfo": nothing,
            "OpaqueFunction": lambda function, condition=None: Entity(function, condition),
            "RegisterEventHandler": _register,
        },
        "launch.conditions": {
            "IfCondition": lambda value: SimpleNamespace(evaluate=lambda context: _true(context, value)),
        },
        "launch.event_handlers": {
            "OnProcessStart": lambda target_action, on_start: SimpleNamespace(target_action=target_action),
        },
        "launch.events": {"matches_action": lambda action: action},
        "launch.substitutions": {
            "Command": lambda words: Substitution(lambda context: _command(context, words)),
            "IfElseSubstitution": lambda value, if_value, else_value: Substitution(
                lambda context: context.text(if_value if _true(context, value) else else_value)
            ),
            "LaunchConfiguration": LaunchConfiguration,
            "NotSubstitution": lambda value: Substitution(
                lambda context: str(not _true(context, value)).lower()
            ),
            "PathJoinSubstitution": lambda parts: Substitution(
                lambda context: str(Path(*map(context.text, parts)))
            ),
        },
        "launch_ros": {},
        "launch_ros.actions": {
            "LifecycleNode": Node,
            "Node": Node,
            "PushROSNamespace": _push_namespace,
            "SetRemap": _set_remap,
        },
        "launch_ros.event_handlers": {
            "OnStateTransition": lambda **_: SimpleNamespace(target_action=None),
        },
        "launch_ros.events": {},
        "launch_ros.events.lifecycle": {"ChangeState": SimpleNamespace},
        "launch_ros.parameter_descriptions": {"ParameterValue": ParameterValue},
        "launch_ros.substitutions": {"FindPackageShare": _share},
    }
    modules = {}
    for name, members in names.items():
        modules[name] = ModuleType(name)
        vars(modules[name]).update(members)
    return modules


@contextlib.contextmanager
def _in_place(modules: dict[str, ModuleType]) -> Iterator[None]:
    """Of all that is imported meanwhile, only these modules are gone afterwards: numba cannot be imported twice."""
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def load(path: str | Path) -> LaunchDescription:
    """What a launch file describes."""
    spec = importlib.util.spec_from_file_location("launch_file_of_test", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with _in_place(_modules()):
        spec.loader.exec_module(module)
        return module.generate_launch_description()


def run(path: Path, arguments: dict[str, str], foreign: dict[str, dict[str, str]]) -> LaunchContext:
    """`ros2 launch FILE ARGUMENTS`; foreign: the arguments and defaults of other packages' launch files."""
    context = LaunchContext(foreign)
    context.launch_configurations.update(arguments)
    context.visit(load(path))
    return context


def listed(path: Path) -> set[str]:
    """The arguments that `ros2 launch FILE --show-args` lists: those of included files too, where they can be found."""

    def below(entities: list) -> Iterator[str]:
        for entity in entities:
            if isinstance(entity, DeclareLaunchArgument):
                yield entity.name
            elif isinstance(entity, GroupAction):
                yield from below(entity.actions)
            elif isinstance(entity, IncludeLaunchDescription):
                included = Path(LaunchContext().text(entity.path))
                if included.exists():
                    yield from below(load(included).entities)
                else:
                    raise AssertionError(f"the arguments of {included} are listed, too")

    return set(below(load(path).entities))
