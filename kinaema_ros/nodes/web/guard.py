"""Who may talk to the page: hosts, tokens, origins, and the headers that keep a browser on our side."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import socket
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NoReturn
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from kinaema_ros.nodes.web.replies import refuse
from kinaema_ros.nodes.web.tokens import Role, Tokens

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
REQUEST_HEADER = (
    "X-Kinaema"  # no other site's page can send it: browsers would ask us first, and we say nothing
)
_COOKIE_AGE = 180 * 24 * 3600  # seconds
_SAFE = (hdrs.METH_GET, hdrs.METH_HEAD)
_OF_PROXIES = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches an address to listen on."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


class WrongTokens:
    """Ten wrong tokens a minute from one address (IPv6: from one network); then none is looked at for a while."""

    def __init__(self, most: int = 10, period: float = 60.0, clock: Callable[[], float] = time.monotonic):
        self._most, self._period, self._clock = most, period, clock
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def wait(self, address: str) -> float:
        """Seconds for which nothing from this address is looked at; 0: it may try."""
        times = self._times.get(_network(address))
        if times is None or len(times) < self._most:
            return 0.0
        return max(0.0, times[0] + self._period - self._clock())

    def add(self, address: str) -> None:
        """One more."""
        times = self._times.setdefault(_network(address), deque(maxlen=self._most))
        self._times.move_to_end(_network(address))
        times.append(self._clock())
        if len(self._times) > 10_000:  # whoever has so many addresses needs no more of this memory
            self._times.popitem(last=False)


class Guard:
    """Every request goes through ``middleware``; a handler that not everybody may call is wrapped by ``lets``.

    tokens: None where there are none. free: what everybody may do without one. host_names: what a browser may call us, besides addresses and
    this machine's own names; others may be a foreign page's, whose name was made to point here (DNS rebinding).
    """

    def __init__(
        self, tokens: Tokens | None, free: Role, host_names: Sequence[str] = (), secure: bool = False
    ):
        own = socket.gethostname().lower()
        self._names = {"localhost", own, f"{own}.local", *(name.lower() for name in host_names)}
        self._tokens, self._free, self._secure = tokens, free, secure
        self._cookie = "__Host-kinaema" if secure else "kinaema"
        self._wrong = WrongTokens()
        self._known: OrderedDict[tuple[str, bytes], None] = OrderedDict()  # who has been let in

    # -- every request ---------------------------------------------------------------------------------------

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuses what no browser of ours sends, and adds our headers to whatever is answered."""
        self._check_host(request)
        if request.path.startswith("/api/"):
            self._check_origin(request)
        return await handler(request)

    def _check_host(self, request: web.Request) -> None:
        try:
            host = urlsplit(f"//{request.headers.get(hdrs.HOST, '')}").hostname or ""
        except ValueError:
            host = ""
        if host.lower() not in self._names and not _is_address(host):
            refuse(421, "host", f"{host[:60]!r} is no name of this robot; use its address, or set host_names")
        if self._free and any(name in request.headers for name in _OF_PROXIES):
            refuse(
                403, "proxy", "this comes through a proxy: set require_token, so that not everybody may drive"
            )

    def _check_origin(self, request: web.Request) -> None:
        """No other site's page may ask for anything, were it only to make something happen here."""
        origin = request.headers.get(hdrs.ORIGIN)
        foreign = origin is not None and urlsplit(origin).netloc.lower() != request.host.lower()
        if foreign or request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            refuse(403, "origin", "another site's page may not talk to the robot")
        asked_on_purpose = REQUEST_HEADER in request.headers or hdrs.AUTHORIZATION in request.headers
        if request.method not in _SAFE and not asked_on_purpose:
            refuse(403, "header", f"the header {REQUEST_HEADER} is missing; a program may send any value")

    # -- who somebody is -------------------------------------------------------------------------------------

    def lets(self, role: Role, handler: Handler) -> Handler:
        """The handler, for those who may."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            has = await self.role(request)
            if has < role:
                if has == Role.NOBODY:
                    refuse(401, "token", "scan the QR code on the robot's terminal, or enter the token")
                refuse(403, "go_token", "this token may watch and stop; to drive, enter the second one")
            return await handler(request)

        return guarded

    async def role(self, request: web.Request) -> Role:
        """By the cookie, or by ``Authorization: Bearer`` of a program."""
        scheme, _, bearer = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        token = bearer.strip() if scheme.lower() == "bearer" else request.cookies.get(self._cookie, "")
        return max(self._free, await self._checked(request, token) if token else Role.NOBODY)

    async def log_in(self, request: web.Request, token: str) -> web.Response:
        """Gives a browser the cookie."""
        role = await self._checked(request, token)
        if role == Role.NOBODY:
            refuse(401, "token", "this is not the robot's token")
        return self._with_cookie(role, token, _COOKIE_AGE)

    def log_out(self) -> web.Response:
        """Takes the cookie back."""
        return self._with_cookie(self._free, "", 0)

    def _with_cookie(self, role: Role, value: str, seconds: int) -> web.Response:
        response = web.json_response({"role": role.name.lower()})
        options: dict[str, Any] = {
            "httponly": True,
            "samesite": "Strict",
            "secure": self._secure,
            "path": "/",
        }
        response.set_cookie(self._cookie, value, max_age=seconds, **options)
        return response

    async def _checked(self, request: web.Request, token: str) -> Role:
        """What a token allows. Guesses are counted, and not looked at after too many; who is in stays in meanwhile."""
        if self._tokens is None:
            return Role.NOBODY
        address = request.remote or ""
        who = (address, hashlib.sha256(token.encode("utf-8", "replace")).digest())
        wait = 0.0 if who in self._known else self._wrong.wait(address)
        if wait > 0.0:
            _refuse_for_now(wait)
        role = self._tokens.role(token)
        if role == Role.NOBODY:
            self._wrong.add(address)
            await asyncio.sleep(0.3)
            return role
        self._known[who] = None
        if len(self._known) > 10_000:
            self._known.popitem(last=False)
        return role


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Signal handler: errors have these headers too. What is no static file is kept by nobody."""
    response.headers.update(HEADERS)
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")


def _refuse_for_now(seconds: float) -> NoReturn:
    text = f"too many wrong tokens from your address; wait {seconds:.0f} s"
    refuse(429, "too_many", text, {hdrs.RETRY_AFTER: str(int(seconds) + 1)})


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _network(address: str) -> str:
    """What counts as one address: a machine may have 2^64 of IPv6."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    return address if ip.version == 4 else str(ipaddress.ip_network((ip, 64), strict=False))
