"""Launch files run as `ros2 launch` runs them, and stand-ins for the packages that they start."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ros_support import DISCOVERY

ROOT = Path(__file__).resolve().parents[1]
LAUNCH = ROOT / "launch"
# What the launch files start: executables of packages, and their launch files with some arguments and their defaults
# (Jazzy, Kilted, Lyrical).
FOREIGN = {
    "kinaema_ros": ["memory_node", "navigator_node", "simulator_node", "truth_localization"],
    "ros_gz_bridge": ["parameter_bridge"],
    "robot_state_publisher": ["robot_state_publisher"],
    "nav2_map_server": ["map_server"],
    "nav2_lifecycle_manager": ["lifecycle_manager"],
    "rviz2": ["rviz2"],
}
FOREIGN_FILES = {
    "ros_gz_sim": ("gz_sim.launch.py", {"gz_args": "", "on_exit_shutdown": "false"}),
    "nav2_bringup": (
        "navigation_launch.py",
        {
            "namespace": "",
            "use_sim_time": "false",
            "params_file": "/share/nav2_bringup/params/nav2_params.yaml",
            "autostart": "true",
            "use_composition": "False",
            "log_level": "info",
        },
    ),
}

_RUN = """
import os, sys
# Here and not from outside: the wheels' environment puts its own folders first when Python starts.
paths = [os.environ.get("STAND_INS"), os.environ.get("AMENT_PREFIX_PATH")]
os.environ["AMENT_PREFIX_PATH"] = os.pathsep.join(filter(None, paths))
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
service = LaunchService(noninteractive=True)
include = IncludeLaunchDescription(sys.argv[1], launch_arguments=[a.split(":=", 1) for a in sys.argv[2:]])
service.include_launch_description(LaunchDescription([include]))
sys.exit(service.run())
"""

# Writes down what it was called with, parameter files included, and waits to be stopped.
_RECORDER = """#!{python}
import json, os, signal, sys
values = sys.argv[1:]
files = [values[i + 1] for i, v in enumerate(values) if v == "--params-file"]
record = {{"arguments": values, "parameters": [open(f).read() for f in files]}}
path = os.path.join({folder!r}, os.path.basename(sys.argv[0]))
with open(path + ".part", "w") as stream:
    json.dump(record, stream)
os.rename(path + ".part", path + ".json")
signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
signal.pause()
"""

_INCLUDED = """
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node


def generate_launch_description():
    defaults = {defaults!r}
    words = [word for name in defaults for word in (name, LaunchConfiguration(name))]
    declared = [DeclareLaunchArgument(name, default_value=default) for name, default in defaults.items()]
    return LaunchDescription([*declared, Node(package={package!r}, executable={executable!r}, arguments=words)])
"""


class ParameterLoader(yaml.SafeLoader):
    """launch_ros marks lists as Python tuples, which rcl's parser of YAML overlooks."""


ParameterLoader.add_constructor(
    "tag:yaml.org,2002:python/tuple", lambda loader, value: loader.construct_sequence(value)
)


@dataclass(frozen=True)
class Started:
    """A node as its process understands how it was called."""

    name: str
    namespace: str  # from the root
    remappings: tuple[tuple[str, str], ...]
    parameters: dict[str, Any]
    log_level: str
    arguments: tuple[str, ...]  # before those of ROS

    @classmethod
    def from_call(cls, executable: str, call: dict) -> Started:
        """call: {"arguments": list of words, "parameters": list of YAML texts}."""
        words = call["arguments"]
        begin = words.index("--ros-args")
        options = words[begin:]
        rules = [options[i + 1].split(":=", 1) for i, word in enumerate(options) if word in ("-r", "--remap")]
        special = {old: new for old, new in rules if old.startswith("__")}
        level = options[options.index("--log-level") + 1] if "--log-level" in options else ""
        name, namespace = special.get("__node", executable), special.get("__ns", "/")
        parameters: dict[str, Any] = {}
        for text in call["parameters"]:
            for key, section in (yaml.load(text, ParameterLoader) or {}).items():
                if _matches(key, f"{namespace.rstrip('/')}/{name}"):
                    parameters.update(section["ros__parameters"])
        remappings = tuple((old, new) for old, new in rules if not old.startswith("__"))
        return cls(name, namespace, remappings, parameters, level, tuple(words[:begin]))

    @property
    def values(self) -> dict[str, str]:
        """The arguments of a launch file."""
        return dict(zip(self.arguments[::2], self.arguments[1::2], strict=True))

    def topic(self, name: str) -> str:
        """What a topic of the node is called in the end, from the root."""

        def absolute(name: str) -> str:
            return name if name.startswith("/") else f"{self.namespace.rstrip('/')}/{name}"

        rules = (new for old, new in self.remappings if absolute(old) == absolute(name))
        return absolute(next(rules, name))


def _matches(key: str, node: str) -> bool:
    """Whether a section of a parameter file is the node's; ** stands for any namespace, also none."""
    pattern = "".join(r"(/\w+)*" if part == "**" else f"/{part}" for part in key.strip("/").split("/"))
    return re.fullmatch(pattern, node) is not None


class LaunchProcess:
    """A launch file in a process of its own; use as a context manager."""

    def __init__(self, name: str, *arguments: str, environment: dict[str, str] | None = None):
        self._log = tempfile.NamedTemporaryFile("w+", suffix=".log")  # noqa: SIM115  closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-c", _RUN, str(LAUNCH / name), *arguments],
            cwd="/",  # in the checkout, its folder launch/ would hide the package launch
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
            start_new_session=True,  # a signal for us is not one for its nodes
        )

    @property
    def log(self) -> str:
        """What was said so far, by launch and by the nodes."""
        return Path(self._log.name).read_text()

    def wait_for(self, condition: Callable[[], object], what: str, timeout: float = DISCOVERY) -> None:
        """Polls until the condition holds, often one about the log, which notifies nobody; fails with the log when
        the launch ends or the time is over."""
        deadline = time.monotonic() + timeout
        while not condition():
            assert self.alive(), f"no {what}:\n{self.log}"
            assert time.monotonic() < deadline, f"no {what}:\n{self.log}"
            time.sleep(0.01)

    def says(self, text: str) -> None:
        """Waits until the log contains this."""
        self.wait_for(lambda: text in self.log, text)

    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def __enter__(self) -> LaunchProcess:
        return self

    def __exit__(self, *_: object) -> None:
        if self.alive():
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(90.0)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the launch did not end within 90 s:\n{self.log}") from None
        finally:
            with contextlib.suppress(ProcessLookupError):  # a launch that failed leaves what it had started
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


class StandIns:
    """ROS packages with executables and launch files that only write down how they were called."""

    def __init__(self, folder: Path):
        self.prefix, self._records = folder / "prefix", folder / "records"
        self._records.mkdir(parents=True)

    @property
    def environment(self) -> dict[str, str]:
        """In which these packages come before installed ones."""
        return {"STAND_INS": str(self.prefix)}

    def executable(self, package: str, name: str) -> Path:
        """A package with an executable."""
        index = self.prefix / "share" / "ament_index" / "resource_index" / "packages"
        index.mkdir(parents=True, exist_ok=True)
        (index / package).touch()
        path = self.prefix / "lib" / package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_RECORDER.format(python=sys.executable, folder=str(self._records)))
        path.chmod(0o755)
        return path

    def launch_file(self, package: str, name: str, defaults: dict[str, str]) -> None:
        """A package with a launch file that takes these arguments."""
        executable = name.partition(".")[0]
        self.executable(package, executable)
        path = self.prefix / "share" / package / "launch" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_INCLUDED.format(defaults=defaults, package=package, executable=executable))

    def called(self, name: str) -> bool:
        """Whether the executable or launch file was started."""
        return (self._records / f"{name}.json").exists()

    def started(self, name: str) -> Started:
        """How it was."""
        return Started.from_call(name, json.loads((self._records / f"{name}.json").read_text()))
