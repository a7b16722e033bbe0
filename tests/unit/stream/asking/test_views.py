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
from stream.access.grants import READ, VIEW
from stream.asking import views as views_module
from stream.asking.answers import Answers
from stream.asking.metrics import AskingMetrics
from stream.asking.owners import Owner, PartitionOwners
from stream.asking.query import ListQuery, RankQuery, Refusal, SimilarQuery
from stream.asking.session_output import NotHere
from stream.asking.views import AskingViews
from stream.asking.worded_rules import rules_in_words
from stream.catalogue.catalogue import Catalogue
from stream.catalogue.item_word import ItemWord
from stream.catalogue.rules import Rules
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
        self.elsewhere, self.items = {"elsewhere"}, ["a", "b"]

    def list_of(self, query: ListQuery) -> tuple[bytes, str]:
        if query.session_id == "slow":
            self.begun.set()
            assert self.release.wait(120)
        if query.session_id in self.elsewhere:
            raise NotHere(3)
        if query.session_id == "broken":
            raise RuntimeError("of the answer")
        if query.session_id == "early":
            raise Refusal(503, "no model", "Nothing.", "Wait.", outcome="not_ready", again_s=7)
        body = {"k": query.k, "items": [{"item_id": item} for item in self.items]}
        return json.dumps(body).encode(), "unknown_session" if query.session_id == "new" else ""

    def ranked(self, query: RankQuery) -> tuple[bytes, str]:
        if query.session in self.elsewhere:
            raise NotHere(3)
        return json.dumps({"candidates": query.candidates}).encode(), ""

    def similar(self, query: SimilarQuery) -> tuple[bytes, str]:
        return json.dumps({"item": query.item_id}).encode(), ""


class FakeOwners:
    """Says what it is told, and after a doubt what is next."""

    def __init__(self) -> None:
        self.next: list[Owner | None] = [None]
        self.doubts = 0

    async def of(self, number: int) -> Owner | None:
        return self.next[0]

    def doubt(self) -> None:
        self.doubts += 1
        if len(self.next) > 1:
            self.next.pop(0)


class Served:
    """The views on a port."""

    def __init__(self, worker_id: str, changes: dict[str, Any]) -> None:
        self.settings = Settings(web_port=free_port(), worker_id=worker_id, **changes)
        self.guard = WebGuard(self.settings)
        self.metrics, self.answers = AskingMetrics(), FakeAnswers()
        self.recovering: dict[int, tuple[int, int]] = {}
        self.views = AskingViews(
            self.settings,
            cast(
                Pipeline,
                SimpleNamespace(
                    live=SimpleNamespace(catalogue=Catalogue()), recovering=self.recovering, partitions=4
                ),
            ),
            self.metrics,
            self.guard.credentials,
        )
        self.views._answers = cast(Answers, self.answers)
        self.owners = FakeOwners()
        self.views.forwarder._owners = cast(PartitionOwners, self.owners)

    async def get(self, path: str) -> tuple[int, dict[str, str], Any]:
        status, headers, body = await ask(self.settings.web_port, f"GET {path} HTTP/1.1")
        return status, headers, json.loads(body)

    async def post(self, path: str, body: bytes) -> tuple[int, Any]:
        kind, size = "Content-Type: application/json", f"Content-Length: {len(body)}"
        status, _, answer = await ask(self.settings.web_port, f"POST {path} HTTP/1.1", kind, size, body=body)
        return status, json.loads(answer)


@asynccontextmanager
async def serving(worker_id: str = "asked", **changes: Any) -> AsyncIterator[Served]:
    served = Served(worker_id, changes)
    app = faust.App(
        worker_id, broker="kafka://127.0.0.1:1", web_bind="127.0.0.1", web_port=served.settings.web_port
    )
    guard = served.guard
    app.web = web = GuardedWeb(app, guard)
    for route in (
        Route("/api/recommendations/{session_id}", served.views.recommendations, (READ,)),
        Route("/api/rank", served.views.rank, (READ,), methods=("POST",), asks=True),
        Route("/api/similar/{item_id}", served.views.similar, (READ, VIEW)),
        Route("/api/tries", served.views.tries, (READ,)),
        Route("/api/rules", served.views.rules, (READ,)),
    ):
        app.page(route.path)(faust_view(route))
        guard.open_to(route.path, route.roles)
    guard.open_for_writing("/api/rank")
    web.init_server()
    await web.start_server()
    try:
        yield served
    finally:
        served.answers.release.set()
        await served.views.forwarder.close()
        await web.stop_server()


