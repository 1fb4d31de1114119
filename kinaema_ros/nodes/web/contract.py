"""What the server needs of a robot: robot.py has the real one, tests play another."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from kinaema_ros.errors import KinaemaError
from kinaema_ros.nodes.web.photo import Photo

Pose = tuple[float, float, float]  # x, y (m), yaw (rad) in the odometry's frame
Ellipse = tuple[float, float, float]  # half axes (m) of the 90 % ellipse, and the yaw (rad) of the longer one
PIN = "pin"  # the place that a goal on the map, or an alternative of a photo, is kept as


class RobotRefuses(KinaemaError, RuntimeError):
    """The robot is there and will not, or is not there; the message says why and what to do. ``key``: for programs."""

    def __init__(self, key: str, message: str):
        super().__init__(message)
        self.key = key


@dataclass(frozen=True)
class Guess:
    """Where a photo may have been taken."""

    pose: Pose
    ellipse: Ellipse
    confidence: float


@dataclass(frozen=True)
class Answer:
    """The memory's answer about a photo; the best guess first."""

    seen: float
    guesses: tuple[Guess, ...]


@dataclass(frozen=True)
class Target:
    """Where somebody sends the robot: one of the three."""

    photo: Photo | None = None
    place: str = ""
    pose: Pose | None = None


@dataclass(frozen=True)
class Drive:
    """The newest drive, whoever asked for it. ``number`` grows by one with each."""

    number: int = 0
    state: str = "none"  # none, driving, arrived, stopped, replaced, failed
    code: int = 0  # of NavigateToImage, where it failed
    message: str = ""
    pose: Pose | None = None  # of the goal, as it is known by now
    ellipse: Ellipse | None = None
    confidence: float | None = None
    distance: float | None = None  # metres left


@dataclass(frozen=True)
class State:
    """What all pages show, several times a second."""

    pose: Pose | None = None
    ellipse: Ellipse | None = None
    memory: str = "absent"  # absent, or a state of MemoryStatus in lower case
    waiting_for: str = ""
    updates: int = 0
    camera: bool = False
    drive: Drive = field(default_factory=Drive)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Place:
    """A place with a name; its pose is None where its surroundings are no longer in memory."""

    name: str
    pose: Pose | None


@dataclass(frozen=True)
class Map:
    """What the memory knows, and where the robot has been. ``version`` changes with it."""

    version: int = 0
    viewpoints: tuple[Pose, ...] = ()
    path: tuple[tuple[float, float], ...] = ()
    places: tuple[Place, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


class Robot(Protocol):
    """Thread-safe. ``state``, ``map`` and ``camera`` return at once; the others take their time.

    They raise KinaemaError: InputError for what can never be, RobotRefuses for what is not so now.
    """

    def state(self) -> State:
        """How things are."""

    def map(self) -> Map:
        """What the memory knows."""

    def camera(self) -> bytes | None:
        """The newest picture as JPEG; None while there is none. Pictures are taken as long as somebody asks."""

    def locate(self, photo: Photo) -> Answer:
        """Where was this photo taken?"""

    def go(self, target: Target) -> int:
        """Sends the robot; returns the drive's number once it is accepted."""

    def stop(self) -> str:
        """Ends every drive, whoever began it; returns "" once the robot is told, or why it may still be driving."""

    def add_place(self, name: str, target: Target) -> bool:
        """Names a place: the target's, or where the robot is. Returns whether the name was another one's before."""

    def remove_place(self, name: str) -> None:
        """Forgets a name."""
