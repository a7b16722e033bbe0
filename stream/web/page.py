"""The live page and what it draws: its files, one snapshot a second, and that as a stream of events.

The worker is looked at once a second, in a thread of its own, whether or not a page is open: so the
charts have a past. Every open page is sent the same bytes. Read-only.
"""

from __future__ import annotations

import asyncio
import gzip
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import faust
from aiohttp import web as aiohttp_web
from faust.web import View

from stream.web.snapshot import Snapshot
from stream.web.static_files import page_files

SNAPSHOT_EVERY_S = 1.0
# A page whose network takes nothing is let go; it comes again by itself.
WRITE_TIMEOUT_S = 10.0
MOST_STREAMS = 200
RETRY_MS = 1_000


class LiveStreams:
    """The pages that are open: each is written the newest second, none waits for another."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._told = asyncio.Condition()
        self._is_closing = False
        self.open = 0

    async def tell(self) -> None:
        """A new second is there."""
        async with self._told:
            self._told.notify_all()

    async def close(self, _: Any = None) -> None:
        """End every stream, so that a worker that stops need not wait for its pages."""
        self._is_closing = True
        await self.tell()

    async def serve(self, request: Any) -> Any:
        """Send each second from now on, until either side ends."""
        if self.open >= MOST_STREAMS:
            return aiohttp_web.json_response({"error": "as many pages as allowed are open"}, status=503)
        response = aiohttp_web.StreamResponse(
            headers={"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store"}
        )
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        self.open += 1
        sent = -1
        try:
            await response.write(b"retry: %d\n\n" % RETRY_MS)
            while not self._is_closing:
                self._snapshot.watch()
                if self._snapshot.number != sent:
                    sent = self._snapshot.number
                    line = b"data: %b\n\n" % self._snapshot.json
                    async with asyncio.timeout(WRITE_TIMEOUT_S):
                        await response.write(line)
                async with self._told:
                    if self._snapshot.number == sent and not self._is_closing:
                        await self._told.wait()
        except (ConnectionError, TimeoutError):
            pass  # The page has gone.
        finally:
            self.open -= 1
        return response


class PageViews:
    """The page, its files, and the newest snapshot in three forms: once, as history, as a stream."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._files = page_files()
        self._snapshot = snapshot
        self._streams = LiveStreams(snapshot)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="looks")

    def start(self, app: faust.App) -> None:
        """Take a snapshot now and every second; end the streams when the web server shuts down."""
        # So that the first request is answered with something true.
        self._snapshot.look()
        server: Any = app.web
        server.web_app.on_shutdown.append(self._streams.close)

        @app.timer(interval=SNAPSHOT_EVERY_S)
        async def look() -> None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._snapshot.look)
            await self._streams.tell()

    async def index(self, web: View, request: Any) -> Any:
        """The page itself."""
        return self._files["index.html"].answer(request)

    async def page_file(self, web: View, request: Any, name: str) -> Any:
        """A file that the page loads."""
        if name not in self._files:
            return web.json({"error": "there is no such file"}, status=404)
        return self._files[name].answer(request)

    async def openapi(self, web: View, request: Any) -> Any:
        """The OpenAPI document of these routes."""
        return self._files["openapi.json"].answer(request)

    async def live(self, web: View, request: Any) -> Any:
        """What is true now, as of the last second."""
        self._snapshot.watch()
        return web.bytes(self._snapshot.json, content_type="application/json")

    async def history(self, web: View, request: Any) -> Any:
        """One point a second, as columns."""
        loop = asyncio.get_running_loop()
        body = await loop.run_in_executor(self._thread, self._snapshot.history)
        if "gzip" not in request.headers.get("Accept-Encoding", ""):
            return web.bytes(body, content_type="application/json")
        return aiohttp_web.Response(
            body=await loop.run_in_executor(self._thread, gzip.compress, body, 1),
            content_type="application/json",
            headers={"Content-Encoding": "gzip", "Vary": "Accept-Encoding"},
        )

    async def stream(self, web: View, request: Any) -> Any:
        """The same as server-sent events, one a second."""
        return await self._streams.serve(request)