def test_requests_are_answered_and_counted_by_kind_and_outcome() -> None:
    async def run() -> None:
        async with serving() as served:
            status, headers, body = await served.get("/api/recommendations/s?k=7")
            assert (status, body["k"], headers["X-Nextclick-Owner"]) == (200, 7, "asked")
            assert (await served.get("/api/recommendations/new"))[0] == 200
            assert (await served.get("/api/similar/a%2Fb"))[::2] == (200, {"item": "a/b"})
            request = b'{"session":"s","candidates":["b","a"]}'
            assert await served.post("/api/rank", request) == (200, {"candidates": ["b", "a"]})
            status, _, refused = await served.get("/api/recommendations/s?k=0")
            assert status == 400 and refused.keys() == {"error", "meaning", "do"}
            assert (await served.get("/api/similar/a?category=b"))[0] == 400
            assert (await served.post("/api/rank", b"{}"))[0] == 400
            status, headers, _ = await served.get("/api/recommendations/early")
            assert (status, headers["Retry-After"]) == (503, "7")
            assert (await served.get("/api/recommendations/broken"))[0] == 500
            status, headers, answer = await served.get("/api/recommendations/elsewhere")
            assert (status, headers["Retry-After"]) == (503, "1")
            assert answer["error"] == "no worker answers for partition 3"
            served.recovering[3] = (5, 10)
            answer = (await served.get("/api/recommendations/elsewhere"))[2]
            assert answer["error"] == "partition 3 is being recovered on this worker"
            counted = {
                (kind, outcome): served.metrics.count(kind, outcome)
                for kind in ("recommendations", "rank", "similar")
                for outcome in ("answered", "fallback", "refused", "not_ready", "failed", "elsewhere")
            }
            assert {key: count for key, count in counted.items() if count} == {
                ("recommendations", "answered"): 1,
                ("recommendations", "fallback"): 1,
                ("recommendations", "refused"): 1,
                ("recommendations", "not_ready"): 1,
                ("recommendations", "failed"): 1,
                ("recommendations", "elsewhere"): 2,
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


def test_a_session_of_another_worker_is_asked_of_that_one_and_its_answer_passed_on() -> None:
    async def run() -> None:
        async with serving() as asked, serving("owner") as owner:
            asked.owners.next = [Owner("owner", f"127.0.0.1:{owner.settings.web_port}")]
            owner.answers.elsewhere = set()
            status, headers, body = await asked.get("/api/recommendations/elsewhere?k=3&exclude=x%2Fy")
            assert (status, body["k"], headers["X-Nextclick-Owner"]) == (200, 3, "owner")
            request = b'{"session":"elsewhere","candidates":["b","a"]}'
            assert await asked.post("/api/rank", request) == (200, {"candidates": ["b", "a"]})
            for kind in ("recommendations", "rank"):
                assert asked.metrics.count(kind, "forwarded") == 1
                assert owner.metrics.count(kind, "answered") == 1
            assert asked.owners.doubts == 0

    asyncio.run(run())


def test_a_request_goes_round_in_no_circle_though_two_workers_take_each_other_for_the_owner() -> None:
    async def run() -> None:
        async with serving("one") as one, serving("two") as two:
            one.owners.next = [Owner("two", f"127.0.0.1:{two.settings.web_port}")]
            two.owners.next = [Owner("one", f"127.0.0.1:{one.settings.web_port}")]
            status, headers, _ = await one.get("/api/recommendations/elsewhere")
            assert (status, headers["Retry-After"]) == (503, "1")
            assert one.metrics.count("recommendations", "elsewhere") == 1
            assert two.metrics.count("recommendations", "elsewhere") == 1
            assert one.owners.doubts == 1

    asyncio.run(run())


def test_after_a_partition_has_moved_the_new_owner_is_asked() -> None:
    async def run() -> None:
        async with serving() as asked, serving("new") as new:
            new.answers.elsewhere = set()
            gone = Owner("gone", f"127.0.0.1:{free_port()}")
            asked.owners.next = [gone, Owner("new", f"127.0.0.1:{new.settings.web_port}")]
            status, headers, _ = await asked.get("/api/recommendations/elsewhere")
            assert (status, headers["X-Nextclick-Owner"]) == (200, "new")

    asyncio.run(run())


def test_while_the_owner_is_silent_the_newest_list_is_given_again_without_what_was_sold_out_since() -> None:
    async def run() -> None:
        async with serving() as asked:
            path = "/api/recommendations/s?k=3"
            before = (await asked.get(path))[2]
            assert "stale_s" not in before
            asked.answers.elsewhere = {"s"}
            asked.owners.next = [Owner("gone", f"127.0.0.1:{free_port()}")]
            catalogue = asked.views._pipeline.live.catalogue
            catalogue.apply([("a", ItemWord(available=False))], "0-0")
            status, _, body = await asked.get(path)
            assert (status, body["items"]) == (200, [{"item_id": "b"}]) and body["stale_s"] >= 0
            assert asked.metrics.count("recommendations", "stale") == 1
            # Another question has another answer, which is not known.
            assert (await asked.get("/api/recommendations/s?k=4"))[0] == 503
            assert (await asked.post("/api/rank", b'{"session":"s","candidates":["b"]}'))[0] == 503

    asyncio.run(run())


def test_rules_are_put_into_words_once_for_each_version(monkeypatch: pytest.MonkeyPatch) -> None:
    worded: list[str] = []

    def in_words(rules: Rules) -> bytes:
        worded.append(rules.version)
        return rules_in_words(rules)

    monkeypatch.setattr(views_module, "rules_in_words", in_words)

    async def run() -> None:
        async with serving() as served:
            catalogue = served.views._pipeline.live.catalogue
            for version, published in (("v1", "true"), ("v2", "false")):
                text = f'[never]\nbrands = ["Acme"]\n[placement.basket]\npublished = {published}'
                catalogue.set_rules(Rules.parse(text, version))
                answers = await asyncio.gather(*(served.get("/api/rules") for _ in range(3)))
                for status, _, body in answers:
                    assert (status, body["version"], body["refused"]) == (200, version, 0)
                    assert "nothing of the brand “Acme”" in [rule["text"] for rule in body["rules"]]
                    assert [one["published"] for one in body["placements"]] == [published == "true"]
            catalogue.refused_rules += 1
            assert (await served.get("/api/rules"))[2]["refused"] == 1

    asyncio.run(run())
    assert worded == ["v1", "v2"]
