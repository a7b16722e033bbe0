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
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from aiohttp import web, web_runner
from aiohttp.http_exceptions import LineTooLong
from faust.web.drivers.aiohttp import Web

from stream.access.clients import client_of
from stream.access.metrics import CertificateMetrics
from stream.access.refusal_log import RefusalLog
from stream.access.tls import server_context
from stream.logs import happening
from stream.web.guard import MAX_BODY_BYTES, ProbeGuard, WebGuard, json_error

MAX_CONNECTIONS = 256
MAX_LINE_BYTES = 4096
MAX_HEADER_BYTES = 8190
MAX_HEADERS = 64
# For the head of the first request, and for the pause between two requests.
HEAD_TIMEOUT_S = 15.0
UNREAD_TIMEOUT_MS = 30_000
LINGER_S = 1.0
EXPECTED = "100-continue"
logger = logging.getLogger(__name__)


class GuardedWeb(Web):
    """Faust's aiohttp driver; every request passes `guard` first."""

    default_blueprints = ()
    production_blueprints = ()
    debug_blueprints = ()
    optional_blueprints = ()

    def __init__(self, app: Any, guard: WebGuard, **options: Any) -> None:
        super().__init__(app, **options)
        # Before anything is started, since the files may not fit each other.
        self._tls = server_context(guard.settings)
        self._probes: web.AppRunner | None = None
        if guard.is_open_to_others:
            logger.warning(
                "nobody is asked for a token, and %s can be reached from other machines",
                guard.settings.web_host,
                extra=happening("web_is_open", host=guard.settings.web_host),
            )
        self.guard = guard
        self.web_app = web.Application(middlewares=[guard.handle], client_max_size=MAX_BODY_BYTES)
        self.web_app.on_response_prepare.append(guard.add_headers)
        self._runner = _Runner(self.web_app, guard)

    def metrics(self) -> CertificateMetrics:
        """Prometheus series of the certificate that new connections are shown; none in clear."""
        return CertificateMetrics(lambda: None if self._tls is None else self._tls.ends_s())

    def _new_transport_tcp(self) -> web.TCPSite:
        settings = self.guard.settings
        return _Site(self._runner, settings.web_host, settings.web_port, ssl_context=self._tls)

    def answer_probes(self, views: Mapping[str, Callable[..., Awaitable[Any]]]) -> None:
        """Answer these paths on web_probe_port as well, where no client of the other port is in their way."""
        guard = ProbeGuard(self.guard.settings)
        probes = web.Application(middlewares=[guard.handle], client_max_size=MAX_BODY_BYTES)
        probes.on_response_prepare.append(guard.add_headers)
        for path, view in views.items():
            probes.router.add_get(path, partial(view, self))
        self._probes = _Runner(probes, guard)

    async def start_server(self) -> None:
        """Begin to answer."""
        if self._probes is not None:
            settings = self.guard.settings
            await self._probes.setup()
            await _Site(self._probes, settings.web_host, settings.web_probe_port).start()
        await super().start_server()

    async def stop_server(self) -> None:
        """Stop to answer; probes last."""
        await super().stop_server()
        if self._probes is not None:
            await self._probes.cleanup()


class _Site(web.TCPSite):
    """Listens on a port; a client that does not shake hands is dropped as one that sends no head."""

    async def start(self) -> None:
        await web_runner.BaseSite.start(self)
        server = self._runner.server
        assert server is not None
        self._server = await asyncio.get_running_loop().create_server(
            server,
            self._host,
            self._port,
            ssl=self._ssl_context,
            backlog=self._backlog,
            ssl_handshake_timeout=HEAD_TIMEOUT_S if self._ssl_context else None,
        )


class _Runner(web.AppRunner):
    """Makes a server with bounded connections."""

    def __init__(self, app: web.Application, guard: WebGuard) -> None:
        super().__init__(app, access_log=None)
        self._guard = guard

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            self._guard,
            partial(_expecting_nothing_else, made.request_handler),
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


async def _expecting_nothing_else(handler: Any, request: web.Request) -> web.StreamResponse:
    """Refuse an Expect that is none before aiohttp would repeat it in its answer."""
    if request.headers.get("Expect", EXPECTED).lower() != EXPECTED:
        response = json_error(417, "nothing but 100-continue can be expected here")
        response.force_close()
        return response
    answer: web.StreamResponse = await handler(request)
    return answer


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
        if self._clients[client_of(remote)] >= most and not self._guard.clients.is_trusted(remote):
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
