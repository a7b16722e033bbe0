"""Sessions: the rule that cuts them, and the arrays that training and evaluation read.

The same rule holds for a log in a file and for the stream: silence longer than the gap, or a
session_end event, ends a session. A late event never does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from model.data.features import Arrays
from model.data.session_rule import SessionRule
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError

# Newest items of a session that lists leave out and baselines read; also the default of the worker's
# setting `recent_items`.
RECENT_ITEMS = 50


@dataclass(frozen=True)
class Sessions:
    """Events grouped by session in CSR form, sessions in order of their first event.

    Session s has the events `offsets[s]:offsets[s + 1]` of `items` (vocabulary indices, -1 unknown) and
    `times_ms`. `session_ids[s]` is the log's id, or its hash; an id that the rule cut stands once for
    each part. `columns` are the other fields that the network reads, encoded by the vocabulary's
    `features`. `is_target` marks the events to evaluate, None means all; the other events lead up to
    them.

    >>> log = pd.DataFrame({"session_id": ["s", "s"], "item_id": ["a", "b"], "event_time_ms": [0, 9]})
    >>> sessions = Sessions.from_frame(log, Vocabulary.from_frame(log), SessionRule(1800))
    >>> sessions.items.tolist(), sessions.pairs
    ([0, 1], 1)
    """

    offsets: npt.NDArray[np.int64]
    items: npt.NDArray[np.int64]
    times_ms: npt.NDArray[np.int64]
    session_ids: npt.NDArray[Any]
    columns: Arrays = field(default_factory=dict)
    is_target: npt.NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Number of events of each session."""
        return np.diff(self.offsets)

    @property
    def counted(self) -> npt.NDArray[np.bool_]:
        """Mask of the events to evaluate: `is_target`, or all events."""
        return np.ones(len(self.items), bool) if self.is_target is None else self.is_target

    @property
    def pairs(self) -> int:
        """Number of (event, next event) pairs."""
        return int(np.maximum(self.lengths - 1, 0).sum())

    @property
    def ranked(self) -> int:
        """Number of next events that an evaluation ranks: targets of known items after a known item."""
        known = self.known_of()[0]
        follows = np.ones(len(known.items), bool)
        follows[known.offsets[:-1]] = False
        return int((known.counted & follows).sum())

    def only_last(self) -> Sessions:
        """Mark each session's last event as its one target, of the targets that it has.

        >>> pair = Sessions(np.array([0, 3]), np.array([0, 1, 2]), np.arange(3), np.array(["s"]))
        >>> pair.only_last().counted.tolist()
        [False, False, True]
        """
        is_last = np.zeros(len(self.items), bool)
        is_last[self.offsets[1:][self.lengths > 0] - 1] = True
        return replace(self, is_target=is_last & self.counted)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, vocabulary: Vocabulary, rule: SessionRule) -> Sessions:
        """Cut a log in event-time order into sessions. Raises NextclickError when the log has no events."""
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
            # Silence counts from the session's latest event time; a late event does not move it back.
            latest = pd.Series(times_ms).groupby(codes).cummax().to_numpy()
            begins |= same & np.r_[False, times_ms[1:] - latest[:-1] > rule.gap_s * 1000]
        begins |= np.r_[False, ends[:-1]]
        part = np.cumsum(begins) - 1
        kept = ~ends
        part, times_ms, codes = part[kept], times_ms[kept], codes[kept]
        items = vocabulary.encode(frame["item_id"])[order][kept]
        starts = np.flatnonzero(np.r_[True, part[1:] != part[:-1]]) if len(part) else np.zeros(0, np.int64)
        offsets = np.r_[starts, len(part)].astype(np.int64)
        columns = {name: c[order][kept] for name, c in vocabulary.features.of_frame(frame).items()}
        sessions = cls(offsets, items, times_ms, np.asarray(ids, object)[codes[starts]], columns)
        # Order sessions by first event: the frame's rows are in event-time order.
        return sessions.select(np.argsort(order[kept][starts]))

    def select(self, chosen: npt.NDArray[np.int64]) -> Sessions:
        """Returns the sessions at the indices `chosen`, in this order."""
        return self._runs(chosen, self.lengths[chosen])

    def sample(self, targets: int) -> Sessions:
        """Returns every n-th session, thinned to about `targets` next events."""
        return self.select(np.arange(0, len(self), max(1, self.pairs // targets)))

    def heads(self, lengths: npt.NDArray[np.int64]) -> Sessions:
        """Returns the first `lengths` events of each session."""
        return self._runs(np.arange(len(self)), lengths)

    def _runs(self, chosen: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> Sessions:
        """Returns the first `lengths` events of the sessions at the indices `chosen`."""
        offsets = np.r_[0, np.cumsum(lengths)].astype(np.int64)
        rows = np.repeat(self.offsets[:-1][chosen] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return self._with(offsets, rows, self.session_ids[chosen])

    def known(self) -> Sessions:
        """Remove unknown items, then the sessions shorter than two events."""
        return self.known_of()[0]

    def known_of(self) -> tuple[Sessions, npt.NDArray[np.int64]]:
        """Returns `known`, and for each of its sessions the index here."""
        kept = self.items >= 0
        if kept.all() and (self.lengths >= 2).all():
            return self, np.arange(len(self))
        part = np.repeat(np.arange(len(self)), self.lengths)[kept]
        lengths = np.bincount(part, minlength=len(self))
        inside = self._with(np.r_[0, np.cumsum(lengths)].astype(np.int64), kept, self.session_ids)
        chosen = np.flatnonzero(lengths >= 2)
        return inside.select(chosen), chosen

    def renamed(
        self, renamed: npt.NDArray[np.int64], codes: Mapping[str, npt.NDArray[np.int64]] | None = None
    ) -> Sessions:
        """Map item indices by `renamed` and column codes by `codes`, both old to new; -1 stays."""
        items = np.append(renamed, -1).astype(self.items.dtype)[self.items]
        columns = dict(self.columns)
        for name, new in (codes or {}).items():
            columns[name] = np.append(new, -1)[columns[name]]
        return replace(self, items=items, columns=columns)

    def _with(
        self, offsets: npt.NDArray[np.int64], rows: npt.NDArray[Any] | slice, session_ids: npt.NDArray[Any]
    ) -> Sessions:
        """Returns sessions with these `offsets` over the events at `rows`."""
        columns = {name: column[rows] for name, column in self.columns.items()}
        is_target = None if self.is_target is None else self.is_target[rows]
        return Sessions(offsets, self.items[rows], self.times_ms[rows], session_ids, columns, is_target)

    def between(self, begin: int, end: int) -> Sessions:
        """Returns the sessions from `begin` to before `end`, without copying their events."""
        offsets = self.offsets[begin : end + 1]
        events = slice(offsets[0], offsets[-1])
        return self._with(offsets - offsets[0], events, self.session_ids[begin:end])

    def boosted(self, threshold_s: float) -> Sessions:
        """Repeat every item once for each full threshold of its dwell, the time until the next event.

        Dwell-time boosting (Bogina, Kuflik, RecTemp 2017). A session's last event has no known dwell.
        The copies are targets too, so boosted test data reveal the next item beforehand.
        """
        dwell_ms = np.diff(self.times_ms, append=0)
        dwell_ms[self.offsets[1:] - 1] = 0
        copies = 1 + np.maximum(dwell_ms, 0) // int(threshold_s * 1000)
        rows = np.repeat(np.arange(len(self.items)), copies)
        offsets = np.r_[0, np.cumsum(copies)][self.offsets]
        return self._with(offsets.astype(np.int64), rows, self.session_ids)
