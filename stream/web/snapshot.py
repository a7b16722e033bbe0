"""The state of the worker as JSON for the live page, made once a second for all pages.

Tested by tests/browser/test_page.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import orjson

from stream.access.grants import Grant
from stream.access.pseudonyms import Pseudonyms
from stream.asking.titles import title_of
from stream.quality.sums import measured
from stream.settings import Settings
from stream.wave.processor import OUTCOMES
from stream.web.broker_probe import BrokerProbe
from stream.web.chart_points import (
    ChartPoints,
    delay_quantiles,
    point_of,
    quality_now,
    shadow_now,
)
from stream.web.recent_lists import RecentLists, ShownList
from stream.worker.pipeline import Pipeline

SHOWN_ITEMS = 5
VIEWED_S = 5.0


class Snapshot:
    """The newest state as `json`, its `number`, and the points of the charts; one thread calls `refresh`."""

    def __init__(
        self,
        settings: Settings,
        pipeline: Pipeline,
        recent_lists: RecentLists,
        broker: BrokerProbe,
        posted: Callable[[], int],
        pseudonyms: Callable[[], Pseudonyms | None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._recent_lists = recent_lists
        self._broker = broker
        self._posted = posted
        self._pseudonyms = pseudonyms
        self._points = ChartPoints()
        self._done: tuple[float, int] | None = None
        self._history_json: tuple[int, bytes] = (-1, b"")
        self.number = 0
        self.json = b"{}"
        self._json_of_viewers = b"{}"
        self._viewed_until_s = 0.0

    def seen_with(self, grant: Grant) -> bytes:
        """The newest state as one sees it who may do this: viewers see pseudonyms in place of session ids."""
        return self.json if grant.sees_ids else self._json_of_viewers

    def mark_viewed(self) -> None:
        """Note that a page is open: for VIEWED_S the snapshot also says whether the brokers answer."""
        self._viewed_until_s = time.monotonic() + VIEWED_S

    def refresh(self) -> None:
        """Read the worker's state, add a point to the charts, and make the JSON of this second."""
        now = self._now()
        if now["model"] is not None:
            self._points.note_version(now["model"]["version"], now["at_ms"], now["event_time_ms"] or 0)
        self._points.add(point_of(now))
        now["swaps"] = [
            {"version": swap.version, "at_ms": swap.wall_ms, "event_time_ms": swap.event_time_ms}
            for swap in self._points.swaps
        ]
        made = of_viewers = orjson.dumps(now)
        # Asked for each time: the key may have changed.
        if (names := self._pseudonyms()) is not None:
            newest = [{**shown, "session_id": names.of(shown["session_id"])} for shown in now["newest"]]
            of_viewers = orjson.dumps({**now, "newest": newest})
        # The event loop reads beside this thread: viewers never get what is not yet made for them.
        self.json, self._json_of_viewers = made, of_viewers
        self.number += 1

    def history(self) -> bytes:
        """The points of the charts as JSON."""
        number = self.number
        if self._history_json[0] != number:
            self._history_json = (number, orjson.dumps(self._points.as_dict()))
        return self._history_json[1]

    def _now(self) -> dict[str, Any]:
        pipeline = self._pipeline
        counters, source = pipeline.counters, pipeline.source
        serving = pipeline.live.current if pipeline.live.ready else None
        accounting = counters.accounting(pipeline.in_flight)
        # Asking for its state keeps the probe running, which a worker without pages does not need.
        broker = self._broker.state() if time.monotonic() < self._viewed_until_s else None
        done = sum(int(str(accounting[name])) for name in OUTCOMES)
        return {
            "at_ms": int(time.time() * 1000),
            "worker": self._settings.worker_id,
            "ready": pipeline.ready,
            "model": None
            if serving is None
            else {"version": serving.version, "items": len(serving.vocabulary)},
            "broker": None
            if broker is None
            else {"reachable": broker.reachable, "since_ms": broker.since_ms, "error": broker.error},
            "recovering": {
                str(number): {"done": done, "total": total}
                for number, (done, total) in list(pipeline.recovering.items())
            },
            "partitions": sorted(source.partitions),
            "partitions_total": self._settings.partitions,
            "web_events": self._settings.web_events,
            "posted": self._posted(),
            "event_time_ms": pipeline.event_time_ms,
            "sessions": pipeline.sessions,
            "lists": counters.lists,
            "lag": pipeline.lag,
            "level": source.level,
            "accounting": {name: value for name, value in accounting.items() if name != "partitions"},
            "events_per_s": self._rate(done),
            "delay_ms": delay_quantiles(self._recent_lists.pop_delays_ms()),
            "quality_window": self._settings.quality_window,
            "quality": quality_now(measured(counters.prequential.overall()["newest"])),
            "in_sample": {
                "learned_until_ms": None if serving is None else serving.learned.until_ms,
                "quality": quality_now(measured(counters.prequential.in_sample()["newest"])),
            },
            "shadow": shadow_now(pipeline.shadow.report()),
            "newest": [self._list(shown) for shown in reversed(list(self._recent_lists.lists))],
        }

    def _rate(self, done: int) -> float | None:
        """Durable events a second since the last snapshot."""
        now_s, before = time.monotonic(), self._done
        self._done = (now_s, done)
        if before is None:
            return None
        return round((done - before[1]) / (now_s - before[0]), 1)

    def _list(self, found: ShownList) -> dict[str, Any]:
        shown = found.shown
        titles = self._pipeline.live.current.listable.titles
        return {
            "event_id": f"{shown.arrival.partition}-{shown.arrival.offset}",
            "session_id": shown.session_id,
            "position": shown.position,
            "item_id": found.item_id,
            "title": title_of(titles, found.item_id),
            "model_version": shown.model_version,
            "fallback": shown.fallback or None,
            "at_ms": found.wall_ms,
            "event_time_ms": shown.event_time_ms,
            "delay_ms": round(found.delay_ms, 1),
            "items": [
                {"item_id": item, "title": title_of(titles, item)} for item in shown.items[:SHOWN_ITEMS]
            ],
        }
