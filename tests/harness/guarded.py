"""A guarded web server with the routes of a worker and without the worker: a view says what was granted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import faust

from replay.end_to_end.worker_process import free_port
from stream.access.clients import CLIENT
from stream.access.grants import GRANT
from stream.asking.views import AskingViews
from stream.settings import Settings
from stream.web.api import ApiViews
from stream.web.guard import READING, WebGuard
from stream.web.page import PageViews
from stream.web.routes import Route, faust_view, routes
from stream.web.server import GuardedWeb
from stream.web.session import SessionViews
from stream.web.status import StatusViews


def table() -> tuple[Route, ...]:
    """The routes, their views without a worker."""
    return routes(
        StatusViews.__new__(StatusViews),
        SessionViews.__new__(SessionViews),
        ApiViews.__new__(ApiViews),
        AskingViews.__new__(AskingViews),
        PageViews.__new__(PageViews),
    )


async def granted(web: Any, request: Any, **parts: str) -> Any:
    """What a view knows of who asks."""
    grant = request[GRANT]
    return web.json({"roles": sorted(grant.roles), "session": grant.session, "client": request[CLIENT]})


@asynccontextmanager
async def guarded(**changes: Any) -> AsyncIterator[tuple[Settings, GuardedWeb]]:
    """The server, with settings of its own."""
    settings = Settings(
        **{"web_port": free_port(), "web_requests_per_s": 10_000, "web_events": True, **changes}
    )
    app = faust.App(
        "guarded", broker="kafka://127.0.0.1:1", web_bind=settings.web_host, web_port=settings.web_port
    )
    guard = WebGuard(settings)
    app.web = web = GuardedWeb(app, guard)
    for route in table():
        app.page(route.path)(faust_view(Route(route.path, granted, route.roles, route.methods)))
        guard.open_to(route.path, route.roles)
        if writing := set(route.methods) - READING:
            guard.open_for_writing(route.path, writing)
    if settings.web_probe_port is not None:
        web.answer_probes(dict.fromkeys(("/health", "/ready", "/metrics"), granted))
    web.init_server()
    await web.start_server()
    try:
        yield settings, web
    finally:
        await web.stop_server()
