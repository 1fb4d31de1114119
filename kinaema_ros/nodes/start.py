"""What `ros2 run` and launch files start. A package that a node lacks is told in one line, before ROS is there to log it."""

from __future__ import annotations

import sys
from importlib import import_module

from kinaema_ros.errors import missing_package


def memory_node() -> int:
    """Runs kinaema_memory; returns the exit status."""
    return _run("kinaema_ros.nodes.memory.node")


def navigator_node() -> int:
    """Runs kinaema_navigator; returns the exit status."""
    return _run("kinaema_ros.nodes.navigator.node")


def simulator_node() -> int:
    """Runs kinaema_simulator; returns the exit status."""
    return _run("kinaema_ros.nodes.simulator.node")


def truth_localization() -> int:
    """Runs kinaema_truth_localization; returns the exit status."""
    return _run("kinaema_ros.nodes.simulator.truth_localization")


def web_node() -> int:
    """Runs kinaema_web; returns the exit status."""
    return _run("kinaema_ros.nodes.web.node")


def _run(module: str) -> int:
    try:
        main = import_module(module).main
    except ModuleNotFoundError as error:
        if not (explanation := missing_package(error)):
            raise
        print(f"{module}: error: {explanation}", file=sys.stderr)
        return 1
    return main()
