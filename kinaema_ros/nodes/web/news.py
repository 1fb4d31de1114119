"""The live state of the robot as a stream of events: one look for all pages, and only what has changed."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

from aiohttp import web

from kinaema_ros.nodes.web.contract import Robot
from kinaema_ros.nodes.web.replies import refuse

MAX_STREAMS = 32
_LOOK_PERIOD = 0.25  # seconds
_MAP_PERIOD = 2.0  # seconds between two maps
_SILENCE = 15.0  # seconds, after which a page is told that we are still there
_SLOW = 10.0  # seconds for which a page may not take what it is sent


class News:
    """Streams ``state`` and ``map`` events (server-sent events) to any number of pages."""

    def __init__(self, robot: Robot):
        self._robot = robot
        self._streams: set[asyncio.Task[Any]] = set()
        self._wake = asyncio.Event()
        self._sent: dict[str, Any] = {}  # who sent the robot where: of the newest drive that came through us

    def sent(self, number: int, target: dict[str, Any], by: str) -> None:
        """A page began a drive."""
        self._sent = {"number": number, "target": target, "by": by}
        self.look()

    def look(self) -> None:
        """Something happened: the pages shall hear of it at once."""
        self._wake.set()
        self._wake = asyncio.Event()

    def state(self) -> dict[str, Any]:
        """What the pages show; a drive that came from elsewhere has no target."""
        state = self._robot.state().as_json()
        ours = self._sent.get("number") == state["drive"]["number"]
        state["drive"]["target"] = self._sent["target"] if ours else None
        state["drive"]["by"] = self._sent["by"] if ours else ""
        return state

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Until the page goes, or is too slow."""
        if len(self._streams) >= MAX_STREAMS:
            refuse(503, "too_many_pages", f"{MAX_STREAMS} pages are open already; close one")
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
        )
        try:
            await response.prepare(request)
            await self._feed(response)
        except (asyncio.CancelledError, ConnectionError, asyncio.TimeoutError):
            pass
        finally:
            self._streams.discard(task)
        return response

    async def _feed(self, response: web.StreamResponse) -> None:
        loop = asyncio.get_running_loop()
        last_state, last_version = "", -1
        said = map_said = -float("inf")
        woken = False
        while True:
            wake, now, text = self._wake, loop.time(), ""
            state = json.dumps(self.state(), separators=(",", ":"))
            if state != last_state:
                text, last_state = _event("state", state), state
            known = self._robot.map()
            if known.version != last_version and (woken or now - map_said >= _MAP_PERIOD):
                text += _event("map", json.dumps(known.as_json(), separators=(",", ":")))
                last_version, map_said = known.version, now
            if not text and now - said >= _SILENCE:
                text = ": still here\n\n"
            if text:
                await asyncio.wait_for(response.write(text.encode()), _SLOW)
                said = now
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(wake.wait(), _LOOK_PERIOD)
            woken = wake.is_set()

    async def end(self, app: web.Application) -> None:
        """Ends the streams, which would keep the server from closing."""
        for task in list(self._streams):
            task.cancel()


def _event(name: str, data: str) -> str:
    return f"event: {name}\ndata: {data}\n\n"
