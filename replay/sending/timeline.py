"""A log in time: the wanted part of it, moved to another time, or repeated.

Every part carries its loop and row, so that a replay can resume at any row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pandas as pd

from model.errors import NextclickError
from replay.reading.format import LONGEST
from stream.events import MAX_EVENT_TIME_MS

TIME = "event_time_ms"
# From the last event of a loop to the first of the next one.
BETWEEN_LOOPS_MS = 1000


@dataclass(frozen=True)
class ReplayRange:
    """Which part of a log is replayed, and at which times.

    from_ms, until_ms   event times of the log, from <= time < until; None is open
    shift_now           move the events so that the log ends now
    loop                repeat the log, later and with new sessions
    limit               at most this many events
    """

    from_ms: int | None = None
    until_ms: int | None = None
    shift_now: bool = False
    loop: bool = False
    limit: int | None = None


WHOLE_LOG = ReplayRange()


def between(
    frames: Iterable[pd.DataFrame], from_ms: int | None, until_ms: int | None
) -> Iterator[pd.DataFrame]:
    """The rows with from_ms <= event time < until_ms; None is open."""
    for frame in frames:
        times = frame[TIME]
        kept = pd.Series(True, index=frame.index)
        if from_ms is not None:
            kept &= times >= from_ms
        if until_ms is not None:
            kept &= times < until_ms
        yield frame if kept.all() else frame[kept]


def span_of(frames: Iterable[pd.DataFrame]) -> tuple[int, int] | None:
    """The first and the last event time of frames in any order; None without events.

    >>> span_of([pd.DataFrame({TIME: [3, 1]}), pd.DataFrame({TIME: [2]})])
    (1, 3)
    """
    spans = [(int(frame[TIME].min()), int(frame[TIME].max())) for frame in frames if len(frame)]
    return (min(first for first, _ in spans), max(last for _, last in spans)) if spans else None


@dataclass(frozen=True)
class Part:
    """Ordered rows of a log, from the `row`-th of its `loop`-th repetition on, both counted from 0."""

    frame: pd.DataFrame
    loop: int = 0
    row: int = 0


@dataclass(frozen=True)
class Timeline:
    """An ordered log moved by `shift_ms`, and repeated every `period_ms` if that is set.

    In a later loop every session is a new one: ~1, ~2, … follow its id.
    """

    read: Callable[[], Iterable[pd.DataFrame]]
    shift_ms: int = 0
    period_ms: int | None = None

    def parts(self, loop: int = 0, row: int = 0) -> Iterator[Part]:
        """The log from a row of a loop on; `row` is the number of rows when it ended there.

        Raises NextclickError when an event would leave the range of event times, or when a
        session's id has no room for the number of the loop.
        """
        while True:
            at = 0
            for frame in self.read():
                if at + len(frame) > row:
                    begin = max(0, row - at)
                    yield Part(self._shifted(frame.iloc[begin:], loop), loop, at + begin)
                at += len(frame)
            if self.period_ms is None or not at:
                return
            loop, row = loop + 1, 0

    def _shifted(self, frame: pd.DataFrame, loop: int) -> pd.DataFrame:
        by_ms = self.shift_ms + loop * (self.period_ms or 0)
        if not by_ms and not loop:
            return frame
        times = frame[TIME] + by_ms
        if len(times) and not 0 <= times.iloc[0] <= times.iloc[-1] <= MAX_EVENT_TIME_MS:
            raise NextclickError(
                f"moved by {by_ms:,} ms, the events lie outside 1970 to 2100",
                "No reader of the topic would take them.",
                "Replay without --shift, or end the loop sooner with --limit.",
            )
        moved = frame.assign(**{TIME: times})
        if loop:
            sessions = frame["session_id"] + f"~{loop}"
            if (sessions.str.len() > LONGEST["session_id"]).any():
                raise NextclickError(
                    f"a session id has no room for the number of its loop, ~{loop}",
                    f"Ids have {LONGEST['session_id']} characters at most.",
                    "Replay this log without --loop.",
                )
            moved = moved.assign(session_id=sessions)
        return moved
