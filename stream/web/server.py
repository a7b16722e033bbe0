"""Faust's web server behind the guard, with bounds on connections.

It serves none of Faust's own pages. At most MAX_CONNECTIONS are open; a connection is closed when it
does not send a complete request head, or does not read its answer, in time. A malformed request is
answered in JSON and logged in one line that repeats nothing of it.

Tested by tests/unit/stream/web/test_guard.py.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from faust.web.drivers.aiohttp import Web

from stream.logs import happening
from stream.web.guard import MAX_BODY_BYTES, WebGuard, json_error

MAX_CONNECTIONS = 256
MAX_LINE_BYTES = 4096
MAX_HEADER_BYTES = 8190
MAX_HEADERS = 64
# For the head of the first request, and for the pause between two requests.
HEAD_TIMEOUT_S = 15.0
UNREAD_TIMEOUT_MS = 30_000
LINGER_S = 1.0
logger = logging.getLogger(__name__)


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
        self._runner = _Runner(self.web_app, access_log=None)


class _Runner(web.AppRunner):
    """Makes a server with bounded connections."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
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
    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
            return
        listener = transport.get_extra_info("socket")
        if hasattr(socket, "TCP_USER_TIMEOUT") and listener is not None:
            # The kernel closes a connection whose client does not read.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_TIMEOUT_MS)


class _Connection(web.RequestHandler):
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
        else:
            logger.info(
                "refused what is no HTTP request from %s: %s",
                request.remote,
                kind,
                extra=happening("request_refused", client=str(request.remote), error=kind),
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
