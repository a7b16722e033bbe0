"""The JSON API for programs and the page: items, lists, why, models; and events in, with `web_events`.

Requests are checked against bounds before anything is computed. The work runs in threads of its
own beside the step threads. Errors are {"error": …} with a 4xx or 5xx status.
"""

from __future__ import annotations

import logging
import math
import time
from typing import Any

import msgspec
from faust.web import View

from model.errors import NextclickError
from model.registry.registry import Registry
from stream.access.grants import GRANT
from stream.asking.bounded_worker import BoundedWorker, WorkBudget
from stream.asking.titles import titled
from stream.asking.views import AskingViews
from stream.events import MAX_EVENT_BYTES, RejectedEvent, check_time, decode_event
from stream.logs import happening
from stream.settings import Settings
from stream.web.items import MOST_FOUND, PageItems
from stream.web.models import model_cards, source_rows
from stream.web.posted_events import PostedEvent, PostedEvents, RefusedByKafka
from stream.worker.pipeline import Pipeline

MAX_QUERY_CHARACTERS = 200
MAX_ID_CHARACTERS = 256
MAX_SESSION_ITEMS = 50
CARDS_KEPT_S = 2.0
MOST_EXPLAINED = 4
REFUSALS = {
    "empty": "there is no event",
    "too_large": f"an event has at most {MAX_EVENT_BYTES} bytes",
    "not_json": "the event is no JSON",
    "schema": "the event is not as the schema says; see /openapi.json",
    "empty_id": "an event other than session_end and forget needs an item_id",
    "future": "the event's time is ahead of the server's clock; leave event_time_ms out",
    "past": "the event's time is behind the server's clock; leave event_time_ms out",
}
logger = logging.getLogger(__name__)


