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

from stream.settings import Settings
from stream.web.api import add_api
from stream.web.broker_probe import BrokerProbe
from stream.web.list_waiter import ListWaiter
from stream.web.posted_events import PostedEvents
from stream.web.recent_lists import RecentLists
from stream.web.snapshot import Snapshot
from stream.web.static_files import page_files
from stream.worker.pipeline import Pipeline

LOOK_EVERY_S = 1.0
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


def add_page(app: faust.App, settings: Settings, pipeline: Pipeline, recent_lists: RecentLists) -> None:
    """Add the page, its data and its API to a Faust app."""
    files = page_files()
    clicks = PostedEvents(settings, ListWaiter(settings))
    snapshot = Snapshot(settings, pipeline, recent_lists, BrokerProbe(settings), lambda: clicks.posted)
    streams = LiveStreams(snapshot)
    # Something true to say from the first request on.
    snapshot.look()
    looks = ThreadPoolExecutor(1, thread_name_prefix="looks")
    server: Any = app.web
    server.web_app.on_shutdown.append(streams.close)
    if settings.web_events:
        server.guard.open_for_writing("/api/events")
    add_api(app, settings, pipeline, clicks)

    @app.timer(interval=LOOK_EVERY_S)
    async def look() -> None:
        await asyncio.get_running_loop().run_in_executor(looks, snapshot.look)
        await streams.tell()

    @app.page("/")
    async def index(web: Any, request: Any) -> Any:
        return files["index.html"].answer(request)

    @app.page("/page/{name}")
    async def page_file(web: Any, request: Any, name: str) -> Any:
        if name not in files:
            return web.json({"error": "there is no such file"}, status=404)
        return files[name].answer(request)

    @app.page("/openapi.json")
    async def openapi(web: Any, request: Any) -> Any:
        return files["openapi.json"].answer(request)

    @app.page("/api/live")
    async def live(web: Any, request: Any) -> Any:
        """What is true now, as of the last second."""
        snapshot.watch()
        return web.bytes(snapshot.json, content_type="application/json")

    @app.page("/api/live/history")
    async def history(web: Any, request: Any) -> Any:
        """One point a second, as columns."""
        loop = asyncio.get_running_loop()
        body = await loop.run_in_executor(looks, snapshot.history)
        if "gzip" not in request.headers.get("Accept-Encoding", ""):
            return web.bytes(body, content_type="application/json")
        return aiohttp_web.Response(
            body=await loop.run_in_executor(looks, gzip.compress, body, 1),
            content_type="application/json",
            headers={"Content-Encoding": "gzip", "Vary": "Accept-Encoding"},
        )

    @app.page("/api/stream")
    async def stream(web: Any, request: Any) -> Any:
        """The same as server-sent events, one a second."""
        return await streams.serve(request)
