"""All events of the events topic, or of an archive, as they are at one moment: partition after partition.

A session is in one partition, so that whoever groups by sessions needs no order among the partitions.
Reads what a window reads, by the same sources; of memory it needs one chunk. That a session is to be
forgotten is said after its events, so the log is read for that first.

Tested by tests/unit/stream/event_log/test_logged_events.py and tests/integration/test_first_model.py.
"""

from __future__ import annotations

import copy
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from model.errors import NextclickError
from stream.event_decoder import OWN_EVENTS, EventDecoder
from stream.event_log.archive_folder import ArchiveFolder
from stream.event_log.archive_reader import ArchivedEvents
from stream.event_log.columns import EVENT
from stream.event_log.kafka_reader import KafkaEvents
from stream.event_log.window import EventSource, WindowTimes, forgotten_ends, without_forgotten
from stream.events import FORGET, LEFT_OUT_REASONS, OPTIONAL_FIELDS
from stream.settings import Settings

# A log of which more than half is no event is read by a wrong mapping, but for so few records.
FEW_RECORDS = 9


@dataclass
class LoggedAccount:
    """What became of the records of a reading: records = events + rejected + not_learned, of `offsets`."""

    offsets: int = 0
    records: int = 0
    events: int = 0
    not_learned: int = 0
    rejected: Counter[str] = field(default_factory=Counter)

    def add(self, other: LoggedAccount) -> None:
        """Take in the account of another part of the log."""
        self.offsets += other.offsets
        self.records += other.records
        self.events += other.events
        self.not_learned += other.not_learned
        self.rejected += other.rejected

    def holds(self, most_rejected: float) -> bool:
        """Whether there are events, and at most this share of the records cannot be read as such."""
        wrong = sum(count for why, count in self.rejected.items() if why not in LEFT_OUT_REASONS)
        return self.events > 0 and wrong <= max(FEW_RECORDS, most_rejected * self.records)


@dataclass(frozen=True)
class LoggedBounds:
    """Which records of which topic a reading is of, and which times it takes: for processes that share it."""

    topic_id: str
    offsets: dict[int, tuple[int, int]]
    whole: dict[int, tuple[int, int]]
    times: WindowTimes


def _only_forgetting(table: pa.Table) -> pa.Table:
    return table.filter(pc.equal(table["kind"], FORGET))


