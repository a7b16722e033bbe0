"""Sessions on disk: a log larger than memory becomes arrays that training reads by memory map.

Events come in event-time order, chunk by chunk; the file takes them as (session, item, time) rows of
20 bytes. One sort by session then makes the arrays of `Sessions`. Memory holds only the sort keys
(16 bytes an event) and the vocabulary as a whole. Session ids are 64-bit hashes here: among ten million
sessions two collide with a chance of 3 in a million.

Shapes: N events, S sessions.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary, titles_of, too_few
from model.errors import NextclickError
from model.memory import release_freed_memory

BLOCK = 1 << 20
TITLES_KEPT = 1_000_000


class SessionFile:
    """A folder of one process: it is filled once, then mapped, and removed afterwards.

    >>> from tempfile import mkdtemp
    >>> log = pd.DataFrame({"session_id": ["s", "s"], "item_id": ["a", "b"], "event_time_ms": [0, 9]})
    >>> file = SessionFile(Path(mkdtemp()))
    >>> sessions, vocabulary = file.write([log], SessionRule(1800))
    >>> sessions.items.tolist(), vocabulary.item_ids.tolist()
    ([0, 1], ['a', 'b'])
    >>> file.remove()
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, chunks: Iterable[pd.DataFrame], rule: SessionRule) -> tuple[Sessions, Vocabulary]:
        """Group a log in event-time order. Raises NextclickError when the log has fewer than two items.

        Raises ValueError when the chunks are out of order.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        counts, titles, ids = self._append(chunks)
        release_freed_memory()
        vocabulary = Vocabulary(ids, counts, titles)
        if len(vocabulary) < 2:
            raise too_few(len(vocabulary))
        return self._group(rule), vocabulary

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder)

    def _append(
        self, chunks: Iterable[pd.DataFrame]
    ) -> tuple[npt.NDArray[np.int64], dict[str, str], list[str]]:
        """Write the rows in their order. Returns each item's count, the titles, and the item ids."""
        index: dict[str, int] = {}
        titles: dict[str, str] = {}
        counts = np.zeros(0, np.int64)
        last_ms: int | None = None
        with (
            (self.folder / "session").open("wb") as session_file,
            (self.folder / "item").open("wb") as item_file,
            (self.folder / "time_ms").open("wb") as time_file,
        ):
            for chunk in chunks:
                times_ms = chunk["event_time_ms"].to_numpy(np.int64)
                if not len(times_ms):
                    continue
                if (last_ms is not None and times_ms[0] < last_ms) or (np.diff(times_ms) < 0).any():
                    raise ValueError("the chunks are not in event-time order")
                last_ms = int(times_ms[-1])
                ends = (chunk["kind"] == "session_end").to_numpy(bool) if "kind" in chunk else None
                # session_end has no item: -1, removed when sessions are grouped.
                items = np.full(len(times_ms), -1, np.int32)
                clicks = slice(None) if ends is None else ~ends
                codes, names = pd.factorize(chunk["item_id"][clicks])
                known = np.array([index.setdefault(str(name), len(index)) for name in names], np.int32)
                items[clicks] = known[codes]
                if len(counts) < len(index):
                    counts = np.r_[counts, np.zeros(len(index) - len(counts), np.int64)]
                counts += np.bincount(items[items >= 0], minlength=len(counts))
                if len(titles) < TITLES_KEPT:
                    titles.update(titles_of(chunk))
                pd.util.hash_array(np.asarray(chunk["session_id"], object)).tofile(session_file)
                items.tofile(item_file)
                times_ms.tofile(time_file)
        if last_ms is None:
            raise NextclickError(
                "the log has no events",
                "There is nothing to learn from or to evaluate.",
                "Name another file or range.",
            )
        return counts, titles, list(index)

    def _map(self, name: str, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        # Mode "c": torch asks for a writable array, though the code never writes to it.
        return np.memmap(self.folder / name, dtype=dtype, mode="c")

    def _group(self, rule: SessionRule) -> Sessions:
        """Sort the rows by session and the sessions by their first event; cut them by the rule."""
        order = np.argsort(self._map("session", np.uint64), kind="stable").astype(np.uint32)
        items, times_ms = self._map("item", np.int32), self._map("time_ms", np.int64)
        hashes = self._map("session", np.uint64)
        begins = np.empty(len(order), bool)
        latest_ms = last_hash = None
        was_end = False
        for start in range(0, len(order), BLOCK):
            rows = order[start : start + BLOCK]
            of, at_ms, is_end = hashes[rows], times_ms[rows], items[rows] < 0
            # A session's rows are in time order, so its previous event is also its latest.
            before_of = np.r_[of[:1] if last_hash is None else last_hash, of[:-1]]
            before_ms = np.r_[at_ms[:1] if latest_ms is None else latest_ms, at_ms[:-1]]
            block = before_of != of
            if rule.gap_s is not None:
                block |= at_ms - before_ms > rule.gap_s * 1000
            block |= np.r_[was_end, is_end[:-1]]
            if not start:
                block[0] = True
            begins[start : start + len(rows)] = block
            last_hash, latest_ms, was_end = of[-1], at_ms[-1], bool(is_end[-1])
        first = np.flatnonzero(begins)
        starts = hashes[order[first]]
        # Unmap, so that the pages that were read may leave memory.
        del hashes
        # The rows' order is the event-time order.
        by_first_event = np.argsort(order[first])
        lengths = np.diff(np.r_[first, len(order)])[by_first_event]
        first = first[by_first_event]
        with (
            (self.folder / "items").open("wb") as item_file,
            (self.folder / "times_ms").open("wb") as time_file,
        ):
            per_block = max(1, BLOCK // 8)
            kept_lengths = np.empty(len(first), np.int64)
            for start in range(0, len(first), per_block):
                length = lengths[start : start + per_block]
                begin = np.cumsum(length) - length
                places = np.repeat(first[start : start + per_block] - begin, length) + np.arange(length.sum())
                rows = order[places]
                item = items[rows]
                kept = item >= 0
                item[kept].tofile(item_file)
                times_ms[rows][kept].tofile(time_file)
                kept_lengths[start : start + per_block] = np.add.reduceat(kept.astype(np.int64), begin)
        offsets = np.r_[0, np.cumsum(kept_lengths[kept_lengths > 0])]
        session_ids = starts[by_first_event][kept_lengths > 0]
        del items, times_ms
        for name in ("session", "item", "time_ms"):
            (self.folder / name).unlink()
        return Sessions(offsets, self._map("items", np.int32), self._map("times_ms", np.int64), session_ids)
