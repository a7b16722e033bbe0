"""The views behind a real web server: routes, refusals, outcomes counted."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import faust
import pytest

from replay.end_to_end.worker_process import free_port
from stream.asking import views as views_module
from stream.asking.answers import Answers
from stream.asking.metrics import AskingMetrics
from stream.asking.query import ListQuery, RankQuery, Refusal, SimilarQuery
from stream.asking.session_output import NotHere
from stream.asking.views import AskingViews
from stream.settings import Settings
from stream.web.guard import WebGuard
from stream.web.routes import Route, faust_view
from stream.web.server import GuardedWeb
from stream.worker.pipeline import Pipeline
from tests.unit.stream.web.test_guard import ask


class FakeAnswers:
    """Answers by the session's id."""

    def __init__(self) -> None:
        self.begun, self.release = threading.Event(), threading.Event()

    def list_of(self, query: ListQuery) -> tuple[bytes, str]:
        if query.session_id == "slow":
            self.begun.set()
            assert self.release.wait(120)
        if query.session_id == "elsewhere":
            raise NotHere(3)
        if query.session_id == "broken":
            raise RuntimeError("of the answer")
        if query.session_id == "early":
            raise Refusal(503, "no model", "Nothing.", "Wait.", outcome="not_ready", again_s=7)
        return json.dumps({"k": query.k}).encode(), "unknown_session" if query.session_id == "new" else ""

    def ranked(self, query: RankQuery) -> tuple[bytes, str]:
        return json.dumps({"candidates": query.candidates}).encode(), ""

    def similar(self, query: SimilarQuery) -> tuple[bytes, str]:
        return json.dumps({"item": query.item_id}).encode(), ""


class Served:
    """The views on a port."""

    def __init__(self) -> None:
        self.settings = Settings(web_port=free_port())
        self.metrics, self.answers = AskingMetrics(), FakeAnswers()
        self.recovering: dict[int, tuple[int, int]] = {}
        self.views = AskingViews(
            cast(
                Pipeline,
                SimpleNamespace(
                    live=SimpleNamespace(catalogue=None), recovering=self.recovering, partitions=4
                ),
            ),
            self.metrics,
        )
        self.views._answers = cast(Answers, self.answers)

    async def get(self, path: str) -> tuple[int, dict[str, str], Any]:
        status, headers, body = await ask(self.settings.web_port, f"GET {path} HTTP/1.1")
        return status, headers, json.loads(body)

    async def post(self, path: str, body: bytes) -> tuple[int, Any]:
        kind, size = "Content-Type: application/json", f"Content-Length: {len(body)}"
        status, _, answer = await ask(self.settings.web_port, f"POST {path} HTTP/1.1", kind, size, body=body)
        return status, json.loads(answer)


@asynccontextmanager
async def serving() -> AsyncIterator[Served]:
    served = Served()
    app = faust.App(
        "asked", broker="kafka://127.0.0.1:1", web_bind="127.0.0.1", web_port=served.settings.web_port
    )
    guard = WebGuard(served.settings)
    app.web = web = GuardedWeb(app, guard)
    for route in (
        Route("/api/recommendations/{session_id}", served.views.recommendations),
        Route("/api/rank", served.views.rank, methods=("POST",), asks=True),
        Route("/api/similar/{item_id}", served.views.similar),
    ):
        app.page(route.path)(faust_view(route))
    guard.open_for_writing("/api/rank")
    web.init_server()
    await web.start_server()
    try:
        yield served
    finally:
        served.answers.release.set()
        await web.stop_server()


def test_requests_are_answered_and_counted_by_kind_and_outcome() -> None:
    async def run() -> None:
        async with serving() as served:
            assert (await served.get("/api/recommendations/s?k=7"))[::2] == (200, {"k": 7})
            assert (await served.get("/api/recommendations/new"))[0] == 200
            assert (await served.get("/api/similar/a%2Fb"))[::2] == (200, {"item": "a/b"})
            body = b'{"session":"s","candidates":["b","a"]}'
            assert await served.post("/api/rank", body) == (200, {"candidates": ["b", "a"]})
            status, _, refused = await served.get("/api/recommendations/s?k=0")
            assert status == 400 and refused.keys() == {"error", "meaning", "do"}
            assert (await served.get("/api/similar/a?category=b"))[0] == 400
            assert (await served.post("/api/rank", b"{}"))[0] == 400
            status, headers, _ = await served.get("/api/recommendations/early")
            assert (status, headers["Retry-After"]) == (503, "7")
            assert (await served.get("/api/recommendations/broken"))[0] == 500
            assert (await served.get("/api/recommendations/elsewhere"))[0] == 404
            served.recovering[3] = (5, 10)
            status, headers, _ = await served.get("/api/recommendations/elsewhere")
            assert (status, headers["Retry-After"]) == (503, "1")
            counted = {
                (kind, outcome): served.metrics.count(kind, outcome)
                for kind in ("recommendations", "rank", "similar")
                for outcome in ("answered", "fallback", "refused", "not_ready", "failed", "elsewhere")
            }
            assert {key: count for key, count in counted.items() if count} == {
                ("recommendations", "answered"): 1,
                ("recommendations", "fallback"): 1,
                ("recommendations", "refused"): 1,
                ("recommendations", "not_ready"): 2,
                ("recommendations", "failed"): 1,
                ("recommendations", "elsewhere"): 1,
                ("rank", "answered"): 1,
                ("rank", "refused"): 1,
                ("similar", "answered"): 1,
                ("similar", "refused"): 1,
            }

    asyncio.run(run())


def test_who_comes_too_many_is_turned_away_and_the_others_are_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(views_module, "MOST_WAITING", 1)

    async def run() -> None:
        async with serving() as served:
            slow = asyncio.create_task(served.get("/api/recommendations/slow"))
            assert await asyncio.to_thread(served.answers.begun.wait, 120)
            status, headers, body = await served.get("/api/recommendations/s")
            assert (status, headers["Retry-After"]) == (503, "1")
            assert body["error"] == "1 requests wait already"
            assert served.metrics.count("recommendations", "busy") == 1
            served.answers.release.set()
            assert (await slow)[0] == 200
            assert (await served.get("/api/recommendations/s"))[0] == 200

    asyncio.run(run())
