"""One replay: parts of a log → pace → Kafka, with a report of what happened.

When the brokers, or the group of `lag_limit`, take events more slowly than they are due, nothing is left out
and nothing is thinned: the replay falls behind, says by how much, and sends as fast as they are taken
until it has caught up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from model.errors import NextclickError
from replay.certificates.certificate import Certifier, start_certificate
from replay.sending.checkpoint import Position
from replay.sending.encoding import EncodedEvents, encode
from replay.sending.pace import Lateness, Pace
from replay.sending.pause import Controls
from replay.sending.prefetch_thread import ahead
from replay.sending.producer import EventProducer, LagLimit
from replay.sending.rejected_lines import DeadLetters
from replay.sending.resume import ResumeState, digest_of
from replay.sending.timeline import Part
from stream.kafka.topics import ensure_topics
from stream.settings import Settings

Piece = tuple[pa.RecordBatch, int, int]
# How pieces are made before they are asked for.
Making = Callable[[Generator[Piece, None, None]], AbstractContextManager[Iterator[Piece]]]
# Encoded at a time, and produced between two looks at the clock, the controls and the lag.
PIECE_ROWS = 8_192
BURST = 256
FREE_BURST = 2_048
LONGEST_POLL_S = 0.1
TELL_EVERY_S = 0.2


@dataclass
class ReplayReport:
    """What was sent. `rejects` counts rows that were left out or skipped, by reason.

    `found` events of an interrupted replay were in the topic already, behind its checkpoint;
    `others` records came into the topic that this replay did not send (only known with a checkpoint).
    """

    sent: int = 0
    sure: int = 0
    first_event_time_ms: int | None = None
    last_event_time_ms: int | None = None
    seconds: float = 0.0
    behind_s: float = 0.0
    max_behind_s: float = 0.0
    paused: bool = False
    paused_s: float = 0.0
    loop: int = 0
    pace_error_ms: dict[str, float] = field(default_factory=dict)
    resumed_behind: int | None = None
    found: int = 0
    others: int = 0
    dead_letters: int = 0
    rejects: dict[str, int] = field(default_factory=dict)
    formats: dict[str, str] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Events per wall second."""
        return self.sent / self.seconds if self.seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        """As plain values, with the rate."""
        return {**asdict(self), "events_per_s": round(self.rate, 1)}


def replay_frames(
    settings: Settings,
    frames: Iterable[pd.DataFrame],
    *,
    limit: int | None = None,
    certificate: Path | None = None,
    **options: Any,
) -> ReplayReport:
    """Send frames that are in event-time order; see Replay for the options.

    What was sent is certified at `certificate`. Raises NextclickError when a delivery is refused.
    """

    def parts() -> Iterator[Part]:
        row = 0
        for frame in frames:
            yield Part(frame, row=row)
            row += len(frame)

    ensure_topics(settings)
    with ExitStack() as stack:
        certifier = None
        if certificate is not None:
            certifier = stack.enter_context(closing(start_certificate(settings, certificate)))
        return Replay(settings, certifier=certifier, **options).run(parts(), limit=limit)


