"""The live page: its files, one snapshot a second, and the snapshots as server-sent events.

The snapshot is taken every second in a separate thread, whether or not a page is open, so that the
charts have a history. Every open page gets the same bytes. Tested by tests/browser/test_page.py.
"""

from __future__ import annotations

import asyncio
import gzip
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import faust
from aiohttp import web as aiohttp_web
from faust.web import View

from stream.access.clients import CLIENT
from stream.access.grants import GRANT, GRANT_NOW
from stream.access.tokens import RefusedToken
from stream.web.snapshot import Snapshot
from stream.web.static_files import load_static_files

SNAPSHOT_EVERY_S = 1.0
# A page that does not read for this long is disconnected; it reconnects by itself.
WRITE_TIMEOUT_S = 10.0
MOST_STREAMS = 200
# Of one client, so that one cannot have them all.
MOST_OF_CLIENT = 40
RETRY_MS = 1_000


class LiveStreams:
    """Sends every snapshot to every open page; a slow page skips snapshots and delays no other page."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._changed = asyncio.Condition()
        self._is_closing = False
        self.open = 0
        self._of_client: Counter[str] = Counter()

    async def notify(self) -> None:
        """Wake the streams: the snapshot has been refreshed."""
        async with self._changed:
            self._changed.notify_all()

    async def close(self, _: Any = None) -> None:
        """End every stream, so that the worker can stop while pages are open."""
        self._is_closing = True
        await self.notify()

    async def serve(self, request: Any) -> Any:
        """Send the current snapshot and every later one, until the page, its token or the worker ends."""
        client, grant = request[CLIENT], request[GRANT]
        if self.open >= MOST_STREAMS or self._of_client[client] >= MOST_OF_CLIENT:
            return aiohttp_web.json_response({"error": "as many pages as allowed are open"}, status=503)
        response = aiohttp_web.StreamResponse(
            headers={"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store"}
        )
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        self.open += 1
        self._of_client[client] += 1
        sent = -1
        try:
            await response.write(b"retry: %d\n\n" % RETRY_MS)
            while not self._is_closing and _is_granted(request):
                self._snapshot.mark_viewed()
                if self._snapshot.number != sent:
                    sent = self._snapshot.number
                    line = b"data: %b\n\n" % self._snapshot.seen_with(grant)
                    async with asyncio.timeout(WRITE_TIMEOUT_S):
                        await response.write(line)
                async with self._changed:
                    if self._snapshot.number == sent and not self._is_closing:
                        await self._changed.wait()
        except (ConnectionError, TimeoutError):
            pass  # The page was closed, or does not read.
        finally:
            self.open -= 1
            self._of_client[client] -= 1
            # Else one who comes from ever other addresses would fill the memory.
            self._of_client += Counter()
        return response


def _is_granted(request: Any) -> bool:
    """Whether the token still grants the stream: it has not ended, nor was its key taken out of use."""
    if time.time() >= request[GRANT].ends_s:
        return False
    try:
        request[GRANT_NOW]()
    except RefusedToken:
        return False
    return True


class PageViews:
    """The page, its files, and the snapshot in three forms: once, as history, as a stream."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._files = load_static_files()
        self._snapshot = snapshot
        self._streams = LiveStreams(snapshot)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="snapshot")

    def start(self, app: faust.App) -> None:
        """Take a snapshot now and every second; end the streams when the web server shuts down."""
        # The first request already finds a snapshot.
        self._snapshot.refresh()
        server: Any = app.web
        server.web_app.on_shutdown.append(self._streams.close)

        @app.timer(interval=SNAPSHOT_EVERY_S)
        async def refresh() -> None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._snapshot.refresh)
            await self._streams.notify()

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
        """The newest snapshot."""
        self._snapshot.mark_viewed()
        return web.bytes(self._snapshot.seen_with(request[GRANT]), content_type="application/json")

    async def history(self, web: View, request: Any) -> Any:
        """The points of the charts, one a second, as columns."""
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
        """Every snapshot as a server-sent event, one a second."""
        return await self._streams.serve(request)
