"""A log as sessions of numbered items, and the targets that every contender ranks.

Shapes: V items, N targets, S sessions.
Tested by tests/unit/replay/cadence/test_run_cadence.py.
"""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt
import pandas as pd

from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.freshness.log_refresher import LoggedEvents


class StudyLog:
    """A log from its first event to `end_ms`, evaluated from `from_ms` on.

    Items are numbered by first appearance, so the items known at a moment are a range from 0.
    Targets follow another event of a session that begins at `from_ms` or later; a `share` of these
    sessions is evaluated, by hash of their id. Row `inputs_N[n]` of `sessions` is the event before
    target n. Raises NextclickError when the log ends before, or begins after, `from_ms`, or when there
    is no target.

    >>> columns = {"session_id": ["s", "s", "t", "t"], "item_id": ["a", "b", "b", "c"]}
    >>> frame = pd.DataFrame({**columns, "event_time_ms": [0, 1_000, 2_000, 3_000]})
    >>> log = StudyLog(frame, SessionRule(None), from_ms=2_000, share=1.0)
    >>> log.inputs_N.tolist(), log.known_at(2_000)
    ([2], 2)
    """

    def __init__(self, frame: pd.DataFrame, rule: SessionRule, from_ms: int, share: float) -> None:
        self.vocabulary = Vocabulary.from_frame(frame)
        self.sessions = sessions = Sessions.from_frame(frame, self.vocabulary, rule)
        self.from_ms = from_ms
        self.end_ms = int(sessions.times_ms.max()) + 1
        begins_ms = sessions.times_ms[sessions.offsets[:-1]]
        order = np.argsort(sessions.times_ms, kind="stable")
        items, times_ms = sessions.items[order].astype(np.int64), sessions.times_ms[order]
        self.events = LoggedEvents.of(sessions)
        first_ms_V = np.full(len(self.vocabulary), self.end_ms)
        np.minimum.at(first_ms_V, items, times_ms)
        self._first_ms_V = first_ms_V
        is_evaluated_S = (begins_ms >= from_ms) & (_hash(sessions.session_ids) < share)
        is_input = np.repeat(is_evaluated_S, sessions.lengths)
        is_input[sessions.offsets[1:] - 1] = False
        self.inputs_N = np.flatnonzero(is_input)
        self.session_N = np.searchsorted(sessions.offsets, self.inputs_N, side="right") - 1
        self.times_ms_N = sessions.times_ms[self.inputs_N]
        if not len(self.inputs_N) or not self.window(0, from_ms).pairs:
            first_text, from_text, last_text = (
                str(pd.Timestamp(ms, unit="ms", tz="UTC"))
                for ms in (int(times_ms[0]), from_ms, self.end_ms - 1)
            )
            raise NextclickError(
                f"of the log from {first_text} to {last_text} there is nothing to "
                f"{'evaluate' if not len(self.inputs_N) else 'learn from before'} from {from_text} on",
                "A first version needs sessions of two events before that time, and every list one after it.",
                "Name another --from, a larger --share, or a longer log.",
            )

    def known_at(self, now_ms: int) -> int:
        """How many items appeared before `now_ms`."""
        return int(np.searchsorted(self._first_ms_V, now_ms))

    def window(self, begin_ms: int, end_ms: int) -> Sessions:
        """The events in [begin_ms, end_ms), as sessions in the order of their first event."""
        sessions = self.sessions
        kept = (sessions.times_ms >= begin_ms) & (sessions.times_ms < end_ms)
        session_of_kept = np.repeat(np.arange(len(sessions)), sessions.lengths)[kept]
        lengths = np.bincount(session_of_kept, minlength=len(sessions))
        chosen = np.flatnonzero(lengths)
        offsets = np.r_[0, np.cumsum(lengths[chosen])].astype(np.int64)
        inside = Sessions(
            offsets, sessions.items[kept], sessions.times_ms[kept], sessions.session_ids[chosen]
        )
        return inside.select(np.argsort(inside.times_ms[offsets[:-1]], kind="stable"))


def _hash(ids: npt.NDArray[np.object_]) -> npt.NDArray[np.float64]:
    """Ids as numbers in [0, 1)."""
    return np.array([zlib.crc32(str(i).encode()) / 2**32 for i in ids])
