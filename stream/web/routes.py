"""Every HTTP route of the worker in one table: path, view, methods.

To add a route:
1. write `async def NAME(self, web, request)` in a class of views, and answer with `web.json(body)`;
   a `{part}` of the path arrives as an argument of that name;
2. add its line to `routes`, with the roles that may ask for it; a view whose body names a session checks
   `request[GRANT]` itself. GET is the default and includes HEAD; any other method passes the guard
   only with `web_events`;
3. describe it in static/openapi.json (a test compares the two) and add it to tests/integration/test_web.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import faust
from faust.web import View

from stream.access.grants import ANYBODY, OPERATE, POST, READ, VIEW
from stream.asking.metrics import AskingMetrics
from stream.asking.views import AskingViews
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
    """A path, the view that answers it, the roles of which a token needs one, and the methods of the view.

    >>> Route("/health", StatusViews.health, (ANYBODY,)).methods
    ('GET',)
    """

    path: str
    view: Callable[..., Awaitable[Any]]
    roles: tuple[str, ...]
    methods: tuple[str, ...] = ("GET",)
    # Whether POST only asks: it is then open without `web_events`.
    asks: bool = False


def routes(
    status: StatusViews, session: SessionViews, api: ApiViews, asking: AskingViews, page: PageViews
) -> tuple[Route, ...]:
    """Every route of a worker, with the views that answer."""
    return (
        # For operators and Prometheus.
        Route("/metrics", status.metrics, (OPERATE,)),
        Route("/health", status.health, (ANYBODY,)),
        Route("/ready", status.ready, (ANYBODY,)),
        Route("/api/status", status.status, (OPERATE,)),
        Route("/api/quality", status.quality, (OPERATE,)),
        # For programs and the page.
        Route("/api/sessions/{session_id}", session.session, (READ,)),
        Route("/api/items", api.items, (VIEW,)),
        Route("/api/why", api.why, (VIEW,)),
        Route("/api/models", api.models, (VIEW, OPERATE)),
        Route("/api/recommendations/{session_id}", api.recommendations, (READ,)),
        Route("/api/rank", asking.rank, (READ,), methods=("POST",), asks=True),
        Route("/api/similar/{item_id}", asking.similar, (READ, VIEW)),
        Route("/api/rules", asking.rules, (VIEW, OPERATE)),
        Route("/api/tries", asking.tries, (READ,)),
        Route("/api/events", api.events, (POST,), methods=("POST",)),
        # The page: its files and its data.
        Route("/", page.index, (VIEW,)),
        Route("/page/{name}", page.page_file, (VIEW,)),
        Route("/openapi.json", page.openapi, (ANYBODY,)),
        Route("/api/live", page.live, (VIEW,)),
        Route("/api/live/history", page.history, (VIEW,)),
        Route("/api/stream", page.stream, (VIEW,)),
    )


def add_routes(
    app: faust.App,
    settings: Settings,
    pipeline: Pipeline,
    recent_lists: RecentLists,
    asking_metrics: AskingMetrics,
    status: StatusViews,
) -> None:
    """Add every route to a Faust app whose web server is a GuardedWeb, and start the page's snapshots."""
    server: Any = app.web
    posted = PostedEvents(settings, ListWaiter(settings))
    snapshot = Snapshot(
        settings,
        pipeline,
        recent_lists,
        BrokerProbe(settings),
        lambda: posted.posted,
        server.guard.credentials.pseudonyms,
    )
    page = PageViews(snapshot)
    page.start(app)
    asking = AskingViews(settings, pipeline, asking_metrics, server.guard.credentials)
    server.web_app.on_shutdown.append(asking.forwarder.close)
    if status.siblings is not None:
        server.web_app.on_shutdown.append(status.siblings.close)
    api = ApiViews(settings, pipeline, posted, asking)
    if settings.web_probe_port is not None:
        views = {"/health": status.health, "/ready": status.ready, "/metrics": status.metrics}
        server.answer_probes(views)
    for route in routes(status, SessionViews(pipeline), api, asking, page):
        app.page(route.path)(faust_view(route))
        server.guard.open_to(route.path, route.roles)
        writing = set(route.methods) - READING
        if writing and (settings.web_events or route.asks):
            server.guard.open_for_writing(route.path, writing)


def faust_view(route: Route) -> type[View]:
    """The class with which Faust serves a route; HEAD is answered as GET, or by 405 without GET."""

    async def answer(web: View, request: Any, **parts: str) -> Any:
        return await route.view(web, request, **parts)

    return type(route.view.__name__, (View,), {method.lower(): answer for method in route.methods})
