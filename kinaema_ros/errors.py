"""What a node says about input it cannot use."""

from __future__ import annotations


class KinaemaError(Exception):
    """What a user can cause; the message names the cause and the remedy."""


class BadInput(ValueError):
    """Input that must not reach the memory.

    ``reason`` is a short key that is counted in the node's status (lower case, underscores); the message says
    what is wrong and what to do about it.
    """

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason
