"""The page and the JSON API behind it, over whatever robot it is given. No ROS in here.

docs/web.md says how to use it; openapi.json describes every address below /api.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import secrets
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web

from kinaema_ros.errors import InputError, KinaemaError
from kinaema_ros.nodes.web.contract import Answer, Pose, Robot, RobotRefuses, Target
from kinaema_ros.nodes.web.guard import REQUEST_HEADER, Guard, add_headers
from kinaema_ros.nodes.web.news import News
from kinaema_ros.nodes.web.photo import Photo, read_photo
from kinaema_ros.nodes.web.replies import Refusal, refuse
from kinaema_ros.nodes.web.tokens import Role

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
STATIC = Path(__file__).parent / "static"
MAX_JSON = 4096  # bytes
MAX_COORDINATE = 1e6  # metres
MAX_NAME = 64  # characters, see AddPlace
_BODY_TIMEOUT = 30.0  # seconds for a request's body to arrive
_KEPT_PHOTOS = 16


@dataclass(frozen=True)
class AskedPhoto:
    """A photo that somebody asked about, and the answer."""

    photo: Photo
    answer: Answer


class WebServer:
    """``app`` answers requests. Made in the event loop that serves it."""

    def __init__(self, robot: Robot, guard: Guard, max_photo_bytes: int = 20_000_000):
        self._robot, self._guard, self._max_photo = robot, guard, max_photo_bytes
        self._photos: OrderedDict[str, AskedPhoto] = OrderedDict()
        self._news = News(robot)
        self._asking = asyncio.Semaphore(2)  # a photo takes 250 MB while it is decoded, at worst
        self._stopping = ThreadPoolExecutor(4, "stop")  # of its own: no other request may be in its way

    def app(self) -> web.Application:
        """The application, with its middleware."""
        guard = self._guard
        app = web.Application(
            middlewares=[guard.middleware, _errors_as_json], client_max_size=self._max_photo
        )
        app.on_response_prepare.append(add_headers)
        app.on_shutdown.append(self._news.end)
        app.on_cleanup.append(self._end_threads)

        def route(method: str, path: str, role: Role, handler: Any) -> None:
            app.router.add_route(method, path, guard.lets(role, handler) if role else handler)

        route("GET", "/", Role.NOBODY, _file("index.html"))
        for path in sorted(STATIC.iterdir()):
            if path.name != "index.html":
                route("GET", f"/{path.name}", Role.NOBODY, _file(path.name))
        route("GET", "/api/openapi.json", Role.NOBODY, _file("../openapi.json"))
        route("POST", "/api/login", Role.NOBODY, self._log_in)
        route("POST", "/api/logout", Role.NOBODY, self._log_out)
        route("GET", "/api/role", Role.NOBODY, self._role)
        route("GET", "/api/state", Role.WATCH, self._state)
        route("GET", "/api/map", Role.WATCH, self._map)
        route("GET", "/api/events", Role.WATCH, self._news.stream)
        route("GET", "/api/camera.jpg", Role.WATCH, self._camera)
        route("POST", "/api/photos", Role.WATCH, self._ask)
        route("GET", "/api/photos/{id}", Role.WATCH, self._photo)
        route("POST", "/api/goal", Role.DRIVE, self._go)
        route("POST", "/api/stop", Role.WATCH, self._stop)
        route("PUT", "/api/places/{name}", Role.DRIVE, self._add_place)
        route("DELETE", "/api/places/{name}", Role.DRIVE, self._remove_place)
        return app

    async def _end_threads(self, app: web.Application) -> None:
        await _in_thread(self._stopping.shutdown)

    # -- who is there ----------------------------------------------------------------------------------------

    async def _log_in(self, request: web.Request) -> web.StreamResponse:
        body = await _json(request, token=str)
        return await self._guard.log_in(request, body.get("token", ""))

    async def _log_out(self, request: web.Request) -> web.StreamResponse:
        return self._guard.log_out()

    async def _role(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"role": (await self._guard.role(request)).name.lower()})

    # -- what there is to see --------------------------------------------------------------------------------

    async def _state(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self._news.state())

    async def _map(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self._robot.map().as_json())

    async def _camera(self, request: web.Request) -> web.StreamResponse:
        jpeg = await _in_thread(self._robot.camera)
        if jpeg is None:
            refuse(503, "no_camera", "no picture has come from the camera yet; is its driver running?")
        return web.Response(body=jpeg, content_type="image/jpeg")

    # -- photos ----------------------------------------------------------------------------------------------

    async def _ask(self, request: web.Request) -> web.StreamResponse:
        hfov_deg = _number(request.query.get("hfov_deg", "0"), "hfov_deg")
        data = await _body(request, self._max_photo)
        async with self._asking:
            photo = await _in_thread(lambda: read_photo(data, hfov_deg))
            asked = AskedPhoto(photo, await _in_thread(lambda: self._robot.locate(photo)))
        name = secrets.token_urlsafe(9)
        self._photos[name] = asked
        if len(self._photos) > _KEPT_PHOTOS:
            self._photos.popitem(last=False)
        described = {key: value for key, value in asdict(photo).items() if key != "jpeg"}
        return web.json_response({"id": name, **described, **asdict(asked.answer)}, status=201)

    async def _photo(self, request: web.Request) -> web.StreamResponse:
        photo = self._asked(request.match_info["id"]).photo
        return web.Response(body=photo.jpeg, content_type="image/jpeg")

    def _asked(self, name: str) -> AskedPhoto:
        if name not in self._photos:
            refuse(404, "no_photo", f"only the last {_KEPT_PHOTOS} photos are kept; send it again")
        return self._photos[name]

    # -- the robot -------------------------------------------------------------------------------------------

    async def _go(self, request: web.Request) -> web.StreamResponse:
        body = await _json(request, photo=str, guess=int, place=str, pose=list)
        target = self._target(body)
        if target == Target():
            refuse(400, "body", "name a photo, a place or a pose")
        number = await _in_thread(lambda: self._robot.go(target))
        chosen: dict[str, Any] = {
            key: body[key] for key in ("photo", "guess", "place", "pose") if key in body
        }
        self._news.sent(number, chosen, by=request.headers.get(REQUEST_HEADER, "")[:32])
        return web.json_response({"drive": number}, status=202)

    async def _stop(self, request: web.Request) -> web.StreamResponse:
        doubt = await asyncio.get_running_loop().run_in_executor(self._stopping, self._robot.stop)
        if doubt:
            refuse(504, "stop_unconfirmed", doubt)
        self._news.look()
        return web.json_response({"stopped": True})

    async def _add_place(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        body = await _json(request, photo=str, guess=int, pose=list)
        replaced = await _in_thread(lambda: self._robot.add_place(name, self._target(body)))
        self._news.look()
        return web.json_response({"replaced": replaced}, status=200 if replaced else 201)

    async def _remove_place(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        await _in_thread(lambda: self._robot.remove_place(name))
        self._news.look()
        return web.json_response({})

    def _target(self, body: dict[str, Any]) -> Target:
        """Of a request that names a photo (and which guess), a place or a pose, or none of them."""
        named = [key for key in ("photo", "place", "pose") if key in body]
        if len(named) > 1 or ("guess" in body and named != ["photo"]):
            refuse(400, "body", "name one of photo (with guess), place and pose")
        if "pose" in body:
            return Target(pose=_pose(body["pose"]))
        if "photo" not in body:
            place = body.get("place", "")
            if "place" in body and not 1 <= len(place) <= MAX_NAME:
                refuse(400, "body", f"the name of a place has 1 to {MAX_NAME} characters")
            return Target(place=place)
        asked, guess = self._asked(body["photo"]), body.get("guess", 0)
        if not 0 <= guess < len(asked.answer.guesses):
            refuse(400, "guess", f"guess is {guess}; there are {len(asked.answer.guesses)}, the first is 0")
        return Target(pose=asked.answer.guesses[guess].pose) if guess else Target(photo=asked.photo)


# -- bodies, and what goes wrong ---------------------------------------------------------------------------


@web.middleware
async def _errors_as_json(request: web.Request, handler: Any) -> web.StreamResponse:
    """What a user can cause, as JSON; a fault of the program is logged, and told without its insides."""
    try:
        return await handler(request)
    except Refusal:
        raise
    except web.HTTPException as error:
        raise Refusal(error.status, "http", error.reason, _kept(error)) from None
    except RobotRefuses as error:
        refuse(409, error.key, str(error))
    except InputError as error:
        refuse(422, "input", str(error))
    except KinaemaError as error:
        refuse(409, "robot", str(error))
    except Exception:
        _LOG.exception("%s %s failed", request.method, request.path)
        refuse(500, "fault", "this is a fault of the program; please report it with the log of web_node")


def _kept(error: web.HTTPException) -> dict[str, str]:
    return {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}


async def _in_thread(call: Callable[[], T]) -> T:
    return await asyncio.to_thread(call)


async def _body(request: web.Request, most: int) -> bytes:
    """All of it. Refuses one that is too large, by its header or by what comes, or too slow."""
    if (request.content_length or 0) > most:
        refuse(413, "too_large", f"at most {most / 1e6:g} MB are taken")
    data = bytearray()

    async def read() -> None:
        async for part in request.content.iter_chunked(65536):
            data.extend(part)
            if len(data) > most:
                refuse(413, "too_large", f"at most {most / 1e6:g} MB are taken")

    try:
        await asyncio.wait_for(read(), _BODY_TIMEOUT)
    except asyncio.TimeoutError:
        refuse(408, "too_slow", f"the request did not arrive within {_BODY_TIMEOUT:g} s")
    return bytes(data)


async def _json(request: web.Request, **fields: type) -> dict[str, Any]:
    """The body as an object with some of these fields, each of its type; an empty body is an object without any."""
    data = await _body(request, MAX_JSON)
    try:
        body = json.loads(data) if data.strip() else {}
    except (ValueError, RecursionError):
        refuse(400, "body", "the body is no JSON")
    if not isinstance(body, dict):
        refuse(400, "body", "the body is no object")
    for key, value in body.items():
        if key not in fields:
            refuse(400, "body", f"{key[:40]!r} is not known; known are: {', '.join(fields)}")
        if type(value) is not fields[key]:
            refuse(400, "body", f"{key} must be of type {fields[key].__name__}")
    return body


def _number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        refuse(400, name, f"{name} is no number")


def _pose(values: list[Any]) -> Pose:
    numbers = [float(v) for v in values if type(v) in (int, float) and abs(v) <= MAX_COORDINATE]
    if len(numbers) != 3 or len(values) != 3:
        refuse(400, "pose", "a pose is [x, y, yaw] in metres and radians")
    return numbers[0], numbers[1], math.remainder(numbers[2], math.tau)


def _file(name: str) -> Any:
    """Serves a file; browsers ask each time whether it has changed."""

    async def serve(request: web.Request) -> web.StreamResponse:
        return web.FileResponse(STATIC / name, headers={"Cache-Control": "no-cache"})

    return serve
