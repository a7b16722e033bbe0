"""Explanations are dear: they have a thread and a budget of their own, and nobody else waits for them."""

import asyncio
import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from stream.asking.bounded_worker import BoundedWorker, WorkBudget
from stream.settings import Settings
from stream.web import api
from stream.web.api import ApiViews
from stream.web.items import PageItems


class Answer:
    """What a view answers, in place of Faust's own."""

    @staticmethod
    def json(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        return status, headers or {}


class Query(dict[str, str]):
    def getall(self, name: str, default: list[str]) -> list[str]:
        return ["item"] if name == "item" else default


REQUEST = SimpleNamespace(query=Query())


def views_of(items: Any, clock_s: Any = lambda: 0.0) -> ApiViews:
    views = ApiViews.__new__(ApiViews)
    views._items, views._compute = cast(PageItems, items), BoundedWorker("catalogue")
    budget = WorkBudget(Settings().torch_threads, clock_s=clock_s)
    views._explain = BoundedWorker("why", api.MOST_EXPLAINED, budget)
    return views


def test_who_has_asked_for_too_much_work_waits_and_is_answered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, spent_s = [0.0], [0.0]
    monkeypatch.setattr("stream.asking.bounded_worker.time.thread_time", lambda: spent_s[0])

    def why(asked: list[str]) -> dict[str, Any]:
        spent_s[0] += 2.0
        return {}

    views = views_of(SimpleNamespace(why=why), clock_s=lambda: now_s[0])

    async def run() -> list[Any]:
        found = [await views.why(cast(Any, Answer()), REQUEST) for _ in range(4)]
        now_s[0] += 8.0
        return [*found, await views.why(cast(Any, Answer()), REQUEST)]

    assert asyncio.run(run()) == [(200, {}), (200, {}), (200, {}), (503, {"Retry-After": "8"}), (200, {})]


def test_a_call_that_fails_is_paid_for(monkeypatch: pytest.MonkeyPatch) -> None:
    spent_s = [0.0]
    monkeypatch.setattr("stream.asking.bounded_worker.time.thread_time", lambda: spent_s[0])

    def why(asked: list[str]) -> dict[str, Any]:
        spent_s[0] += 100.0
        raise RuntimeError("no such item")

    views = views_of(SimpleNamespace(why=why))

    async def run() -> Any:
        for _ in range(2):
            with pytest.raises(RuntimeError):
                await views.why(cast(Any, Answer()), REQUEST)
        return await views.why(cast(Any, Answer()), REQUEST)

    # Two seconds of the first call, which compiles, and all of the others: 4 - 2 - 100 = -98 at a quarter.
    assert asyncio.run(run()) == (503, {"Retry-After": "392"})


def test_a_search_waits_for_no_explanation_and_few_explanations_wait() -> None:
    release = threading.Event()

    def why(asked: list[str]) -> dict[str, Any]:
        assert release.wait(240)
        return {}

    views = views_of(SimpleNamespace(why=why, find=lambda text, limit: {}))

    async def run() -> None:
        asked = [
            asyncio.create_task(views.why(cast(Any, Answer()), REQUEST)) for _ in range(api.MOST_EXPLAINED)
        ]
        assert await views.items(cast(Any, Answer()), REQUEST) == (200, {})
        assert await views.why(cast(Any, Answer()), REQUEST) == (503, {})
        assert not any(task.done() for task in asked)
        release.set()
        assert await asyncio.gather(*asked) == [(200, {})] * api.MOST_EXPLAINED

    asyncio.run(run())
