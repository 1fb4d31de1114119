"""The demo's nodes as processes: started together, in a ROS domain of their own, and never left behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType

from kinaema_ros.errors import KinaemaError

SPEED = 8.0  # the simulated robot's seconds a second, where the machine keeps up
_STOP_TIMEOUT = 5.0  # seconds until a node that does not end is killed
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@contextlib.contextmanager
def own_domain() -> Iterator[int]:
    """A ROS domain on this machine that nobody else uses, for this process and those it starts meanwhile.

    The user's own would let the demo's cmd_vel drive the user's own robot.
    """
    domain = _free_domain()
    settings = {"ROS_DOMAIN_ID": str(domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield domain
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _free_domain() -> int:
    """Of those whose ports lie outside every system's range for outgoing connections."""
    domains = random.sample(range(1, 102), 101)
    return next((domain for domain in domains if _is_free(domain)), domains[0])


def _is_free(domain: int) -> bool:
    """No first participant listens in it. The port is RTPS's: 7400 + 250 * domain + 10."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", 7410 + 250 * domain))
        except OSError:
            return False
    return True


NODE_MODULES = {
    "memory_node": "kinaema_ros.nodes.memory.node",
    "navigator_node": "kinaema_ros.nodes.navigator.node",
    "simulator_node": "kinaema_ros.nodes.simulator.node",
    "truth_localization": "kinaema_ros.nodes.simulator.truth_localization",
    "web_node": "kinaema_ros.nodes.web.node",
}


class NodeProcesses:
    """``with NodeProcesses(logs, {"memory_node": ["device:=cpu"]}):`` runs nodes of this package with parameters.

    Each logs to a file of its name in the folder. On leaving they are interrupted, last one first, and killed if
    that does not help. They also end when this process dies.
    """

    def __init__(self, logs: Path, nodes: Mapping[str, Sequence[str]]):
        self._logs, self._nodes = logs, nodes
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> NodeProcesses:
        self._logs.mkdir(parents=True, exist_ok=True)
        try:
            for name, parameters in self._nodes.items():
                with _interrupts_wait():
                    self._processes[name] = self._start(name, parameters, "wb")
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def check(self) -> None:
        """Raises KinaemaError, with the last words of its log, if a node has ended."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                log = self._log(name)
                words = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
                raise KinaemaError(f"{name} ended with status {process.returncode}: {words[-1]} (see {log})")

    def pid(self, name: str) -> int:
        """The process of a node."""
        return self._processes[name].pid

    def restart(self, name: str, meanwhile: Callable[[], object]) -> None:
        """Ends a node as a robot that is switched off does (SIGTERM), and starts it again after ``meanwhile``."""
        process = self._processes[name]
        process.terminate()
        _end(process)
        meanwhile()
        with _interrupts_wait():
            self._processes[name] = self._start(name, self._nodes[name], "ab")

    def _start(self, name: str, parameters: Sequence[str], mode: str) -> subprocess.Popen[bytes]:
        arguments = [word for parameter in parameters for word in ("-p", parameter)]
        with self._log(name).open(mode) as log:
            return subprocess.Popen(
                [sys.executable, "-u", "-m", NODE_MODULES[name], "--ros-args", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "RCUTILS_LOGGING_USE_STDOUT": "1"},
                # Ctrl-C in the terminal is for the demo alone, which stops the nodes in order.
                start_new_session=True,
                preexec_fn=partial(_end_with, os.getpid()) if sys.platform == "linux" else None,
            )

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def _stop(self) -> None:
        for process in reversed(list(self._processes.values())):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
        for process in self._processes.values():
            _end(process)
        self._processes.clear()


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def _interrupts_wait() -> Iterator[None]:
    """SIGINT and SIGTERM take effect when the block has ended.

    Python drops an exception that a signal raises amid a fork, and one a little later would leave a process that nobody
    knows.
    """
    if threading.current_thread() is not threading.main_thread():  # where no signal is handled
        yield
        return
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda arrived, _: came.append(arrived))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for arrived in came[:1]:
            signal.raise_signal(arrived)


_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def _end_with(parent: int) -> None:
    """Asks the kernel for a SIGTERM at the parent's death, SIGKILL included; nobody tells of one that is dead already."""
    assert _libc is not None
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)
