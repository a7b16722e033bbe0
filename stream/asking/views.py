"""The HTTP views of what is asked: lists, ranked candidates, similar items.

Every request is counted with its outcome; a refusal has three parts: error, meaning, do.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import orjson
from aiohttp import web as aiohttp_web
from faust.web import View

from stream.asking.answers import Answers
from stream.asking.bounded_worker import BoundedWorker
from stream.asking.metrics import AskingMetrics
from stream.asking.query import ListQuery, RankQuery, Refusal, SimilarQuery
from stream.asking.session_output import NotHere
from stream.worker.pipeline import Pipeline

MOST_WAITING = 128
Make = Callable[[], tuple[bytes, str]]


class AskingViews:
    """Answers from the partitions of this worker, one at a time in a thread of their own."""

    def __init__(self, pipeline: Pipeline, metrics: AskingMetrics) -> None:
        self._pipeline = pipeline
        self._metrics = metrics
        self._answers = Answers(pipeline)
        self._thread = BoundedWorker("asking", MOST_WAITING)

    async def recommendations(self, web: View, request: Any, session_id: str) -> Any:
        """The list of a session, made now from its state and after the rules."""

        def make() -> tuple[bytes, str]:
            return self._answers.list_of(query)

        began_s = time.perf_counter()
        try:
            query = ListQuery.read(session_id, request.query)
        except Refusal as refusal:
            return self._refused("recommendations", refusal, began_s)
        return await self._answer("recommendations", make, began_s)

    async def rank(self, web: View, request: Any) -> Any:
        """Candidates in the order of a session."""

        def make() -> tuple[bytes, str]:
            return self._answers.ranked(query)

        began_s = time.perf_counter()
        try:
            query = RankQuery.read(await request.read())
        except Refusal as refusal:
            return self._refused("rank", refusal, began_s)
        return await self._answer("rank", make, began_s)

    async def similar(self, web: View, request: Any, item_id: str) -> Any:
        """Items similar to one."""

        def make() -> tuple[bytes, str]:
            return self._answers.similar(query)

        began_s = time.perf_counter()
        try:
            query = SimilarQuery.read(item_id, request.query)
        except Refusal as refusal:
            return self._refused("similar", refusal, began_s)
        return await self._answer("similar", make, began_s)

    async def _answer(self, kind: str, make: Make, began_s: float) -> Any:
        """Run `make` in the thread, and answer with what it makes or why it does not."""
        try:
            made = await self._thread(make)
        except Refusal as refusal:
            return self._refused(kind, refusal, began_s)
        except NotHere as elsewhere:
            return self._refused(kind, self._not_here(elsewhere.partition), began_s)
        except Exception:
            self._count(kind, "failed", began_s)
            raise
        if made is None:
            busy = Refusal(
                503,
                f"{MOST_WAITING} requests wait already",
                "This worker is asked more than it can answer.",
                "Try again in a second; more workers, or fewer requests, help.",
                outcome="busy",
                again_s=1,
            )
            return self._refused(kind, busy, began_s)
        body, fallback = made
        self._count(kind, "fallback" if fallback else "answered", began_s)
        return _json(200, body)

    def _not_here(self, number: int) -> Refusal:
        """The refusal for a session whose partition is not open on this worker."""
        if number in self._pipeline.recovering:
            error = f"partition {number} is being recovered on this worker"
            meaning = "Its sessions can be asked for once it is open."
            return Refusal(503, error, meaning, "Try again in a second.", outcome="not_ready", again_s=1)
        error = f"the session's partition, {number}, is not open on this worker"
        return Refusal(404, error, "Another worker has it, or none.", "Ask that one.", outcome="elsewhere")

    def _refused(self, kind: str, refusal: Refusal, began_s: float) -> Any:
        self._count(kind, refusal.outcome, began_s)
        headers = {"Retry-After": str(refusal.again_s)} if refusal.again_s else {}
        return _json(refusal.status, orjson.dumps(refusal.body), headers)

    def _count(self, kind: str, outcome: str, began_s: float) -> None:
        self._metrics.add(kind, outcome, time.perf_counter() - began_s)


def _json(status: int, body: bytes, headers: dict[str, str] | None = None) -> aiohttp_web.Response:
    return aiohttp_web.Response(status=status, body=body, content_type="application/json", headers=headers)
