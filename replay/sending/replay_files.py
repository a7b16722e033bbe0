"""The replay of event files: read, ordered, on a time of their own, from where a checkpoint says."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from model.errors import NextclickError
from replay.certificates.certificate import Certifier, start_certificate
from replay.datasets.event_files import EventFiles
from replay.datasets.event_filter import ALL_EVENTS, EventFilter
from replay.sending.checkpoint import CheckpointFile, Position, fingerprint
from replay.sending.encoding import EncodedEvents, encode
from replay.sending.event_time_order import DEFAULT_MEMORY_BYTES, in_event_time_order
from replay.sending.prefetch_process import ReaderProcess
from replay.sending.rejected_lines import DeadLetters
from replay.sending.replay import PIECE_ROWS, Replay, ReplayReport, replay_frames
from replay.sending.resume import ResumeState
from replay.sending.timeline import BETWEEN_LOOPS_MS, Timeline, between, span_of
from replay.synthetic.shopper_stream import made_up
from stream.kafka.topics import ensure_topics
from stream.settings import Settings


def replay_files(
    settings: Settings,
    paths: Sequence[Path],
    *,
    format: str | None = None,
    columns: str | None = None,
    on_error: str = "stop",
    wanted: EventFilter = ALL_EVENTS,
    from_ms: int | None = None,
    until_ms: int | None = None,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
    folder: Path | None = None,
    loop: bool = False,
    shift_now: bool = False,
    limit: int | None = None,
    checkpoint: Path | None = None,
    certificate: Path | None = None,
    opened: Callable[[dict[str, str]], None] = lambda formats: None,
    **options: Any,
) -> ReplayReport:
    """Replay event files; see EventFiles, Timeline and Replay for the options.

    `from_ms` and `until_ms` are times of the log; `memory_bytes` bounds what sorting takes, and
    `folder` is where it writes what does not fit. `checkpoint` names a file by which an
    interrupted replay goes on; at `certificate` it is written what was sent, in that case by all its
    runs; `opened` is told the format of each file. One path `synthetic:events=…,rate=…` stands for
    made-up shoppers. Raises NextclickError when something cannot be read, sorted or sent.
    """
    stream = made_up(paths)
    if stream is not None:
        if any((checkpoint, loop, shift_now, wanted, format, columns)):
            raise NextclickError(
                "made-up shoppers have no --checkpoint, --loop, --shift, --kind, --category or --format",
                "They are no files, and come without end.",
                "Replay them without, or write them to a file: nextclick synthetic --output.",
            )
        # In order of arrival: late events are to come late.
        frames = between(stream.frames(), from_ms, until_ms)
        return replay_frames(settings, frames, limit=limit, certificate=certificate, **options)
    files = EventFiles(paths, format=format, columns=columns, on_error=on_error, wanted=wanted).open()
    opened(files.formats)
    files.begin_with_the_earliest()
    rejects: Counter[str] = Counter()
    apart = ReaderProcess()

    def keep(counts: Mapping[str, int]) -> None:
        rejects.clear()
        rejects.update(counts)

    keep_counts = apart.here(keep)
    with ExitStack() as stack:
        ledger = None
        if checkpoint is not None:
            held = stack.enter_context(CheckpointFile(checkpoint))
            reading = {
                "files": sorted(fingerprint(paths), key=lambda mark: str(mark["name"])),
                "formats": sorted([Path(path).name, name] for path, name in files.formats.items()),
                "columns": columns,
                "filter": wanted.as_dict(),
                "from_ms": from_ms,
                "until_ms": until_ms,
                "loop": loop,
                "shift_now": shift_now,
            }
            ledger = ResumeState(settings, held, reading)
            certified = certificate is None or certificate.exists()
            if ledger.position.finished and certified:
                return ReplayReport(resumed_behind=ledger.position.events, formats=files.formats)
        ensure_topics(settings)
        letters = None
        if on_error == "dlq":
            sent = 0 if ledger is None else ledger.position.dead_letters
            letters = DeadLetters(settings, sent_before=sent)
            files.reject_line, begin_letters = apart.here(letters.send), apart.here(letters.begin)

        def read() -> Iterator[pd.DataFrame]:
            rejects.clear()
            if letters is not None:
                begin_letters()
            yield from _counted(between(files.read(rejects), from_ms, until_ms), rejects, keep_counts)

        def ordered() -> Iterator[pd.DataFrame]:
            return in_event_time_order(
                read, memory_bytes=memory_bytes, folder=folder, known_in_order=files.times_ascend
            )

        if ledger is not None and ledger.resumed:
            position = ledger.position
            timeline = Timeline(ordered, position.shift_ms, position.period_ms)
        else:
            timeline = _timeline(ordered, span_of(read()) if loop or shift_now else None, loop, shift_now)
        if ledger is not None:
            position = replace(ledger.position, shift_ms=timeline.shift_ms, period_ms=timeline.period_ms)
            ledger.begin(position)
        certifier = None
        if certificate is not None:
            certifier = stack.enter_context(closing(start_certificate(settings, certificate)))
            if ledger is not None and ledger.resumed:
                pass_over(certifier, timeline, ledger.position)
        replay = Replay(
            settings,
            ledger=ledger,
            dead_letters=letters,
            certifier=certifier,
            making=apart.made,
            **options,
        )
        replay.report.formats = files.formats
        begin = replay.position
        report = replay.run(timeline.parts(begin.loop, max(0, begin.row - 1)), limit=limit)
    report.rejects = dict(rejects)
    return report


def pass_over(certifier: Certifier, timeline: Timeline, position: Position) -> None:
    """Give a certifier what lies before a position, and tell it where that ends in the topic."""
    for part in timeline.parts():
        if (part.loop, part.row) >= (position.loop, position.row):
            break
        rows = position.row - part.row if part.loop == position.loop else len(part.frame)
        for start in range(0, min(rows, len(part.frame)), PIECE_ROWS):
            events = EncodedEvents.of(encode(part.frame.iloc[start : min(start + PIECE_ROWS, rows)]))
            certifier.add_all(events.keys, events.times_ms, events.values)
    certifier.continue_at(position.offsets)


def _counted(
    frames: Iterable[pd.DataFrame], rejects: Mapping[str, int], keep: Callable[[Mapping[str, int]], None]
) -> Iterator[pd.DataFrame]:
    """The frames; before each one `keep` is given the counts of its reading, where they have changed."""
    kept: Mapping[str, int] | None = None
    for frame in frames:
        if rejects != kept:
            kept = dict(rejects)
            keep(kept)
        yield frame
    keep(dict(rejects))


def _timeline(read: Any, span: tuple[int, int] | None, loop: bool, shift_now: bool) -> Timeline:
    if span is None:
        return Timeline(read)
    first, last = span
    return Timeline(
        read,
        shift_ms=int(time.time() * 1000) - last if shift_now else 0,
        period_ms=last - first + BETWEEN_LOOPS_MS if loop else None,
    )
