"""The replay of event files: read, put in order, moved in time, and resumed where a checkpoint says.

Files are read and encoded in a process beside the one that sends, a topic in a thread.

Tested by tests/unit/replay/sending/test_timeline.py.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from model.errors import NextclickError
from replay.certificates.certificate import Certifier, start_certificate
from replay.datasets.event_files import EventFiles, EventReader
from replay.sending.checkpoint import CheckpointFile, Position, fingerprint
from replay.sending.encoding import EncodedEvents, encode
from replay.sending.event_time_order import DEFAULT_MEMORY_BYTES, in_event_time_order
from replay.sending.prefetch_process import ReaderProcess
from replay.sending.prefetch_thread import prefetch_in_thread
from replay.sending.rejected_lines import RejectedLines
from replay.sending.replay import PIECE_ROWS, UNPACED, Replay, SendOptions, replay_frames
from replay.sending.replay_report import ReplayReport
from replay.sending.resume import ResumeState
from replay.sending.timeline import BETWEEN_LOOPS_MS, WHOLE_LOG, ReplayRange, Timeline, between, span_of
from replay.synthetic.shopper_stream import synthetic_stream
from stream.kafka.topics import ensure_topics
from stream.settings import Settings


@dataclass(frozen=True)
class ReplayStorage:
    """What a replay keeps on this machine.

    memory_bytes  bounds what sorting the log takes in memory
    folder        where sorting writes what does not fit; the system's temporary folder by default
    checkpoint    the file by which an interrupted replay is resumed
    certificate   where to write what was sent, by all runs of a resumed replay
    """

    memory_bytes: int = DEFAULT_MEMORY_BYTES
    folder: Path | None = None
    checkpoint: Path | None = None
    certificate: Path | None = None


NO_FILES = ReplayStorage()


def replay_files(
    settings: Settings,
    files: EventFiles,
    options: SendOptions = UNPACED,
    *,
    part: ReplayRange = WHOLE_LOG,
    storage: ReplayStorage = NO_FILES,
    opened: Callable[[dict[str, str]], None] = lambda formats: None,
) -> ReplayReport:
    """Replay event files, or a topic; `opened` is called with the format of each file.

    The single path `synthetic:events=…,rate=…` stands for made-up shoppers. Raises NextclickError when
    something cannot be read, sorted or sent.
    """
    stream = synthetic_stream(files.paths)
    if stream is not None:
        if any((storage.checkpoint, part.loop, part.shift_now, files.wanted, files.format, files.columns)):
            raise NextclickError(
                "made-up shoppers have no --checkpoint, --loop, --shift, --kind, --category or --format",
                "They are no files, and come without end.",
                "Replay them without, or write them to a file: nextclick synthetic --output.",
            )
        # In order of arrival, so that late events come late.
        frames = between(stream.frames(), part.from_ms, part.until_ms)
        return replay_frames(settings, frames, options, limit=part.limit, certificate=storage.certificate)
    reader = files.open()
    opened(reader.formats)
    reader.begin_with_the_earliest()
    with ExitStack() as stack:
        resume = None
        if storage.checkpoint is not None:
            checkpoint = stack.enter_context(CheckpointFile(storage.checkpoint))
            resume = ResumeState(settings, checkpoint, _identity(files, reader, part))
            certified = storage.certificate is None or storage.certificate.exists()
            if resume.position.finished and certified:
                return ReplayReport(resumed_after=resume.position.events, formats=reader.formats)
        ensure_topics(settings)
        process = ReaderProcess()
        log = _OrderedLog(reader, part, storage, process)
        rejected_lines = None
        if files.on_error.startswith("dlq"):
            sent = 0 if resume is None else resume.position.dead_letters
            rejected_lines = RejectedLines(settings, sent_before=sent)
            log.reject_lines_to(rejected_lines)
        timeline = log.timeline(resume)
        if resume is not None:
            position = replace(resume.position, shift_ms=timeline.shift_ms, period_ms=timeline.period_ms)
            resume.begin(position)
        certifier = None
        if storage.certificate is not None:
            certifier = stack.enter_context(closing(start_certificate(settings, storage.certificate)))
            if resume is not None and resume.resumed:
                certify_sent_part(certifier, timeline, resume.position)
        replay = Replay(
            settings,
            options,
            resume=resume,
            rejected_lines=rejected_lines,
            certifier=certifier,
            # A registry's client, and its threads, would not survive in a forked process.
            prefetch=process.prefetch if files.topic is None else prefetch_in_thread,
        )
        replay.report.formats = reader.formats
        begin = replay.position
        report = replay.run(timeline.parts(begin.loop, max(0, begin.row - 1)), limit=part.limit)
    if not (report.sent or report.found or report.resumed_after):
        raise reader.no_events(log.rejects)
    report.rejects, report.read = dict(log.rejects), dict(reader.accounts)
    return report


class _OrderedLog:
    """The log of a replay, read in the reader's process; `rejects` are the counts of the last reading."""

    def __init__(
        self, reader: EventReader, part: ReplayRange, storage: ReplayStorage, process: ReaderProcess
    ) -> None:
        self._reader = reader
        self._part = part
        self._storage = storage
        self._process = process
        self._restart_lines: Callable[..., None] = lambda: None
        self._keep_counts = process.in_parent(self._set_rejects)
        reader.keep_account = process.in_parent(reader.accounts.__setitem__)
        self.rejects: Counter[str] = Counter()

    def reject_lines_to(self, lines: RejectedLines) -> None:
        """Send each line that cannot be read to the dead-letter topic, however often the log is read."""
        self._reader.reject_line = self._process.in_parent(lines.send)
        self._restart_lines = self._process.in_parent(lines.restart)

    def timeline(self, resume: ResumeState | None) -> Timeline:
        """The ordered log on its timeline: that of the checkpoint, or a new one."""
        if resume is not None and resume.resumed:
            return Timeline(self._ordered, resume.position.shift_ms, resume.position.period_ms)
        loop, shift_now = self._part.loop, self._part.shift_now
        span = span_of(self._read()) if loop or shift_now else None
        if span is None:
            return Timeline(self._ordered)
        first, last = span
        return Timeline(
            self._ordered,
            shift_ms=int(time.time() * 1000) - last if shift_now else 0,
            period_ms=last - first + BETWEEN_LOOPS_MS if loop else None,
        )

    def _ordered(self) -> Iterator[pd.DataFrame]:
        return in_event_time_order(
            self._read,
            memory_bytes=self._storage.memory_bytes,
            folder=self._storage.folder,
            known_in_order=self._reader.times_ascend,
        )

    def _read(self) -> Iterator[pd.DataFrame]:
        self.rejects.clear()
        self._restart_lines()
        frames = between(self._reader.read(self.rejects), self._part.from_ms, self._part.until_ms)
        yield from _counted(frames, self.rejects, self._keep_counts)

    def _set_rejects(self, counts: Mapping[str, int]) -> None:
        self.rejects.clear()
        self.rejects.update(counts)


