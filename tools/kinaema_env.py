"""What sourcing `install/setup.bash` does, done when this environment's Python starts.

tools/setup_env.py copies this file into the environment beside a .pth file that calls `start`, so that
`.venv/bin/python` finds the ROS packages built for it in any shell, and every process it starts does too.
"""

import os
import sys


def start(prefixes: list[str], site_folders: list[str], library_folders: list[str]) -> None:
    """Puts ament prefixes, folders of Python packages and folders of shared libraries on their search paths.

    The dynamic linker reads LD_LIBRARY_PATH only when a process begins: where it lacks a folder, Python is
    replaced by itself, once, with the same arguments.
    """
    sys.path.extend(folder for folder in site_folders if folder not in sys.path)
    for variable in ("AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH"):  # the latter for colcon
        prepend(variable, prefixes)
    # The ROS wheels' own start-up does the same for their libraries alone.
    os.environ["_ROS_WHEELS_BOOTSTRAP_COMPLETE"] = "1"
    if prepend("LD_LIBRARY_PATH", library_folders):
        os.execve(sys.executable, sys.orig_argv, os.environ)


def prepend(variable: str, folders: list[str]) -> bool:
    """Puts folders in front of a search path of the environment; False where they stood there already."""
    old = [folder for folder in os.environ.get(variable, "").split(os.pathsep) if folder]
    new = folders + [folder for folder in old if folder not in folders]
    os.environ[variable] = os.pathsep.join(new)
    return new != old
