"""The server in a thread of its own: bound before the thread goes on, ended before it is left."""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from aiohttp import web

from kinaema_ros.errors import InputError, KinaemaError

_QUIET = logging.getLogger(f"{__name__}.http")
_QUIET.setLevel(logging.CRITICAL)  # else whoever sends rubbish fills the log
_PATIENCE = 10.0  # seconds for a connection's first request, and for its next
_MAX_CONNECTIONS = 200


class WebService:
    """Serves an application on an address until ``close``. ``port``: the one in use, also where 0 was asked for."""

    def __init__(
        self, make_app: Callable[[], web.Application], address: str, port: int, tls: ssl.SSLContext | None
    ):
        """make_app: called in the event loop. Raises KinaemaError where nothing can listen there."""
        self._make_app, self._address, self._port, self._tls = make_app, address, port, tls
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._bound: Future[int] = Future()
        self._thread = threading.Thread(target=self._run, name="web server", daemon=True)
        self._thread.start()
        try:
            self.port = self._bound.result()
        except OSError as error:
            self._thread.join()
            raise KinaemaError(
                f"nothing can listen on {address}, port {port} ({error.strerror}); set the parameters address and port to "
                "a free one of this machine"
            ) from error

    def close(self) -> None:
        """Ends what is being answered, and the thread; safe to call twice."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except Exception as error:  # told to whoever waits for the port
            self._bound.set_exception(error)
        finally:
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    async def _serve(self) -> None:
        runner = web.AppRunner(
            self._make_app(),
            access_log=None,
            logger=_QUIET,
            keepalive_timeout=_PATIENCE,
            shutdown_timeout=1.0,
        )
        await runner.setup()
        try:
            http = runner.server
            assert http is not None
            server = await self._loop.create_server(
                lambda: _Impatient(http), self._address, self._port, ssl=self._tls, reuse_address=True
            )
            self._bound.set_result(server.sockets[0].getsockname()[1])
            await self._end.wait()
            server.close()
        finally:
            await runner.cleanup()


class _Impatient(asyncio.Protocol):
    """Hands a connection to the server's own protocol, and cuts off whoever does not send a whole request's head in time."""

    def __init__(self, server: web.Server):
        self._server, self._inner = server, server()
        self._head, self._timer = bytearray(), asyncio.get_running_loop().call_later(_PATIENCE, self._cut)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: Any) -> None:
        """Begins; one connection too many ends at once."""
        self._transport = transport
        self._inner.connection_made(transport)
        if len(self._server.connections) > _MAX_CONNECTIONS:
            self._cut()

    def data_received(self, data: bytes) -> None:
        """Until the first head is whole, the clock runs."""
        if not self._timer.cancelled():
            self._head.extend(data)
            if b"\r\n\r\n" in self._head:
                self._timer.cancel()
                self._head.clear()
        self._inner.data_received(data)

    def eof_received(self) -> None:
        """As the server's own."""
        self._inner.eof_received()

    def connection_lost(self, error: BaseException | None) -> None:
        """As the server's own."""
        self._timer.cancel()
        self._inner.connection_lost(error)

    def pause_writing(self) -> None:
        """As the server's own."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """As the server's own."""
        self._inner.resume_writing()

    def _cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def tls_context(certificate: str, key: str) -> ssl.SSLContext | None:
    """For https; None without a certificate. InputError where the files are of no use."""
    if not certificate:
        if key:
            raise InputError("tls_key is set without tls_certificate; name both files, or none")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key or None)
    except (OSError, ssl.SSLError) as error:
        raise InputError(
            f"tls_certificate '{certificate}' and tls_key '{key}' are of no use ({error}); both are PEM files, and the "
            "key belongs to the certificate"
        ) from error
    return context
