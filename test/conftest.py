"""What all tests share: the marker of those that need ROS, a DDS domain of their own, and a Ctrl-C that works."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from pathlib import Path

import pytest

# Before anything imports NumPy or PyTorch, and for processes that tests start: two pytest workers that each take
# all cores would wait for each other, and small networks gain nothing from several threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# The tests start many processes that import PyTorch; where no bytecode is kept, each compiles it anew for seconds.
# Where the user wants no bytecode beside the sources, it is kept in pytest's cache.
if sys.dont_write_bytecode:
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(Path(__file__).resolve().parents[1] / ".pytest_cache" / "bytecode")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix
# Before anything initialises rclpy, so that no robot nearby is heard. Node tests use domains 20 to 49; a process keeps one for all its nodes.
os.environ.setdefault("ROS_DOMAIN_ID", str(20 + os.getpid() % 30))
# LOCALHOST would add shared memory to the transports of Fast DDS's profile.
if os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp").startswith("rmw_fastrtps"):
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "SYSTEM_DEFAULT"
    profile = "FASTRTPS" if os.environ.get("ROS_DISTRO") == "jazzy" else "FASTDDS"
    os.environ[f"{profile}_DEFAULT_PROFILES_FILE"] = str(Path(__file__).with_name("loopback.xml"))
else:
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
# A shell starts background jobs with SIGINT ignored, and processes that a test starts would inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROS_TESTS = Path(__file__).parent / "ros"


def installed(package: str) -> bool:
    """Whether it can be imported. From the root, the sources of kinaema_interfaces look like a package without code."""
    spec = importlib.util.find_spec(package)
    return spec is not None and spec.origin is not None


MISSING = [name for name in ("rclpy", "kinaema_interfaces") if not installed(name)]


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist's
def pytest_cmdline_main(config: pytest.Config) -> None:
    """`-m "not ros"` has two workers, unless -n says otherwise. Tests with ROS wait for nodes: one at a time."""
    option = config.option
    undecided = getattr(option, "numprocesses", 0) is None and "PYTEST_XDIST_WORKER" not in os.environ
    if undecided and option.markexpr == "not ros" and not option.usepdb:
        option.numprocesses, option.dist = 2, "worksteal"


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Where ROS is missing, its tests cannot even be imported."""
    return True if MISSING and collection_path == ROS_TESTS else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if MISSING:
        terminalreporter.write_line(f"test/ros is left out: {' and '.join(MISSING)} cannot be imported")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if ROS_TESTS in item.path.parents:
            item.add_marker("ros")
