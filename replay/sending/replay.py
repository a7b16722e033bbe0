"""One replay: parts of a log, at a pace, into Kafka.

Nothing is left out or thinned when the brokers, or the group of `lag_limit`, take events more slowly
than they are due: the replay falls behind, reports by how much, and catches up as fast as they are taken.

Tested by tests/unit/replay/sending/test_timeline.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pyarrow as pa

from model.errors import NextclickError
from replay.certificates.certificate import Certifier, start_certificate
from replay.sending.checkpoint import Position
from replay.sending.encoding import EncodedEvents, encode
from replay.sending.pace import Pace
from replay.sending.pause import PauseKeys
from replay.sending.prefetch_thread import prefetch_in_thread
from replay.sending.producer import EventProducer, LagLimit
from replay.sending.rejected_lines import RejectedLines
from replay.sending.replay_report import ReplayReport, RunningReport
from replay.sending.resume import ResumeState, digest_of
from replay.sending.timeline import Part
from stream.kafka.topics import ensure_topics
from stream.settings import Settings

# Encoded events with the loop and the row of the log at which they begin.
Piece = tuple[pa.RecordBatch, int, int]
# Where pieces are read and encoded before the sender asks for them: in a thread or in a process.
Prefetch = Callable[[Generator[Piece, None, None]], AbstractContextManager[Iterator[Piece]]]
PIECE_ROWS = 8_192
# Events sent between two looks at the clock, the keys and the lag; more of them without a pace.
BURST = 256
UNPACED_BURST = 2_048
LONGEST_POLL_S = 0.1


@dataclass(frozen=True)
class SendOptions:
    """How a log is sent, who watches and who may pause it.

    speed       event seconds per wall second; without it and without `rate` as fast as possible
    rate        events per wall second, whatever their times
    lag_limit   wait while the worker's group has more records before it than this
    progress    called with the report from time to time
    pause_keys  pauses the replay
    """

    speed: float | None = None
    rate: float | None = None
    lag_limit: int | None = None
    progress: Callable[[ReplayReport], None] = lambda report: None
    pause_keys: PauseKeys | None = None


UNPACED = SendOptions()


def replay_frames(
    settings: Settings,
    frames: Iterable[pd.DataFrame],
    options: SendOptions = UNPACED,
    *,
    limit: int | None = None,
    certificate: Path | None = None,
) -> ReplayReport:
    """Send frames that are in event-time order; write a certificate of what was sent, if one is named.

    Raises NextclickError when a delivery is refused.
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
        return Replay(settings, options, certifier=certifier).run(parts(), limit=limit)


