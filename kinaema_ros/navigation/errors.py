"""How a drive to a photo may end other than by arrival."""

from __future__ import annotations

from kinaema_ros.errors import KinaemaError


class NavigationError(KinaemaError):
    """A drive ended other than by arrival.

    ``code`` is an error code of kinaema_interfaces/action/NavigateToImage; without one it is the class's own.
    """

    code = 100  # UNKNOWN

    def __init__(self, message: str, code: int | None = None):
        super().__init__(message)
        if code is not None:
            self.code = code


class NotSeen(NavigationError):
    """The photo shows a place that is probably not in memory."""

    code = 103  # NOT_SEEN


class NotSure(NavigationError):
    """The photo's place was seen, but where it is is not sure enough."""

    code = 116  # NOT_SURE


class NoAnswer(NavigationError):
    """The memory cannot be asked right now; a robot that has a goal already drives on by it."""

    code = 106  # QUERY_FAILED


class DriveTimeout(NavigationError):
    """The drive took too long."""

    code = 115  # TIMEOUT


class NotReached(NavigationError):
    """The robot says that it arrived, but stands beside its goal."""

    code = 117  # NOT_REACHED


class OtherPlace(NavigationError):
    """Wherever the robot arrived, its camera saw another place than the photo's."""

    code = 118  # OTHER_PLACE
