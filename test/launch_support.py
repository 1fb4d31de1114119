"""Launch files run as `ros2 launch` runs them, and stand-ins for the packages that they start."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ros_support import DISCOVERY

ROOT = Path(__file__).resolve().parents[1]
LAUNCH = ROOT / "launch"

_RUN = """
import sys
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
from launch.actions import DeclareLaunchArgument, ExecuteProcess
from launch.substitutions import LaunchConfiguration


def generate_launch_description():
    names = {names!r}
    command = [{recorder!r}]
    for name in names:
        command += [name, LaunchConfiguration(name)]
    # Without defaults: a name that is not given is an error.
    return LaunchDescription([*(DeclareLaunchArgument(name) for name in names), ExecuteProcess(cmd=command)])
"""


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
        paths = [str(self.prefix), *filter(None, [os.environ.get("AMENT_PREFIX_PATH")])]
        return {"AMENT_PREFIX_PATH": os.pathsep.join(paths)}

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

    def launch_file(self, package: str, name: str, *arguments: str) -> None:
        """A package with a launch file that takes these arguments."""
        recorder = self.executable(package, name.partition(".")[0])
        path = self.prefix / "share" / package / "launch" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_INCLUDED.format(names=arguments, recorder=str(recorder)))

    def called(self, name: str) -> bool:
        """Whether the executable or launch file was started."""
        return (self._records / f"{name}.json").exists()

    def record(self, name: str) -> dict:
        """How it was: {"arguments": list of words, "parameters": list of YAML texts}."""
        return json.loads((self._records / f"{name}.json").read_text())

    def arguments(self, name: str) -> dict[str, str]:
        """The arguments of a launch file."""
        words = self.record(name)["arguments"]
        return dict(zip(words[::2], words[1::2], strict=True))
