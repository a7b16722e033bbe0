"""The HTTP views of what is asked: lists, ranked candidates, similar items.

Any worker answers for any session: one whose partition is not open here is asked of the worker that has it.
Every request is counted with its outcome; a refusal has three parts: error, meaning, do.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any

import orjson
from aiohttp import web as aiohttp_web
from faust.web import View

from stream.access.credentials import Credentials
from stream.access.grants import GRANT, Grant
from stream.asking.answers import Answers
from stream.asking.bounded_worker import BoundedWorker, WorkBudget
from stream.asking.forwarding import FORWARDED_BY, OWNER, Forwarder
from stream.asking.known_lists import KnownLists
from stream.asking.metrics import AskingMetrics
from stream.asking.owners import PartitionOwners
from stream.asking.query import NOTHING_MADE, ListQuery, RankQuery, Refusal, SimilarQuery, TryQuery
from stream.asking.session_output import NotHere
from stream.asking.worded_rules import rules_in_words
from stream.catalogue.rules import Rules
from stream.settings import Settings
from stream.worker.pipeline import Pipeline

MOST_WAITING = 128
MOST_TRIES = 4
Make = Callable[[], tuple[bytes, str]]


class AskingViews:
    """Answers from the partitions of this worker, one at a time in a thread of their own, or of others."""

    def __init__(
        self, settings: Settings, pipeline: Pipeline, metrics: AskingMetrics, credentials: Credentials
    ) -> None:
        self._worker_id = settings.worker_id
        self._pipeline = pipeline
        self._metrics = metrics
        self._answers = Answers(pipeline)
        self._thread = BoundedWorker("asking", MOST_WAITING)
        # A try costs as many lists as there are rules: no shopper waits for one.
        self._tries = BoundedWorker("tries", MOST_TRIES, WorkBudget(settings.torch_threads))
        self._known = KnownLists()
        self._wording = asyncio.Lock()
        self._worded: tuple[Rules, bytes] | None = None
        owners = PartitionOwners(settings, lambda: pipeline.source.partitions)
        self.forwarder = Forwarder(settings, owners, credentials)

    async def recommendations(self, web: View, request: Any, session_id: str) -> Any:
        """The list of a session, made now from its state and after the rules."""
        return await self._answer(
            "recommendations",
            request,
            lambda: self._answers.list_of(ListQuery.read(session_id, request.query)),
        )

    async def rank(self, web: View, request: Any) -> Any:
        """Candidates in the order of a session."""
        body = await request.read()
        grant: Grant = request[GRANT]

        def ranked() -> tuple[bytes, str]:
            query = RankQuery.read(body)
            if not grant.is_for(query.session):
                raise _of_another()
            return self._answers.ranked(query)

        return await self._answer("rank", request, ranked)

    async def similar(self, web: View, request: Any, item_id: str) -> Any:
        """Items similar to one."""
        return await self._answer(
            "similar", request, lambda: self._answers.similar(SimilarQuery.read(item_id, request.query))
        )

    async def tries(self, web: View, request: Any) -> Any:
        """What the rules do to a list. Of any session and user, so a token for one session asks for none."""
        grant: Grant = request[GRANT]

        def tried() -> tuple[bytes, str]:
            if grant.session is not None:
                raise _of_another()
            return self._answers.tried(TryQuery.read(request.query))

        return await self._answer("try", request, tried, self._tries)

    async def rules(self, web: View, request: Any) -> Any:
        """The rules that hold, each in words, and the placements; put into words once for each version."""
        catalogue = self._pipeline.live.catalogue
        async with self._wording:
            rules, refused = catalogue.rules, catalogue.refused_rules
            if self._worded is None or self._worded[0] is not rules:
                # Beside the event loop: of thousands of names this takes a while.
                loop = asyncio.get_running_loop()
                self._worded = rules, await loop.run_in_executor(None, rules_in_words, rules)
            words = self._worded[1]
        body = b'{"refused":%d,%b' % (refused, words.removeprefix(b"{"))
        return aiohttp_web.Response(body=body, content_type="application/json")

    async def _answer(self, kind: str, request: Any, make: Make, thread: BoundedWorker | None = None) -> Any:
        """Answer with what `make` makes in the thread, what another worker says, or why there is nothing."""
        began_s, owner = time.perf_counter(), self._worker_id
        status, outcome = 200, "failed"
        headers: dict[str, str] = {}
        try:
            beside = thread or self._thread
            if wait_s := beside.wait_s():
                raise _spent(math.ceil(wait_s))
            made = await beside(make)
            if made is None:
                raise _busy(beside.most)
            body, fallback = made
            outcome = "fallback" if fallback else "answered"
            if kind == "recommendations":
                self._known.put(_asked(request), body)
        except NotHere as elsewhere:
            passed = await self.forwarder.ask(request, elsewhere.partition)
            if passed is not None:
                status, body, owner, outcome = passed.status, passed.body, passed.owner, "forwarded"
                # The answer to HEAD has no body.
                if kind == "recommendations" and status == 200 and body:
                    self._known.put(_asked(request), body)
            else:
                status, body, headers, outcome = self._of_no_owner(request, elsewhere.partition)
        except Refusal as refusal:
            status, body, outcome = refusal.status, orjson.dumps(refusal.body), refusal.outcome
            headers = {"Retry-After": str(refusal.again_s)} if refusal.again_s else {}
        finally:
            self._metrics.add(kind, outcome, time.perf_counter() - began_s)
        return aiohttp_web.Response(
            status=status, body=body, content_type="application/json", headers={**headers, OWNER: owner}
        )

    def _of_no_owner(self, request: Any, number: int) -> tuple[int, bytes, dict[str, str], str]:
        """The newest list that is known, or 503, where the worker that has the partition does not answer."""
        known = None
        if FORWARDED_BY not in request.headers:
            known = self._known.get(_asked(request), self._pipeline.live.catalogue.is_unlisted)
        if known is not None:
            return 200, known, {}, "stale"
        if number in self._pipeline.recovering:
            error = f"partition {number} is being recovered on this worker"
        else:
            error = f"no worker answers for partition {number}"
        refusal = Refusal(
            503,
            error,
            "Its sessions cannot be asked for now: the partition moves, or the worker that has it is away.",
            "Try again in a second; show the newest list of the topic until then.",
        )
        return 503, orjson.dumps(refusal.body), {"Retry-After": "1"}, "elsewhere"


def _asked(request: Any) -> str:
    return str(request.rel_url.raw_path_qs)


def _of_another() -> Refusal:
    return Refusal(
        403,
        "the token is for another session",
        "It opens the session that it names, and no other.",
        "Ask for the session of the token, or with one that has the role read for all.",
    )


def _spent(wait_s: int) -> Refusal:
    return Refusal(
        503,
        "more lists were tried than this worker has time for",
        NOTHING_MADE,
        f"Try again in {wait_s} s.",
        outcome="busy",
        again_s=wait_s,
    )


def _busy(most: int) -> Refusal:
    return Refusal(
        503,
        f"{most} requests wait already",
        "This worker is asked more than it can answer.",
        "Try again in a second; more workers, or fewer requests, help.",
        outcome="busy",
        again_s=1,
    )
