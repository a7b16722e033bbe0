"""Faust's web server behind the guard, with bounds on connections.

It serves none of Faust's own pages. At most MAX_CONNECTIONS are open, and of one client a part of them;
a connection is closed when it does not send a complete request head, or does not read its answer, in
time. A malformed request is answered in JSON. What is refused is logged in one line for each kind in
LOG_EVERY_S, which says how many there were and repeats nothing of them.

Tested by tests/unit/stream/web/test_guard.py.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from faust.web.drivers.aiohttp import Web

from stream.logs import happening
from stream.web.guard import MAX_BODY_BYTES, WebGuard, client_of, json_error

MAX_CONNECTIONS = 256
MAX_LINE_BYTES = 4096
MAX_HEADER_BYTES = 8190
MAX_HEADERS = 64
# For the head of the first request, and for the pause between two requests.
HEAD_TIMEOUT_S = 15.0
UNREAD_TIMEOUT_MS = 30_000
LINGER_S = 1.0
LOG_EVERY_S = 10.0
logger = logging.getLogger(__name__)


class RefusalLog:
    """Logs refusals that a stranger can bring about at any rate: the first of each kind, then sums.

    >>> refusals = RefusalLog(clock_s=lambda: 0.0)
    >>> [refusals.is_due("too many") for _ in range(3)], refusals.counts["too many"]
    ([True, False, False], 3)
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._logged_s: dict[str, float] = {}
        self.counts: Counter[str] = Counter()

    def is_due(self, kind: str) -> bool:
        """Count a refusal; returns whether it is to be logged."""
        self.counts[kind] += 1
        now_s = self._clock_s()
        if now_s - self._logged_s.get(kind, -LOG_EVERY_S) < LOG_EVERY_S:
            return False
        self._logged_s[kind] = now_s
        return True


class GuardedWeb(Web):
    """Faust's aiohttp driver; every request passes `guard` first."""

    default_blueprints = ()
    production_blueprints = ()
    debug_blueprints = ()
    optional_blueprints = ()

    def __init__(self, app: Any, guard: WebGuard, **options: Any) -> None:
        super().__init__(app, **options)
        self.guard = guard
        self.web_app = web.Application(middlewares=[guard.handle], client_max_size=MAX_BODY_BYTES)
        self.web_app.on_response_prepare.append(guard.add_headers)
        self._runner = _Runner(self.web_app, guard)


class _Runner(web.AppRunner):
    """Makes a server with bounded connections."""

    def __init__(self, app: web.Application, guard: WebGuard) -> None:
        super().__init__(app, access_log=None)
        self._guard = guard

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            self._guard,
            made.request_handler,
            request_factory=made.request_factory,
            loop=asyncio.get_running_loop(),
            access_log=None,
            keepalive_timeout=HEAD_TIMEOUT_S,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            max_headers=MAX_HEADERS,
            lingering_time=LINGER_S,
            # A small compressed body could become a large one.
            auto_decompress=False,
        )


class _Server(web.Server):
    def __init__(self, guard: WebGuard, handler: Any, **options: Any) -> None:
        super().__init__(handler, **options)
        self.refusals = RefusalLog()
        self._guard = guard
        self._clients: Counter[str] = Counter()
        self._client_of: dict[int, str] = {}

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)

    def refusal_of(self, remote: str) -> str:
        """Why a new connection is not taken, "" if it is. A proxy brings the connections of many."""
        if len(self.connections) >= MAX_CONNECTIONS:
            return "connections in all"
        most = self._guard.connections_per_client
        if self._clients[client_of(remote)] >= most and not self._guard.is_trusted(remote):
            return "connections of one client"
        return ""

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        client = self._client_of[id(handler)] = client_of(remote_of(transport))
        self._clients[client] += 1
        listener = transport.get_extra_info("socket")
        if hasattr(socket, "TCP_USER_TIMEOUT") and listener is not None:
            # The kernel closes a connection whose client does not read.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_TIMEOUT_MS)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        client = self._client_of.pop(id(handler), None)
        if client is not None:
            self._clients[client] -= 1
            if not self._clients[client]:
                del self._clients[client]
        super().connection_lost(handler, exc)


def remote_of(transport: asyncio.BaseTransport) -> str:
    """The address that a connection comes from, "" where it has none."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) and peer else ""


class _Connection(web.RequestHandler):
    _manager: Any

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection within the bounds; another is cut before aiohttp has begun with it."""
        server = self._manager
        refused = server.refusal_of(remote_of(transport))
        if not refused:
            super().connection_made(transport)
            return
        self._manager = None
        if isinstance(transport, asyncio.Transport):
            transport.abort()
        if server.refusals.is_due(refused):
            logger.warning(
                "cut a connection, too many %s; %d since the start, the last from %s",
                refused,
                server.refusals.counts[refused],
                remote_of(transport),
                extra=happening("connection_cut", reason=refused, count=server.refusals.counts[refused]),
            )

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer a malformed request without echoing anything that the client sent."""
        kind = type(exc).__name__
        if status >= 500:
            logger.error(
                "a web request failed: %s", kind, exc_info=exc, extra=happening("request_failed", error=kind)
            )
        elif self._manager is not None and self._manager.refusals.is_due(kind):
            count = self._manager.refusals.counts[kind]
            logger.info(
                "refused what is no HTTP request from %s: %s; %d since the start",
                request.remote,
                kind,
                count,
                extra=happening("request_refused", client=str(request.remote), error=kind, count=count),
            )
        if request.writer.output_size > 0:
            raise ConnectionError("an answer is under way already")
        if isinstance(exc, LineTooLong):
            response = json_error(431, "the request line or a header is too long")
        elif status < 500:
            response = json_error(status, "this is no HTTP request that is understood here")
        else:
            response = json_error(status, "the request failed; the worker's log says why")
        response.force_close()
        return response
