"""Errors that a user can cause. Their messages name the cause and, where there is one, the remedy."""

from __future__ import annotations

import sys


class KinaemaError(Exception):
    """Something that a user can cause: a bad file, a node that is not running, a goal that was not reached.

    Commands and nodes tell it in one line. Any other exception is a fault in the program.
    """


class InputError(KinaemaError, ValueError):
    """A file, image, pose, camera, device or setting that cannot be used."""


class BadInput(InputError):
    """Input that must not reach the memory.

    ``reason`` is a short key that is counted in the node's status (lower case, underscores); the message says
    what is wrong and what to do about it.
    """

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


class UnsurePlaceError(KinaemaError, RuntimeError):
    """A place that cannot be added by a photo: it is not recognised, or not surely."""


class NoSuchPlaceError(KinaemaError, LookupError):
    """No place of the memory has this name."""


class ForgottenPlaceError(KinaemaError, LookupError):
    """The surroundings of a place are no longer in memory, so that where it lies is not known."""


_DISTRIBUTIONS = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "yaml": "PyYAML",
}  # modules by another name


def missing_package(error: ModuleNotFoundError) -> str:
    """What a user is told of a package that is not installed; "" where a module of our own is missing."""
    name = (error.name or "").partition(".")[0]
    if name in ("", "kinaema_ros"):
        return ""
    if name == "rclpy" or name.endswith(("_msgs", "_srvs", "_interfaces")):
        return f"{name} is missing: run `make setup`, or source a ROS 2 workspace with this package"
    if (
        sys.prefix == sys.base_prefix
    ):  # no virtual environment; Debian's and Ubuntu's own takes nothing from pip
        return (
            f"the Python package {name} is missing from {sys.executable}: build in a virtual environment that has it, "
            "as in 'On your robot' of the README"
        )
    return f"the Python package {name} is missing: `{sys.executable} -m pip install {_DISTRIBUTIONS.get(name, name)}`"
