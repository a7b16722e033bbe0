"""Sessions: the one rule that cuts them, and the arrays that training and evaluation read.

The rule is the same for a log in a file and for the stream: silence of more than the gap,
or a session_end event, ends a session; a late event never does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from model.errors import NextclickError
from model.vocabulary import Vocabulary


@dataclass(frozen=True)
class SessionRule:
    """When a session ends. `gap_s` None: only by session_end. Times are event times."""

    gap_s: float | None
    allowed_lateness_s: float = 0.0

    def resets(self, last_event_time_ms: int, event_time_ms: int) -> bool:
        """Whether the silence before this event ended the session."""
        return self.gap_s is not None and event_time_ms - last_event_time_ms > self.gap_s * 1000

    @property
    def silence_before_expiry_ms(self) -> int | None:
        """Silence, measured by the watermark, after which no event continues a session; None: never."""
        return None if self.gap_s is None else int((self.gap_s + self.allowed_lateness_s) * 1000)

    def ends(self, last_event_time_ms: int, event_time_ms: int, watermark_ms: int) -> bool:
        """Whether the session is over when this event comes: by its own silence or by the watermark's."""
        silence_ms = self.silence_before_expiry_ms
        if silence_ms is not None and watermark_ms - last_event_time_ms > silence_ms:
            return True
        return self.resets(last_event_time_ms, event_time_ms)


@dataclass(frozen=True)
class Sessions:
    """Events grouped by session in CSR form, sessions in order of their first event.

    Session s has the events `offsets[s]:offsets[s + 1]` of `items` (vocabulary indices, -1
    unknown) and `times_ms`; `session_ids[s]` is the log's own id (a log id that the rule
    cut stands once for each part).
    """

    offsets: npt.NDArray[np.int64]
    items: npt.NDArray[np.int64]
    times_ms: npt.NDArray[np.int64]
    session_ids: npt.NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Events per session."""
        return np.diff(self.offsets)

    @property
    def pairs(self) -> int:
        """Steps that have a next event to predict."""
        return int(np.maximum(self.lengths - 1, 0).sum())

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, vocabulary: Vocabulary, rule: SessionRule) -> Sessions:
        """Cut a log, in event-time order, into sessions. Raises NextclickError on a log without events."""
        if frame.empty:
            raise NextclickError(
                "the log has no events",
                "There is nothing to learn from or to evaluate.",
                "Name another file or range.",
            )
        codes, ids = pd.factorize(frame["session_id"])
        order = np.argsort(codes, kind="stable")
        codes = codes[order]
        times_ms = frame["event_time_ms"].to_numpy(np.int64)[order]
        ends = (
            (frame["kind"] == "session_end").to_numpy(bool)[order]
            if "kind" in frame
            else np.zeros(len(order), bool)
        )
        same = np.r_[False, codes[1:] == codes[:-1]]
        begins = ~same
        if rule.gap_s is not None:
            # Silence counts from the session's latest event so far, which a late one does not move back.
            latest = pd.Series(times_ms).groupby(codes).cummax().to_numpy()
            begins |= same & np.r_[False, times_ms[1:] - latest[:-1] > rule.gap_s * 1000]
        begins |= np.r_[False, ends[:-1]]
        part = np.cumsum(begins) - 1
        kept = ~ends
        part, times_ms, codes = part[kept], times_ms[kept], codes[kept]
        items = vocabulary.encode(frame["item_id"])[order][kept]
        starts = np.flatnonzero(np.r_[True, part[1:] != part[:-1]]) if len(part) else np.zeros(0, np.int64)
        offsets = np.r_[starts, len(part)].astype(np.int64)
        sessions = cls(offsets, items, times_ms, np.asarray(ids, object)[codes[starts]])
        return sessions._by_first_event()

    def _by_first_event(self) -> Sessions:
        return self.select(np.argsort(self.times_ms[self.offsets[:-1]], kind="stable"))

    def select(self, chosen: npt.NDArray[np.int64]) -> Sessions:
        """The sessions at the indices `chosen`, in that order."""
        lengths = self.lengths[chosen]
        offsets = np.r_[0, np.cumsum(lengths)].astype(np.int64)
        rows = np.repeat(self.offsets[:-1][chosen] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return Sessions(offsets, self.items[rows], self.times_ms[rows], self.session_ids[chosen])

    def known(self) -> Sessions:
        """Without unknown items, and without the sessions that are then shorter than two events."""
        kept = self.items >= 0
        part = np.repeat(np.arange(len(self)), self.lengths)[kept]
        lengths = np.bincount(part, minlength=len(self))
        inside = Sessions(
            np.r_[0, np.cumsum(lengths)].astype(np.int64),
            self.items[kept],
            self.times_ms[kept],
            self.session_ids,
        )
        return inside.select(np.flatnonzero(lengths >= 2))


def temporal_split(
    frame: pd.DataFrame, *, test_fraction: float | None = None, test_from_ms: int | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Earlier part, later part: each session goes whole to the side where it begins.

    `test_fraction` puts that share of events, by time, into the later part; `test_from_ms`
    cuts at a time. Raises NextclickError when a side is empty.
    """
    times_ms = frame["event_time_ms"]
    if test_from_ms is None:
        test_from_ms = int(times_ms.quantile(1 - (test_fraction or 0.1), interpolation="higher"))
    begins_ms = times_ms.groupby(frame["session_id"]).transform("min")
    earlier, later = frame[begins_ms < test_from_ms], frame[begins_ms >= test_from_ms]
    if earlier.empty or later.empty:
        raise NextclickError(
            f"a split at {pd.Timestamp(test_from_ms, unit='ms', tz='UTC')} leaves {len(earlier)} events "
            f"before and {len(later)} after",
            "Both sides need events.",
            "Name another --test-fraction or --test-from, or a longer log.",
        )
    return earlier, later
