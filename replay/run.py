"""One replay: files → order → pace → Kafka, with a report of what happened."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from replay import datasets
from replay.clock import Pace
from replay.order import DEFAULT_MEMORY_BYTES, in_event_time_order
from replay.producer import EventProducer, LagLimit, events_of
from stream.settings import Settings
from stream.topics import ensure_topics

REPORT_EVERY = 1024
LONGEST_POLL_S = 0.5


@dataclass
class ReplayReport:
    """What was sent. `rejects` counts rows that were left out or skipped, by reason."""

    sent: int = 0
    sure: int = 0
    first_event_time_ms: int | None = None
    last_event_time_ms: int | None = None
    seconds: float = 0.0
    rejects: dict[str, int] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Events per wall second."""
        return self.sent / self.seconds if self.seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        """As plain values, with the rate."""
        return {**asdict(self), "events_per_s": round(self.rate, 1)}


def between(
    frames: Iterable[pd.DataFrame], from_ms: int | None, until_ms: int | None
) -> Iterator[pd.DataFrame]:
    """The rows with from_ms <= event time < until_ms; None is open."""
    for frame in frames:
        times = frame["event_time_ms"]
        kept = pd.Series(True, index=frame.index)
        if from_ms is not None:
            kept &= times >= from_ms
        if until_ms is not None:
            kept &= times < until_ms
        yield frame if kept.all() else frame[kept]


def replay_files(
    settings: Settings,
    paths: Sequence[Path],
    *,
    format: str | None = None,
    on_error: str = "stop",
    wanted: datasets.EventFilter | None = None,
    from_ms: int | None = None,
    until_ms: int | None = None,
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
    **options: Any,
) -> ReplayReport:
    """Replay event files, gathering at most `memory_bytes`; see `replay_frames` for the other options."""
    rejects: Counter[str] = Counter()
    files = datasets.EventFiles(paths, format=format, on_error=on_error, wanted=wanted)

    def read() -> Iterator[pd.DataFrame]:
        rejects.clear()
        return between(files.read(rejects), from_ms, until_ms)

    report = replay_frames(settings, in_event_time_order(read, memory_bytes=memory_bytes), **options)
    report.rejects = dict(rejects)
    return report


def replay_frames(
    settings: Settings,
    frames: Iterable[pd.DataFrame],
    *,
    speed: float | None = None,
    limit: int | None = None,
    lag_limit: int | None = None,
    progress: Callable[[ReplayReport], None] = lambda report: None,
) -> ReplayReport:
    """Send frames that are in event-time order, at `speed` (None: as fast as possible).

    `limit` bounds the number of events; `lag_limit` waits while the worker's group has more
    records than that before it. Raises NextclickError when a delivery is refused.
    """
    ensure_topics(settings)
    report = ReplayReport()
    started = time.perf_counter()
    producer = EventProducer(settings)

    def tell() -> None:
        report.sent, report.sure = producer.sent, producer.sure
        report.seconds = time.perf_counter() - started
        progress(report)

    def wait(seconds: float) -> None:
        # Quiet hours of the log: deliveries are still taken, and a refused one still stops it.
        producer.poll(min(seconds, LONGEST_POLL_S))
        tell()

    pace = Pace(speed, wait_s=wait)
    with ExitStack() as stack:
        lag = None
        if lag_limit is not None:
            lag = stack.enter_context(closing(LagLimit(settings, lag_limit)))
        for event in islice((event for frame in frames for event in events_of(frame)), limit):
            pace.wait_for(event.event_time_ms)
            producer.send(event)
            if lag is not None:
                lag.hold(producer)
            if report.first_event_time_ms is None:
                report.first_event_time_ms = event.event_time_ms
            report.last_event_time_ms = event.event_time_ms
            if producer.sent % REPORT_EVERY == 0:
                tell()
        producer.flush()
    tell()
    return report
