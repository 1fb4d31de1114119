"""Errors that a user can cause. Their messages name the cause and, where there is one, the remedy."""

from __future__ import annotations


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
