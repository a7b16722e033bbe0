"""Every HTTP route of the worker in one table: path, view, methods.

To add a route:

1. Write `async def NAME(self, web, request)` in the class of views it belongs to; `web.json(body)` answers.
   A `{part}` of the path arrives as an argument of that name.
2. Add its line to `routes`. GET is the default and brings HEAD; another method is also let through by
   the guard, but only with `web_events`.
3. Describe it in static/openapi.json, and test it in tests/integration/test_web.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import faust
from faust.web import View
from prometheus_client import CollectorRegistry

from stream.settings import Settings
from stream.web.api import ApiViews
from stream.web.broker_probe import BrokerProbe
from stream.web.guard import READING
from stream.web.list_waiter import ListWaiter
from stream.web.page import PageViews
from stream.web.posted_events import PostedEvents
from stream.web.recent_lists import RecentLists
from stream.web.session import SessionViews
from stream.web.snapshot import Snapshot
from stream.web.status import StatusViews
from stream.worker.pipeline import Pipeline


@dataclass(frozen=True)
class Route:
    """A path of the worker, the view that answers it, and the methods that the view takes."""

    path: str
    view: Callable[..., Awaitable[Any]]
    methods: tuple[str, ...] = ("GET",)


def routes(status: StatusViews, session: SessionViews, api: ApiViews, page: PageViews) -> tuple[Route, ...]:
    """The table."""
    return (
        # For operators and Prometheus.
        Route("/metrics", status.metrics),
        Route("/health", status.health),
        Route("/ready", status.ready),
        Route("/api/status", status.status),
        Route("/api/quality", status.quality),
        # For programs.
        Route("/api/sessions/{session_id}", session.session),
        Route("/api/items", api.items),
        Route("/api/why", api.why),
        Route("/api/models", api.models),
        Route("/api/recommendations/{session_id}", api.recommendations),
        Route("/api/events", api.events, methods=("POST",)),
        # The page, its files and what it draws.
        Route("/", page.index),
        Route("/page/{name}", page.page_file),
        Route("/openapi.json", page.openapi),
        Route("/api/live", page.live),
        Route("/api/live/history", page.history),
        Route("/api/stream", page.stream),
    )


def add_routes(
    app: faust.App,
    settings: Settings,
    pipeline: Pipeline,
    recent_lists: RecentLists,
    registry: CollectorRegistry,
) -> None:
    """Add every route to a Faust app whose web server is a GuardedWeb, and start the page's snapshots.

    `registry` has the Prometheus series of /metrics.
    """
    server: Any = app.web
    posted = PostedEvents(settings, ListWaiter(settings))
    snapshot = Snapshot(settings, pipeline, recent_lists, BrokerProbe(settings), lambda: posted.posted)
    page = PageViews(snapshot)
    page.start(app)
    api = ApiViews(settings, pipeline, posted)
    status = StatusViews(pipeline, registry)
    for route in routes(status, SessionViews(pipeline), api, page):
        app.page(route.path)(faust_view(route))
        writing = set(route.methods) - READING
        if writing and settings.web_events:
            server.guard.open_for_writing(route.path, writing)


def faust_view(route: Route) -> type[View]:
    """The class by which Faust serves a route; it answers HEAD as GET, or 405 where there is no GET."""

    async def answer(web: View, request: Any, **parts: str) -> Any:
        return await route.view(web, request, **parts)

    return type(route.view.__name__, (View,), {method.lower(): answer for method in route.methods})
