"""The log that a command learns from: its files, or its topic, and the processes that read them together.

Tested by tests/unit/replay/commands/test_read_split.py and tests/learning/test_offline_commands.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from model.data.event_filter import ALL_EVENTS, EventFilter
from model.data.session_parts import SessionPart
from model.data.session_rule import SessionRule
from model.training.replicas import Replicas
from replay.commands.options import check_on_error
from replay.console import log, moment
from replay.datasets.event_files import EventFiles, EventReader
from replay.reading.account import skipped_share
from stream.event_log.logged_events import LoggedAccount, LoggedEvents
from stream.log_mapping import LogMapping

LEAST_COLUMNS = ("session_id", "item_id", "event_time_ms", "kind")


@dataclass(frozen=True)
class LogFiles:
    """Event files, or the events topic, how to read them, and which of their events to keep.

    `replicas` are the processes that read them for one training.

    >>> LogFiles([Path("clicks.csv")], on_error="skip").on_error
    'skip'
    """

    files: Sequence[Path]
    format: str | None = None
    on_error: str = "stop"
    wanted: EventFilter = ALL_EVENTS
    columns: LogMapping | None = None
    topic: LoggedEvents | None = None
    replicas: Replicas = field(default_factory=Replicas)

    def __post_init__(self) -> None:
        """Raises typer.BadParameter unless `on_error` is stop or skip."""
        check_on_error(self.on_error)

    @cached_property
    def _reader(self) -> EventReader:
        # Opened once: to know a format it looks into each file.
        return EventFiles(
            self.files, self.format, self.columns, self.on_error, self.wanted, self.topic
        ).open()

    @property
    def session_settings(self) -> dict[str, float]:
        """The setting of the session gap that the log's mapping says, where it says one."""
        gap_s = self._reader.session_gap_s
        return {} if gap_s is None else {"session_gap_s": gap_s}

    def agree(self) -> None:
        """Let all processes read a log that is written meanwhile up to the same end.

        Raises NextclickError where they read different topics.
        """
        for logged in self._reader.logged:
            logged.hold_to(self.replicas.told_by(0, logged.bounds))

    def event_files(self) -> EventReader:
        """The files as a source of event frames."""
        return self._reader

    def load(self) -> pd.DataFrame:
        """All wanted events in event-time order; their number and what was left out go to stderr."""
        rejects: Counter[str] = Counter()
        frame = self._reader.load(rejects)
        times = frame["event_time_ms"]
        self._print_read(len(frame), times.iloc[0], times.iloc[-1], rejects)
        return frame

    def load_partitions(self, rule: SessionRule) -> list[SessionPart] | None:
        """The sessions of each partition of a topic or an archive, each read by one of the processes.

        None of files, and of a log that is to be refused: `load` says why. What is left out goes to stderr.
        """
        reader, replicas = self._reader, self.replicas
        if len(reader.logged) != 1 or len(reader.formats) != 1:
            return None
        (logged,) = reader.logged
        parts, rejects, account = [], Counter[str](), LoggedAccount()
        owners = {number: place % replicas.count for place, number in enumerate(sorted(logged.offsets))}
        # All read at the same time, and tell each other afterwards.
        own = {
            number: _read_partition(self, logged.partition(number), rule)
            for number, owner in owners.items()
            if owner == replicas.rank
        }
        for number, owner in owners.items():
            told = replicas.told_by(owner, own.pop(number, None))
            assert told is not None
            parts.append(told[0])
            account.add(told[1])
            rejects += told[2]
        logged.account = account
        found = [part for part in parts if part.rows]
        if not found or not account.holds(skipped_share(self.on_error)[1]):
            return None
        span_ms = min(part.first_ms for part in found), max(part.last_ms for part in found)
        self._print_read(sum(part.rows for part in found), *span_ms, rejects)
        return parts

    def _print_read(self, events: int, first_ms: int, last_ms: int, rejects: Counter[str]) -> None:
        if self.replicas.rank:
            return
        log.print(
            f"{events:,} events, {moment(first_ms)} to {moment(last_ms)}"
            + "".join(f"; left out {count:,}: {reason}" for reason, count in rejects.items()),
            highlight=False,
        )
        self.print_notes()

    def print_notes(self) -> None:
        """Say what a topic or an archive that was read lacks."""
        for note in (note for logged in self._reader.logged for note in logged.notes()):
            log.print(f"note: {note}", highlight=False, markup=False)

    def learned_facts(self, newest_ms: int) -> dict[str, Any]:
        """What a manifest records of a log that is one topic or archive; nothing for files."""
        logged = self._reader.logged
        return logged[0].facts(newest_ms) if len(logged) == 1 and len(self._reader.formats) == 1 else {}


def _read_partition(
    log_files: LogFiles, partition: LoggedEvents, rule: SessionRule
) -> tuple[SessionPart, LoggedAccount, Counter[str]]:
    """The sessions of a partition, and what was left out of it."""
    files = EventFiles((), on_error=log_files.on_error, wanted=log_files.wanted, topic=partition)
    rejects = Counter[str]()
    frames = list(files.read(rejects))
    frame = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(LEAST_COLUMNS))
    return SessionPart.from_frame(frame, rule), partition.account, rejects
