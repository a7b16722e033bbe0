"""Keeps versions fresh between two trainings, by the events of the worker's own waves.

Every event goes to `ModelSlot.recent`. At intervals of event time, a step thread refreshes the tables
of the version in service, and of the one in its shadow, in memory alone. When a partition is opened, its
newest events are read again from the log, as many as are kept, so a restart loses only the moments of
the refreshes. Lists depend on them: an event that is stepped again after a crash may get another list.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing

import pyarrow as pa
import pyarrow.compute as pc

from model.data.co_clicks import NEAR
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.freshness.refresher import TableRefresher
from stream.event_decoder import OWN_EVENTS, EventDecoder
from stream.event_log.columns import COLUMNS
from stream.event_log.kafka_reader import KafkaEvents
from stream.event_log.window import ORDER
from stream.events import NOT_LEARNED
from stream.logs import happening
from stream.settings import Settings
from stream.wave.serving_model import InService, ModelSlot
from stream.wave.session_event import SessionEvent
from stream.wave.shadow import Shadow
from stream.wave.waves import Arrival, Wave

logger = logging.getLogger(__name__)


class FreshnessFeed:
    """Feeds the refreshers of a worker's versions; called by all step threads."""

    def __init__(self, live: ModelSlot, shadow: Shadow) -> None:
        self._live = live
        self._shadow = shadow

    def refresh_first(self, wave: Wave, serving: InService) -> None:
        """Apply the events so far, or read again, before a version steps its first wave."""
        for version in (serving.champion, serving.challenger):
            if version is not None and version.refresher is not None and wave.arrivals:
                version.refresher.refresh_first(_now_ms(wave.arrivals))

    def add_events(self, events: Sequence[SessionEvent]) -> None:
        """Add a wave's events, whose states have them already, and refresh the versions that are due."""
        recent = self._live.recent
        if recent is None or not events:
            return
        recent.add(
            (
                e.event.event_time_ms,
                e.event.item_id,
                e.state.recent_items[-1 - NEAR : -1],
                e.event.session_id,
            )
            for e in events
        )
        now_ms = _now_ms([event.arrival for event in events])
        for refresher in self._refreshers():
            refresher.refresh(now_ms)

    def _refreshers(self) -> list[TableRefresher]:
        trial, now = self._shadow.trial, self._live.in_service
        servings = [now.champion, now.challenger, None if trial is None else trial.serving]
        found = [one.refresher for one in servings if one is not None and one.refresher is not None]
        return list(dict.fromkeys(found))


def _now_ms(arrivals: Sequence[Arrival]) -> int:
    """The watermark, which one wrong timestamp does not move."""
    return max(arrival.watermark.ms for arrival in arrivals)


def reload_recent_events(
    settings: Settings,
    live: ModelSlot,
    rule: SessionRule,
    number: int,
    offsets: tuple[int, int],
    decoder: EventDecoder = OWN_EVENTS,
) -> None:
    """Read again the newest events of a partition, of [begin, end) of its offsets, that a refresh can need.

    Raises NextclickError when the log cannot be read.
    """
    begin, end = offsets
    refresher = live.current.refresher
    if live.recent is None or refresher is None or not end:
        return
    with closing(KafkaEvents(settings, decoder)) as source:
        low, high = source.bounds()[number]
        most = max(1, settings.follow_events // settings.partitions)
        ranges = {number: (max(low, begin, end - most), min(high, end))}
        if ranges[number][0] >= ranges[number][1]:
            return
        first = source.first_at(max(0, refresher.needed_from_ms), ranges)[number]
        tables = [COLUMNS.empty_table(), *source.read({number: (first, ranges[number][1])}, _events)]
    frame = pa.concat_tables(tables).sort_by(ORDER).to_pandas()
    if frame["item_id"].nunique() > 1:
        vocabulary = Vocabulary.from_frame(frame)
        live.recent.add_sessions(Sessions.from_frame(frame, vocabulary, rule), vocabulary.item_ids.tolist())
    logger.info(
        "partition %d: %d events of the log are followed",
        number,
        len(frame),
        extra=happening("events_followed", partition=number, events=len(frame)),
    )


def _events(table: pa.Table) -> pa.Table:
    is_learned = pc.invert(pc.is_in(table["kind"], pa.array(NOT_LEARNED)))
    return table.filter(pc.and_(pc.is_null(table["reason"]), is_learned))