class LoggedEvents:
    """The events of a topic, or of the archive in a folder, up to the end that it has at the opening.

    `offsets` are by partition [first, end), `topic_id` is the id of the topic without which they mean
    nothing. `session_gap_s` is that of the topic's decoder, see EventDecoder. `account` is that of the last
    reading. Nothing is held open between readings. `is_part`: of one partition, see `partition`.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        archive: Path | None = None,
        decoder: EventDecoder = OWN_EVENTS,
        newest: int | None = None,
    ) -> None:
        """At most about `newest` of the newest records are read, of each partition its share.

        Raises NextclickError when the topic or the archive cannot be read.
        """
        latest_ms = int((time.time() + settings.max_future_s) * 1000)
        self.source = settings.events_topic if archive is None else str(archive)
        self.account = LoggedAccount()
        self.is_part = False
        self._settings, self._archive, self._decoder = settings, archive, decoder
        self._times = WindowTimes(None, None, latest_ms, settings.min_event_time_ms)
        with closing(self._opened(self._times.expression())) as source:
            self.offsets = self._bounds = source.bounds()
            self.topic_id = source.topic_id()
        self.session_gap_s = decoder.session_gap_s
        if archive is not None:
            self.session_gap_s = ArchiveFolder(archive).session_gap_s()
        if newest is not None:
            share = -(-newest // max(1, sum(end > first for first, end in self._bounds.values())))
            self.offsets = {
                number: (max(first, end - share), end) for number, (first, end) in self._bounds.items()
            }

    @property
    def bounds(self) -> LoggedBounds:
        """What `hold_to` takes in another process."""
        return LoggedBounds(self.topic_id, self.offsets, self._bounds, self._times)

    def hold_to(self, bounds: LoggedBounds) -> None:
        """Read what another process reads, which may have opened the log earlier or later.

        Raises NextclickError where that was another topic.
        """
        if bounds.topic_id != self.topic_id:
            raise NextclickError(
                f"{self.source} has the id {self.topic_id}, for another process {bounds.topic_id}",
                "It was made anew meanwhile, or the processes ask different brokers or folders; "
                "they would learn from different logs.",
                "Start all of them again, with the same settings.",
            )
        self.offsets, self._bounds, self._times = bounds.offsets, bounds.whole, bounds.times

    def partition(self, number: int) -> LoggedEvents:
        """The events of one partition, of which nothing is refused: that is judged of all together."""
        part = copy.copy(self)
        part.offsets = {number: self.offsets[number]}
        part.account, part.is_part = LoggedAccount(), True
        return part

    def _opened(self, inside: pc.Expression) -> EventSource:
        if self._archive is None:
            return KafkaEvents(self._settings, self._decoder)
        return ArchivedEvents(self._archive, inside)

    @cached_property
    def _forgotten(self) -> dict[int, dict[str, int]]:
        """By partition, which sessions are forgotten up to which offset: it stands after their events."""
        found: dict[int, dict[str, int]] = {}
        with closing(self._opened(pc.field("kind") == FORGET)) as source:
            for number, (first, end) in self.offsets.items():
                ends = found[number] = {}
                for table in source.read({number: (first, end)}, _only_forgetting):
                    ends.update(forgotten_ends(table))
        return found

    def read(self, rejects: Counter[str], *, most_rejected: float = 0.5) -> Iterator[pd.DataFrame]:
        """Frames of the events, partition after partition, by offset; `rejects` counts what is none.

        A frame has session_id, item_id, event_time_ms and kind, and of the other fields those that an
        event had so far. Raises NextclickError when the log cannot be read, and at its end when more than
        the share `most_rejected` of the records cannot be read as events.
        """
        account = self.account = LoggedAccount()
        present: set[str] = set()
        forgotten = self._forgotten
        with closing(self._opened(self._times.expression())) as source:
            for number, (first, end) in self.offsets.items():
                account.offsets += end - first
                for table in source.read({number: (first, end)}, self._keep):
                    kept = without_forgotten(table, forgotten[number])
                    account.not_learned += len(table) - len(kept)
                    yield self._events_of(kept, rejects, present)
        if account.not_learned:
            rejects["dismissed or forgotten"] += account.not_learned
        if not self.is_part and not account.holds(most_rejected):
            raise self._no_log()

    def _keep(self, table: pa.Table) -> pa.Table:
        kept = self._times.keep(table)
        self.account.records += len(table)
        # A window leaves out what is no event of its session's history.
        self.account.not_learned += len(table) - len(kept)
        return kept

    def _events_of(self, table: pa.Table, rejects: Counter[str], present: set[str]) -> pd.DataFrame:
        account = self.account
        is_event = pc.is_null(table["reason"])
        if not pc.all(is_event).as_py():
            counts = table["reason"].filter(pc.invert(is_event)).value_counts().to_pylist()
            found = Counter({row["values"]: row["counts"] for row in counts})
            account.rejected += found
            rejects.update(found)
            table = table.filter(is_event)
        account.events += len(table)
        present.update(name for name in OPTIONAL_FIELDS if table[name].null_count < len(table))
        return table.select(
            [name for name in EVENT if name not in OPTIONAL_FIELDS or name in present]
        ).to_pandas()

    def notes(self) -> list[str]:
        """What the log lacks, in words: what retention removed, partitions, offsets without a record."""
        found = []
        if self.offsets != self._bounds:
            there = sum(end - first for first, end in self._bounds.values())
            found.append(
                f"the newest {self.account.offsets:,} of {there:,} records of {self.source} are read"
            )
        late = {number: first for number, (first, _) in self._bounds.items() if first}
        if late:
            begins = ", ".join(f"{number} at {first:,}" for number, first in late.items())
            found.append(
                f"{self.source} does not begin at its first event (partition {begins}): what was before "
                "was removed by retention, or never archived, and is not learned from"
            )
        if absent := sorted(set(range(max(self.offsets, default=-1) + 1)) - set(self.offsets)):
            found.append(f"{self.source} has no partition {', '.join(map(str, absent))}: none of its events")
        if (holes := self.account.offsets - self.account.records) > 0:
            found.append(
                f"{holes:,} of {self.account.offsets:,} offsets of {self.source} hold no record: marks of "
                "transactions, or records that were removed"
            )
        return found

    def facts(self, newest_ms: int) -> dict[str, Any]:
        """What the manifest records of a version that learned from these events up to `newest_ms`."""
        # No time ahead of the wall clock: a retraining begins after this event.
        last_ms = min(newest_ms, int(time.time() * 1000))
        return {
            "source": self.source,
            "offsets": {str(number): [first, end] for number, (first, end) in self.offsets.items()},
            "topic_id": self.topic_id or None,
            "last_event_time_ms": last_ms,
            "newest_event_time_ms": newest_ms,
        }

    def _no_log(self) -> NextclickError:
        account, is_topic = self.account, self._archive is None
        if not account.records:
            return NextclickError(
                f"{self.source} has no records",
                "There is nothing to learn from or to look at.",
                "Send events into it (`nextclick replay FILE`), or name the topic that has them: "
                "NEXTCLICK_EVENTS_TOPIC."
                if is_topic
                else "Archive a topic that has events: nextclick archive --until-end",
            )
        reasons = ", ".join(f"{why} {count:,}" for why, count in account.rejected.most_common())
        return NextclickError(
            f"{account.events:,} of {account.records:,} records of {self.source} are events; "
            f"the others are not: {reasons}",
            "They are written in another way than they are read, so this is not the log.",
            "Allow a larger share with --on-error skip=0.9, or say what is what in them, --log or "
            "NEXTCLICK_EVENTS_MAPPING; it is guessed by `nextclick up`."
            if is_topic
            else "Archive the topic with the mapping that reads it (NEXTCLICK_EVENTS_MAPPING), "
            "or allow a larger share: --on-error skip=0.9",
        )