class Replay:
    """Sends the parts of a log at a pace.

    `speed` in event seconds per wall second or `rate` in events per second, neither: as fast as possible.
    `lag_limit` waits while the worker's group has more records than that before it. With a `ledger` the
    replay can go on after an interruption. A `certifier` takes every event, whether it is sent or
    found in the topic, and certifies them in the end. `making` says where the parts are read: by
    default in a thread.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        speed: float | None = None,
        rate: float | None = None,
        lag_limit: int | None = None,
        progress: Callable[[ReplayReport], None] = lambda report: None,
        controls: Controls | None = None,
        ledger: ResumeState | None = None,
        dead_letters: DeadLetters | None = None,
        certifier: Certifier | None = None,
        making: Making = ahead,
    ) -> None:
        self._settings = settings
        self._pace = Pace(speed, rate=rate, wait_s=self._wait)
        self._lag_limit = lag_limit
        self._lag: LagLimit | None = None
        self._progress = progress
        self._controls = controls or Controls()
        self._ledger = ledger
        self._dead_letters = dead_letters
        self._certifier = certifier
        self._making = making
        self._producer = EventProducer(settings, on_full=self._fall_behind)
        self._late = Lateness()
        self._due_s: float | None = None
        self._position = ledger.position if ledger is not None else Position()
        self._started_s = self._told_s = time.perf_counter()
        self.report = ReplayReport(resumed_behind=self._position.events or None)

    @property
    def position(self) -> Position:
        """How far the replay is."""
        return self._position

    def run(self, parts: Iterable[Part], *, limit: int | None = None) -> ReplayReport:
        """Send the parts; of a replay that goes on, they begin with the event before its position.

        `limit` bounds the events of the whole replay. Raises NextclickError when a delivery is
        refused, or when the log is not the checkpoint's.
        """
        self._started_s = self._told_s = time.perf_counter()
        with ExitStack() as stack:
            if self._lag_limit is not None:
                self._lag = stack.enter_context(closing(LagLimit(self._settings, self._lag_limit)))
            check = self._ledger is not None and self._position.row > 0
            # The position is that of a piece: where events come slowly it is a short one.
            rows = PIECE_ROWS if self._ledger is None or self._pace.free else BURST
            pieces = stack.enter_context(self._making(_encoded(parts, rows)))
            for batch, loop, row in self._surely(pieces):
                events = EncodedEvents.of(batch)
                left = None if limit is None else max(0, limit - self._position.events) + check
                if check and self._ledger is not None:
                    self._ledger.continues(events[:1])
                    self._send_piece(events[1:left], loop, row + 1)
                    check = False
                else:
                    self._send_piece(events[:left], loop, row)
                if limit is not None and self._position.events >= limit:
                    break
            if check and self._ledger is not None:
                self._ledger.continues(EncodedEvents([], [], []))
            self._producer.flush()
            if self._certifier is not None:
                # Before the checkpoint says that nothing is left to do.
                self._certifier.finish()
            ended = limit is None or self._position.events < limit
            self._keep(finished=ended)
        self._tell()
        return self.report

    def _surely(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        """The pieces; where reading one fails, what was sent before is made sure of first."""
        while True:
            try:
                piece = next(pieces, None)
            except NextclickError:
                self._producer.flush()
                self._keep()
                self._tell()
                raise
            if piece is None:
                return
            yield piece

    def _send_piece(self, events: EncodedEvents, loop: int, row: int) -> None:
        if not len(events):
            return
        taken, digest = len(events), digest_of(events) if self._ledger is not None else ""
        if self._certifier is not None:
            self._certifier.add_all(events.keys, events.times_ms, events.values)
        if self._ledger is not None:
            events = self._ledger.missing(events)
        if len(events):
            if self.report.first_event_time_ms is None:
                self.report.first_event_time_ms = events.times_ms[0]
            if self._pace.free:
                self._send_freely(events)
            else:
                self._send_in_time(events)
        self.report.loop = loop
        self._position = replace(
            self._position, loop=loop, row=row + taken, events=self._position.events + taken, last=digest
        )
        if self._ledger is not None and self._ledger.due(self._producer.sent):
            self._producer.flush()
            self._keep()

    def _keep(self, *, finished: bool = False) -> None:
        letters = self._position.dead_letters if self._dead_letters is None else self._dead_letters.flush()
        if self._ledger is not None:
            position = replace(self._position, dead_letters=letters, finished=finished)
            self._ledger.keep(position, self._producer.sent)

    def _send_freely(self, events: EncodedEvents) -> None:
        for start in range(0, len(events), FREE_BURST):
            self._hold()
            self._send(events[start : start + FREE_BURST])

    def _send_in_time(self, events: EncodedEvents) -> None:
        due_s = self._pace.schedule(events.times_ms)
        start = 0
        while start < len(events):
            self._pace.wait_until(due_s[start])
            self._hold()
            now_s = self._pace.elapsed_s()
            end = max(start + 1, min(int(due_s.searchsorted(now_s, "right")), start + BURST))
            self._due_s = float(due_s[end - 1])
            self._send(events[start:end])
            late_s = self._pace.elapsed_s() - due_s[start:end]
            self._late.add(late_s)
            self.report.behind_s = float(late_s[-1])
            self.report.max_behind_s = self._late.max_s
            start = end
        self._due_s = None

    def _send(self, events: EncodedEvents) -> None:
        self._producer.send_all(events)
        self.report.last_event_time_ms = events.times_ms[-1]
        if self._lag is not None:
            self._lag.hold(self._producer, len(events))
        if time.perf_counter() - self._told_s >= TELL_EVERY_S:
            self._tell()

    def _wait(self, seconds: float) -> None:
        # Quiet hours of the log: deliveries are still taken, and a refused one still stops it.
        self._producer.poll(min(seconds, LONGEST_POLL_S))
        self._hold()
        if time.perf_counter() - self._told_s >= TELL_EVERY_S:
            self._tell()

    def _fall_behind(self) -> None:
        """The brokers do not take any more at the moment."""
        if self._due_s is not None:
            self.report.behind_s = self._pace.elapsed_s() - self._due_s
            self.report.max_behind_s = max(self.report.max_behind_s, self.report.behind_s)
        if time.perf_counter() - self._told_s >= TELL_EVERY_S:
            self._tell()

    def _hold(self) -> None:
        """Stay here while the replay is paused."""
        if not self._controls.look():
            return
        since_s = time.perf_counter()
        self.report.paused = True
        while self._controls.look():
            self._producer.poll(LONGEST_POLL_S)
            self._tell()
        self.report.paused = False
        paused_s = time.perf_counter() - since_s
        self.report.paused_s += paused_s
        self._pace.put_off(paused_s)

    def _tell(self) -> None:
        self._told_s = time.perf_counter()
        report = self.report
        report.sent, report.sure = self._producer.sent, self._producer.sure
        report.seconds = self._told_s - self._started_s
        report.dead_letters = 0 if self._dead_letters is None else self._dead_letters.count
        if self._late.count:
            shares = {"p50": 0.5, "p99": 0.99, "p999": 0.999}
            found = {name: round(1000 * self._late.quantile_s(share), 3) for name, share in shares.items()}
            report.pace_error_ms = {**found, "max": round(1000 * self._late.max_s, 3)}
        if self._ledger is not None:
            report.found, report.others = self._ledger.found, self._ledger.others
        self._progress(report)


def _encoded(parts: Iterable[Part], rows: int) -> Generator[Piece, None, None]:
    """The parts in encoded pieces of `rows` events, each with its loop and its first row."""
    for part in parts:
        for start in range(0, len(part.frame), rows):
            yield encode(part.frame.iloc[start : start + rows]), part.loop, part.row + start
