"""POST /api/events takes the server's time, and says 400 to what Kafka would never take."""

from __future__ import annotations

import asyncio
import json
import time
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError

from model.errors import NextclickError
from stream.access.grants import EVERYTHING, GRANT
from stream.events import Event
from stream.settings import Settings
from stream.web.api import ApiViews
from stream.web.posted_events import PostedEvent, RefusedByKafka


class Request(dict[Any, Any]):
    """A request of somebody who may do everything."""

    def __init__(self, body: bytes) -> None:
        super().__init__({GRANT: EVERYTHING})
        self._body = body

    async def read(self) -> bytes:
        return self._body


class Answer(SimpleNamespace):
    @staticmethod
    def json(body: Any, status: int = 200) -> tuple[int, Any]:
        return status, body


class Posted:
    """Notes the events that would go to Kafka, or fails as Kafka does."""

    is_full = False

    def __init__(self, error: Exception | None = None) -> None:
        self.events: list[Event] = []
        self.error = error

    async def post(self, event: Event) -> PostedEvent:
        if self.error is not None:
            raise self.error
        self.events.append(event)
        return PostedEvent("0-1", None, 1.0, None)


def post(posted: Posted, ahead_s: float | None, **settings: Any) -> tuple[int, Any]:
    """Post an event whose time is so many seconds ahead of this clock; None: without a time."""
    views = ApiViews.__new__(ApiViews)
    views._settings = Settings(**settings)
    views._posted = posted  # type: ignore[assignment]
    body: dict[str, Any] = {"session_id": "s", "item_id": "i"}
    if ahead_s is not None:
        body["event_time_ms"] = int((time.time() + ahead_s) * 1000)

    request = Request(json.dumps(body).encode())
    found: tuple[int, Any] = asyncio.run(views.events(Answer(), request))  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize(("ahead_s", "reason"), [(3300, "future"), (-3300, "past"), (86_400, "future")])
def test_a_client_cannot_choose_the_time(ahead_s: float, reason: str) -> None:
    posted = Posted()
    status, body = post(posted, ahead_s)
    assert (status, body["reason"]) == (400, reason)
    assert posted.events == []


def test_a_clock_a_little_off_is_taken_and_no_time_is_now() -> None:
    posted = Posted()
    # Far more than a slow machine needs to come from here to the view.
    assert post(posted, -60, web_event_skew_s=3600)[0] == 200
    before_ms = int(time.time() * 1000)
    assert post(posted, None)[0] == 200
    assert posted.events[1].event_time_ms >= before_ms > posted.events[0].event_time_ms


def test_what_kafka_refuses_for_its_time_is_not_to_be_tried_again() -> None:
    refused = RefusedByKafka(KafkaError(KafkaError.INVALID_TIMESTAMP))
    status, body = post(Posted(refused), None)
    assert (status, body["reason"]) == (400, "refused")
    away = NextclickError("the event was not delivered", "Not sure.", "Try again.")
    assert post(Posted(away), None)[0] == 503