class Replay:
    """Sends the parts of a log at a pace.

    With a `resume` state it can continue after an interruption. A `certifier` gets every event, whether
    it is sent or found in the topic. `rejected_lines` are flushed before each checkpoint. `prefetch`
    says where the parts are read: by default in a thread.
    """

    def __init__(
        self,
        settings: Settings,
        options: SendOptions = UNPACED,
        *,
        resume: ResumeState | None = None,
        rejected_lines: RejectedLines | None = None,
        certifier: Certifier | None = None,
        prefetch: Prefetch = prefetch_in_thread,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._now_s = now_s
        self._pace = Pace(options.speed, rate=options.rate, now_s=now_s, wait_s=self._wait)
        self._lag_limit = options.lag_limit
        self._lag: LagLimit | None = None
        self._pause_keys = options.pause_keys or PauseKeys()
        self._resume = resume
        self._rejected_lines = rejected_lines
        self._certifier = certifier
        self._prefetch = prefetch
        self._producer = EventProducer(settings, on_full=self._report_full_queue)
        self._running = RunningReport(options.progress, self._producer, rejected_lines, resume)
        self._due_s: float | None = None
        self._position = resume.position if resume is not None else Position()

    @property
    def position(self) -> Position:
        """How far the replay is."""
        return self._position

    @property
    def report(self) -> ReplayReport:
        """The report so far."""
        return self._running.report

    def run(self, parts: Iterable[Part], *, limit: int | None = None) -> ReplayReport:
        """Send the parts; those of a resumed replay begin with the event before its position.

        `limit` bounds the events of the whole replay. Raises NextclickError when a delivery is
        refused, or when the log is not the checkpoint's.
        """
        self._running.start()
        with ExitStack() as stack:
            if self._lag_limit is not None:
                self._lag = stack.enter_context(closing(LagLimit(self._settings, self._lag_limit)))
            check = self._resume is not None and self._position.row > 0
            # A checkpoint holds the position of a whole piece: where events come slowly it is a short one.
            rows = PIECE_ROWS if self._resume is None or self._pace.unpaced else BURST
            pieces = stack.enter_context(self._prefetch(_encoded(parts, rows)))
            for batch, loop, row in self._checkpoint_on_error(pieces):
                events = EncodedEvents.of(batch)
                left = None if limit is None else max(0, limit - self._position.events) + check
                if check and self._resume is not None:
                    self._resume.check_last_event(events[:1])
                    self._send_piece(events[1:left], loop, row + 1)
                    check = False
                else:
                    self._send_piece(events[:left], loop, row)
                if limit is not None and self._position.events >= limit:
                    break
            if check and self._resume is not None:
                self._resume.check_last_event(EncodedEvents([], [], []))
            self._producer.flush()
            if self._certifier is not None:
                # The certificate must be whole before a checkpoint says that nothing is left to do.
                self._certifier.finish()
            ended = limit is None or self._position.events < limit
            self._write_checkpoint(finished=ended)
        self._running.show()
        return self.report

    def _checkpoint_on_error(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        """The pieces; when reading one fails, everything sent before is acknowledged and checkpointed."""
        while True:
            try:
                piece = next(pieces, None)
            except NextclickError:
                self._producer.flush()
                self._write_checkpoint()
                self._running.show()
                raise
            if piece is None:
                return
            yield piece

    def _send_piece(self, events: EncodedEvents, loop: int, row: int) -> None:
        if not len(events):
            return
        count, digest = len(events), digest_of(events) if self._resume is not None else ""
        if self._certifier is not None:
            self._certifier.add_all(events.keys, events.times_ms, events.values)
        if self._resume is not None:
            events = self._resume.not_in_topic(events)
        if len(events):
            if self.report.first_event_time_ms is None:
                self.report.first_event_time_ms = events.times_ms[0]
            if self._pace.unpaced:
                self._send_unpaced(events)
            else:
                self._send_at_pace(events)
        self.report.loop = loop
        self._position = replace(
            self._position, loop=loop, row=row + count, events=self._position.events + count, last=digest
        )
        if self._resume is not None and self._resume.checkpoint_due(self._producer.sent):
            self._producer.flush()
            self._write_checkpoint()

    def _write_checkpoint(self, *, finished: bool = False) -> None:
        lines = self._position.dead_letters if self._rejected_lines is None else self._rejected_lines.flush()
        if self._resume is not None:
            position = replace(self._position, dead_letters=lines, finished=finished)
            self._resume.write_checkpoint(position, self._producer.sent)

    def _send_unpaced(self, events: EncodedEvents) -> None:
        for start in range(0, len(events), UNPACED_BURST):
            self._wait_while_paused()
            self._send(events[start : start + UNPACED_BURST])

    def _send_at_pace(self, events: EncodedEvents) -> None:
        due_s = self._pace.schedule(events.times_ms)
        start = 0
        while start < len(events):
            self._pace.wait_until(due_s[start])
            self._wait_while_paused()
            now_s = self._pace.elapsed_s()
            end = max(start + 1, min(int(due_s.searchsorted(now_s, "right")), start + BURST))
            self._due_s = float(due_s[end - 1])
            self._send(events[start:end])
            self._running.add_lateness(self._pace.elapsed_s() - due_s[start:end])
            start = end
        self._due_s = None

    def _send(self, events: EncodedEvents) -> None:
        self._producer.send_all(events)
        self.report.last_event_time_ms = events.times_ms[-1]
        if self._lag is not None:
            self._lag.wait_for_group(self._producer, len(events))
        self._running.show_if_due()

    def _wait(self, seconds: float) -> None:
        # In quiet hours of the log, too, delivery reports are read, and a refused one stops the replay.
        self._producer.poll(min(seconds, LONGEST_POLL_S))
        self._wait_while_paused()
        self._running.show_if_due()

    def _report_full_queue(self) -> None:
        """The brokers take no more events at the moment: report how late the next one is."""
        if self._due_s is not None:
            self._running.set_behind(self._pace.elapsed_s() - self._due_s)
        self._running.show_if_due()

    def _wait_while_paused(self) -> None:
        """Return once the replay is not paused, and move all due times by the length of the pause."""
        if not self._pause_keys.poll_keys():
            return
        since_s = self._now_s()
        self.report.paused = True
        while self._pause_keys.poll_keys():
            self._producer.poll(LONGEST_POLL_S)
            self._running.show()
        self.report.paused = False
        paused_s = self._now_s() - since_s
        self.report.paused_s += paused_s
        self._pace.postpone(paused_s)


def _encoded(parts: Iterable[Part], rows: int) -> Generator[Piece, None, None]:
    """The parts in encoded pieces of `rows` events, each with its loop and its first row."""
    for part in parts:
        for start in range(0, len(part.frame), rows):
            yield encode(part.frame.iloc[start : start + rows]), part.loop, part.row + start