def certify_sent_part(certifier: Certifier, timeline: Timeline, position: Position) -> None:
    """Give a certifier the events before a position, and say where they end in the topic."""
    for part in timeline.parts():
        if (part.loop, part.row) >= (position.loop, position.row):
            break
        rows = position.row - part.row if part.loop == position.loop else len(part.frame)
        for start in range(0, min(rows, len(part.frame)), PIECE_ROWS):
            events = EncodedEvents.of(encode(part.frame.iloc[start : min(start + PIECE_ROWS, rows)]))
            certifier.add_all(events.keys, events.times_ms, events.values)
    certifier.continue_at(position.offsets)


def _identity(files: EventFiles, reader: EventReader, part: ReplayRange) -> dict[str, Any]:
    """What a resumed replay must have in common with the interrupted one, by the names in errors."""
    return {
        "files": sorted(fingerprint(files.paths), key=lambda mark: str(mark["name"])),
        "formats": sorted([Path(path).name, name] for path, name in reader.formats.items()),
        "columns": files.columns if isinstance(files.columns, str | None) else files.columns.as_dict(),
        "filter": files.wanted.as_dict(),
        "from_ms": part.from_ms,
        "until_ms": part.until_ms,
        "loop": part.loop,
        "shift_now": part.shift_now,
    }


def _counted(
    frames: Iterable[pd.DataFrame], rejects: Mapping[str, int], keep: Callable[[Mapping[str, int]], None]
) -> Iterator[pd.DataFrame]:
    """The frames; before each one, `keep` is called with the counts of this reading if they changed."""
    kept: Mapping[str, int] | None = None
    for frame in frames:
        if rejects != kept:
            kept = dict(rejects)
            keep(kept)
        yield frame
    keep(dict(rejects))
