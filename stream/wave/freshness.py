"""What the versions of a worker follow between two trainings: the events of its own waves.

Every event goes to `ModelSlot.recent`; once so often, in event time, one of the step threads has the
version in service, and the one in its shadow, take up what has come. That is in memory alone. When
a partition is opened its newest events are read again from the log, as many as are kept, so a
restart loses nothing but the moment at which each was taken up. Lists move with what is followed:
of an event that is stepped again after a crash, the list may be another one.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing

import pyarrow as pa
import pyarrow.compute as pc

from model.data.co_clicks import NEAR
from model.data.sessions import SessionRule, Sessions
from model.data.vocabulary import Vocabulary
from model.freshness.refresher import TableRefresher
from stream.event_log.columns import COLUMNS
from stream.event_log.kafka_reader import KafkaEvents
from stream.event_log.window import ORDER
from stream.logs import happening
from stream.settings import Settings
from stream.wave.serving_model import ModelSlot, ServingModel
from stream.wave.shadow import Shadow
from stream.wave.step import SessionEvent
from stream.wave.waves import Arrival, Wave

logger = logging.getLogger(__name__)


class FreshnessFeed:
    """Feeds the followers of a worker; called by all step threads."""

    def __init__(self, live: ModelSlot, shadow: Shadow) -> None:
        self._live = live
        self._shadow = shadow

    def begin(self, wave: Wave, serving: ServingModel) -> None:
        """Have the version know what was seen, or read again, before it steps its first wave."""
        if serving.follower is not None and wave.arrivals:
            serving.follower.refresh_first(_now_ms(wave.arrivals))

    def see(self, visits: Sequence[SessionEvent]) -> None:
        """Take in a wave's visits, whose states remember their events, and take up what is due."""
        recent = self._live.recent
        if recent is None or not visits:
            return
        recent.add(
            (v.event.event_time_ms, v.event.item_id, v.state.recent_items[-1 - NEAR : -1]) for v in visits
        )
        now_ms = _now_ms([v.arrival for v in visits])
        for follower in self._followers():
            follower.refresh(now_ms)

    def _followers(self) -> list[TableRefresher]:
        trial = self._shadow.trial
        servings = [self._live.current, *([] if trial is None else [trial.serving])]
        return [serving.follower for serving in servings if serving.follower is not None]


def _now_ms(arrivals: Sequence[Arrival]) -> int:
    """The watermark, which one wrong stamp does not move."""
    return max(arrival.watermark.ms for arrival in arrivals)


def reload_recent_events(
    settings: Settings, live: ModelSlot, rule: SessionRule, number: int, begin: int, end: int
) -> None:
    """Read the newest events of a partition in [begin, end) again, as far as they can matter.

    Raises NextclickError when the log cannot be read.
    """
    follower = live.current.follower
    if live.recent is None or follower is None or not end:
        return
    with closing(KafkaEvents(settings)) as source:
        low, high = source.bounds()[number]
        most = max(1, settings.follow_events // settings.partitions)
        ranges = {number: (max(low, begin, end - most), min(high, end))}
        if ranges[number][0] >= ranges[number][1]:
            return
        first = source.first_at(max(0, follower.needed_from_ms), ranges)[number]
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
    return table.filter(pc.is_null(table["reason"]))