class ApiViews:
    """Items, why, models and recommendations; events, if the guard lets POST through."""

    def __init__(
        self, settings: Settings, pipeline: Pipeline, posted: PostedEvents, asking: AskingViews
    ) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._posted = posted
        self._asking = asking
        self._items = PageItems(pipeline.live)
        self._cards = CachedCards(Registry(settings.registry_dir))
        # Three threads: a search waits neither for the registry's files to be hashed nor for explanations.
        self._compute, self._read_registry = BoundedWorker("catalogue"), BoundedWorker("registry")
        self._explain = BoundedWorker("why", MOST_EXPLAINED, WorkBudget(settings.torch_threads))

    async def items(self, web: View, request: Any) -> Any:
        """Items found by title or id; the most popular items without a query."""
        query, limit = request.query.get("q", ""), request.query.get("limit", "20")
        if len(query) > MAX_QUERY_CHARACTERS:
            return web.json({"error": f"q has at most {MAX_QUERY_CHARACTERS} characters"}, status=400)
        if not (limit.isascii() and limit.isdigit() and len(limit) < 4 and 1 <= int(limit) <= MOST_FOUND):
            return web.json({"error": f"limit is a number from 1 to {MOST_FOUND}"}, status=400)
        return _answer(web, await self._compute(self._items.find, query, int(limit)))

    async def why(self, web: View, request: Any) -> Any:
        """The list after a session of these items, and for each place the item that caused it."""
        asked = request.query.getall("item", [])
        if not 1 <= len(asked) <= MAX_SESSION_ITEMS or any(len(one) > MAX_ID_CHARACTERS for one in asked):
            return web.json({"error": f"item is given 1 to {MAX_SESSION_ITEMS} times, in order"}, status=400)
        if wait_s := self._explain.wait_s():
            error = {"error": "more was asked of this worker than it has time to explain; try again"}
            return web.json(error, status=503, headers={"Retry-After": str(math.ceil(wait_s))})
        return _answer(web, await self._explain(self._items.why, asked))

    async def models(self, web: View, request: Any) -> Any:
        """The versions of the registry, the decisions of the retrainings, and the serving list's sources."""
        live, trial = self._pipeline.live, self._pipeline.shadow.trial
        serving = live.current.version if live.ready else None
        shadow = None if trial is None else trial.serving.version
        cards = await self._read_registry(self._cards.get, serving, shadow)
        if cards is not None:
            cards = {
                **cards,
                "sources": source_rows(self._pipeline.counters.prequential.by_source(), serving),
            }
        return _answer(web, cards)

    async def recommendations(self, web: View, request: Any, session_id: str) -> Any:
        """The session's list, made now; with `await` its published lists are followed from now on, too."""
        if self._settings.web_events and "await" in request.query and len(session_id) <= MAX_ID_CHARACTERS:
            try:
                # The session's first event then need not wait for a producer and a consumer.
                await self._posted.open(session_id)
            except NextclickError as problem:
                return web.json({"error": problem.what}, status=503)
        return await self._asking.recommendations(web, request, session_id)

    async def events(self, web: View, request: Any) -> Any:
        """Post one event to Kafka and answer with its list; an event without a time gets the current time.

        A client's own time is taken if it is near the server's: a later one would end others' sessions.
        """
        if self._posted.is_full:
            return web.json({"error": "too many events are under way; try again"}, status=503)
        try:
            event = decode_event(stamped(await request.read()))
            skew_ms, now_ms = int(self._settings.web_event_skew_s * 1000), _now_ms()
            check_time(event, now_ms - skew_ms, now_ms + skew_ms)
            if not request[GRANT].is_for(event.session_id):
                return web.json({"error": "the token is for another session"}, status=403)
        except RejectedEvent as rejected:
            body = {"error": REFUSALS[rejected.reason], "reason": rejected.reason}
            return web.json(body, status=413 if rejected.reason == "too_large" else 400)
        try:
            return web.json(self._listed(await self._posted.post(event)))
        except RefusedByKafka as refused:
            return web.json({"error": refused.what, "reason": "refused"}, status=400)
        except NextclickError as error:
            logger.warning(
                "an event by HTTP failed: %s",
                error.what,
                extra=happening("http_event_failed", error=error.what),
            )
            return web.json({"error": f"{error.what}. {error.meaning} {error.remedy}"}, status=503)

    def _listed(self, posted: PostedEvent) -> dict[str, Any]:
        body: dict[str, Any] = {
            "event_id": posted.event_id,
            "acknowledged_ms": posted.acknowledged_ms,
            "click_to_list_ms": posted.listed_ms,
            "list": None,
        }
        if posted.received is not None:
            shown, headers = posted.received.recommendation, posted.received.headers
            body["list"] = {
                "session_id": shown.session_id,
                "event_id": shown.event_id,
                "event_time_ms": shown.event_time_ms,
                "model_version": shown.model_version,
                "position": int(headers.get("position", 0)),
                "fallback": headers.get("fallback"),
                "queued_us": int(headers.get("queued_us", 0)),
                "stepped_us": int(headers.get("stepped_us", 0)),
                "items": titled(self._pipeline.live.current.listable.titles, shown.items, shown.scores),
            }
        return body


def _answer(web: View, body: Any) -> Any:
    """The result of a BoundedWorker as JSON, or 503 when it was full."""
    if body is None:
        return web.json({"error": "too many ask at once; try again"}, status=503)
    return web.json(body)


class CachedCards:
    """The cards of `model_cards`, kept for CARDS_KEPT_S, since reading the registry hashes files."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._kept: tuple[float, tuple[str | None, str | None], dict[str, Any]] | None = None

    def get(self, serving: str | None, shadow: str | None) -> dict[str, Any]:
        """The cards, at most CARDS_KEPT_S old."""
        kept, now_s = self._kept, time.monotonic()
        if kept is None or now_s - kept[0] > CARDS_KEPT_S or kept[1] != (serving, shadow):
            self._kept = kept = (now_s, (serving, shadow), model_cards(self._registry, serving, shadow))
        return kept[2]


def stamped(body: bytes) -> bytes:
    """Add the current time to a JSON object without `event_time_ms`; other bodies are returned unchanged.

    >>> stamped(b'{"session_id": "s", "event_time_ms": 5}')
    b'{"session_id": "s", "event_time_ms": 5}'
    """
    if len(body) > MAX_EVENT_BYTES:
        return body
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return body
    if isinstance(fields, dict) and "event_time_ms" not in fields:
        return msgspec.json.encode({**fields, "event_time_ms": _now_ms()})
    return body


def _now_ms() -> int:
    return int(time.time() * 1000)
