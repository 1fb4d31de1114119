"""A robot that does what a test says, and a server over it: the page without ROS."""

from __future__ import annotations

import asyncio
import io
import json
import math
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from kinaema_ros.errors import InputError
from kinaema_ros.nodes.web.contract import Answer, Drive, Guess, Map, Place, RobotRefuses, State, Target
from kinaema_ros.nodes.web.guard import Guard
from kinaema_ros.nodes.web.photo import Photo
from kinaema_ros.nodes.web.server import WebServer
from kinaema_ros.nodes.web.service import WebService
from kinaema_ros.nodes.web.tokens import Role, Tokens

HERE = Guess((3.2, 1.4, 0.6), (0.25, 0.12, 0.4), 0.93)
THERE = Guess((-1.5, 2.6, 2.2), (0.5, 0.3, 1.0), 0.05)


def jpeg(width: int = 64, height: int = 48, exif: bytes = b"", kind: str = "JPEG") -> bytes:
    """A photo of noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **({"exif": exif} if exif else {}))
    return buffer.getvalue()


def rooms() -> tuple[tuple[float, float, float], ...]:
    """Viewpoints along a walk through two rooms."""
    walk = [(math.cos(t) * 2.4 - 1, math.sin(t) * 1.8 + 1, t + 1.6) for t in np.linspace(0, 6.1, 60)]
    walk += [(1.4 + 0.3 * i, 1.0, 0.2 * math.sin(i)) for i in range(6)]
    walk += [(math.cos(t) * 1.6 + 4.8, math.sin(t) * 2.2 + 1, t) for t in np.linspace(3.1, 9.2, 60)]
    return tuple((round(x, 2), round(y, 2), round(yaw, 3)) for x, y, yaw in walk)


class PlayedRobot:
    """Answers at once; ``wrong`` is raised instead, where it is set."""

    def __init__(self) -> None:
        points = rooms()
        path = tuple((x, y) for x, y, _ in points)
        self.now = State((0.4, 0.9, 0.3), (0.06, 0.04, 0.0), "running", "", 412, True)
        self.known = Map(
            1, points, path, (Place("Kitchen", (5.6, 2.3, 1.2)), Place("Sofa", (-2.1, 0.2, 3.0)))
        )
        self.picture: bytes | None = jpeg(320, 240)
        self.went: list[Target] = []
        self.stops = 0
        self.asked: list[Photo] = []
        self.wrong: Exception | None = None
        self.answer = Answer(0.98, (HERE, THERE))

    def _fail(self) -> None:
        if self.wrong is not None:
            raise self.wrong

    def state(self) -> State:
        return self.now

    def map(self) -> Map:
        return self.known

    def camera(self) -> bytes | None:
        return self.picture

    def locate(self, photo: Photo) -> Answer:
        self._fail()
        self.asked.append(photo)
        return self.answer

    def go(self, target: Target) -> int:
        self._fail()
        self.went.append(target)
        pose = target.pose or HERE.pose
        number = self.now.drive.number + 1
        drive = Drive(number, "driving", 0, "", pose, HERE.ellipse, HERE.confidence, 4.2)
        self.now = replace(self.now, drive=drive)
        return number

    def stop(self) -> str:
        self._fail()
        self.stops += 1
        self.end("stopped")
        return ""

    def end(self, state: str, code: int = 0, message: str = "") -> None:
        """The drive ends."""
        drive = replace(self.now.drive, state=state, code=code, message=message, distance=None)
        self.now = replace(self.now, drive=drive)

    def add_place(self, name: str, target: Target) -> bool:
        self._fail()
        if not name.strip() or len(name) > 64:
            raise InputError("a name has 1 to 64 characters")
        replaced = any(place.name == name for place in self.known.places)
        pose = target.pose or (HERE.pose if target.photo else self.now.pose)
        kept = [place for place in self.known.places if place.name != name]
        places = tuple(sorted([*kept, Place(name, pose)], key=lambda place: place.name))
        self.known = replace(self.known, version=self.known.version + 1, places=places)
        return replaced

    def remove_place(self, name: str) -> None:
        self._fail()
        kept = tuple(place for place in self.known.places if place.name != name)
        if len(kept) == len(self.known.places):
            raise RobotRefuses("no_such_place", f"there is no place {name!r}")
        self.known = replace(self.known, version=self.known.version + 1, places=kept)


@contextmanager
def served(
    robot: PlayedRobot,
    tokens: Tokens | None = None,
    free: Role | None = None,
    host_names: tuple[str, ...] = (),
    secure: bool = False,
    max_photo_bytes: int = 2_000_000,
    port: int = 0,
) -> Iterator[str]:
    """The page over a robot; its address."""
    free = Role.DRIVE if tokens is None else free or Role.NOBODY
    guard = Guard(tokens, free, host_names, secure)
    service = WebService(lambda: WebServer(robot, guard, max_photo_bytes).app(), "127.0.0.1", port, None)
    try:
        yield f"http://127.0.0.1:{service.port}"
    finally:
        service.close()


def ask(
    url: str, method: str = "GET", body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, Any, Any]:
    """(status, headers, JSON or bytes) of a request as a program of ours sends it."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    sent = {"X-Kinaema": "test", **(headers or {})}
    request = urllib.request.Request(url, data, {k: v for k, v in sent.items() if v}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            status, got, content = response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        status, got, content = error.code, error.headers, error.read()
    is_json = got.get_content_type() == "application/json"
    return status, got, json.loads(content) if is_json else content


def routes() -> list[tuple[str, str]]:
    """Method and path of all that is served."""

    async def listed() -> list[tuple[str, str]]:
        app = WebServer(PlayedRobot(), Guard(None, Role.DRIVE)).app()
        return [(route.method, route.resource.canonical) for route in app.router.routes() if route.resource]

    return asyncio.run(listed())
