"""The parts of a log that hold whole sessions, such as the partitions of a topic, and how they become one.

Each part is read, sorted and cut by itself, in whichever process, so that only one of them is in memory as
a frame. Joining needs no order of events among the parts: sessions and items come as if the whole log had
been read in event-time order, equal times by part.

Tested by tests/unit/model/data/test_session_parts.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary, too_few


@dataclass(frozen=True)
class SessionPart:
    """The sessions of a part, with items by their place in `item_ids`, which is in order of appearance.

    `rows` are the events and session ends, `first_ms` and `last_ms` their times. `titles` has each titled
    item's newest title, with its time. The ids of sessions are hashes of 64 bits.

    >>> log = pd.DataFrame({"session_id": ["s", "s"], "item_id": ["a", "b"], "event_time_ms": [9, 0]})
    >>> part = SessionPart.from_frame(log, SessionRule(1800))
    >>> part.item_ids, part.sessions.items.tolist(), part.last_ms
    (['b', 'a'], [0, 1], 9)
    """

    rows: int
    first_ms: int
    last_ms: int
    item_ids: list[str]
    counts: npt.NDArray[np.int64]
    appeared_ms: npt.NDArray[np.int64]
    titles: dict[str, tuple[int, str]]
    sessions: Sessions

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, rule: SessionRule) -> SessionPart:
        """Cut the events of a part, in any order; equal times keep their order."""
        if not frame["event_time_ms"].is_monotonic_increasing:
            frame = frame.sort_values("event_time_ms", kind="stable", ignore_index=True)
        clicks = frame[frame["kind"] != "session_end"] if "kind" in frame else frame
        codes, ids = pd.factorize(clicks["item_id"])
        item_ids = [str(item) for item in ids]
        counts = np.bincount(codes, minlength=len(ids))
        times_ms = clicks["event_time_ms"].to_numpy(np.int64)
        appeared_ms = times_ms[np.unique(codes, return_index=True)[1]]
        titles = {}
        if "title" in clicks:
            named = clicks.dropna(subset=["title"]).drop_duplicates("item_id", keep="last")
            titled = zip(named["event_time_ms"].tolist(), named["title"].astype(str), strict=True)
            titles = dict(zip(named["item_id"].astype(str), titled, strict=True))
        if frame.empty:
            sessions = _joined([])
            return cls(0, 0, 0, item_ids, counts, appeared_ms, titles, sessions)
        cut = Sessions.from_frame(frame, Vocabulary(item_ids, counts), rule)
        hashes = pd.util.hash_array(cut.session_ids) if len(cut) else np.zeros(0, np.uint64)
        sessions = Sessions(cut.offsets, cut.items, cut.times_ms, hashes)
        first_ms, last_ms = frame["event_time_ms"].iloc[[0, -1]].tolist()
        return cls(len(frame), first_ms, last_ms, item_ids, counts, appeared_ms, titles, sessions)


def join(parts: Sequence[SessionPart]) -> tuple[Sessions, Vocabulary]:
    """The sessions of all parts and their vocabulary. Raises NextclickError on fewer than two items.

    >>> log = pd.DataFrame({"session_id": ["s", "s"], "item_id": ["a", "b"], "event_time_ms": [5, 9]})
    >>> earlier = pd.DataFrame({"session_id": ["t"], "item_id": ["b"], "event_time_ms": [1]})
    >>> parts = [SessionPart.from_frame(part, SessionRule(1800)) for part in (log, earlier)]
    >>> sessions, vocabulary = join(parts)
    >>> vocabulary.item_ids.tolist(), vocabulary.counts.tolist(), sessions.items.tolist()
    (['b', 'a'], [2, 1], [0, 1, 0])
    """
    ids = np.array([*(item for part in parts for item in part.item_ids), None], object)[:-1]
    counts = np.concatenate([np.zeros(0, np.int64), *(part.counts for part in parts)])
    appeared_ms = np.concatenate([np.zeros(0, np.int64), *(part.appeared_ms for part in parts)])
    order = np.argsort(appeared_ms, kind="stable")
    codes, known = pd.factorize(ids[order])
    if len(known) < 2:
        raise too_few(len(known))
    places = np.empty(len(ids), np.int64)
    places[order] = codes
    totals = np.zeros(len(known), np.int64)
    np.add.at(totals, places, counts)
    titles: dict[str, tuple[int, str]] = {}
    for part in parts:
        for item, titled in part.titles.items():
            if item not in titles or titled[0] >= titles[item][0]:
                titles[item] = titled
    vocabulary = Vocabulary(list(known), totals, {item: title for item, (_, title) in titles.items()})
    renamed, begin = [], 0
    for part in parts:
        end = begin + len(part.item_ids)
        renamed.append(part.sessions.renamed(places[begin:end]))
        begin = end
    sessions = _joined(renamed)
    return sessions.select(np.argsort(sessions.times_ms[sessions.offsets[:-1]], kind="stable")), vocabulary


def _joined(parts: Sequence[Sessions]) -> Sessions:
    """Sessions one part after the other."""
    lengths = np.concatenate([np.zeros(0, np.int64), *(part.lengths for part in parts)])
    return Sessions(
        np.r_[0, np.cumsum(lengths)].astype(np.int64),
        np.concatenate([np.zeros(0, np.int64), *(part.items for part in parts)]),
        np.concatenate([np.zeros(0, np.int64), *(part.times_ms for part in parts)]),
        np.concatenate([np.zeros(0, np.uint64), *(part.session_ids for part in parts)]),
    )
