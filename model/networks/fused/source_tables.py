"""What the sources of a fused list learn by counting, beside the network.

Everything is bounded: the newest `KEPT_EVENTS`, `PAIRS` pairs of an item, `KEPT_SESSIONS` past sessions.
Shapes: V items, S past sessions, P kept pairs.
Tested by tests/unit/model/networks/fused/test_candidates.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from model.data.sessions import Sessions
from model.networks.fused.neighbours import SESSION_ITEMS
from model.networks.fused.source_arrays import SourceArrays

KEPT_EVENTS = 3_000_000
PAIRS = 50
NEAR_DISTANCE = 5  # events between two items that are near each other
POPULAR = 50
FRESH_PART = 0.05  # newest part of the events that counts as fresh
KEPT_SESSIONS = 1_000_000
PRIOR_REPEATS = 5.0  # sessions of the average item that each item's share of repeats begins with

Longs = npt.NDArray[np.int64]
# The arrays of pairs that each array of begins lies over.
OVER = {
    "next_begins_V1": ("next_items_P", "next_counts_P"),
    "near_begins_V1": ("near_items_P", "near_weights_P"),
    "session_begins_S1": ("session_items_P",),
    "item_begins_V1": ("item_sessions_P",),
}
# An array of each counting source that is empty until it has counted something.
COUNTED = {"next items": "next_items_P", "near items": "near_items_P", "neighbours": "session_items_P"}
TYPES = {"begins": torch.int64, "items": torch.int32, "sessions": torch.int32}


class SourceTables(nn.Module):
    """The arrays of `SourceArrays` as buffers: transitions, near items, past sessions, popularity, repeats.

    >>> SourceTables(3).arrays().popularity_V.shape
    (3,)
    """

    def __init__(self, items: int) -> None:
        super().__init__()
        self.items = items
        for name in SourceArrays._fields:
            dtype = TYPES.get(name.split("_")[1], torch.float32)
            if name == "popular_N":
                dtype = torch.int32
            rows = {"V1": items + 1, "S1": 1, "V": items}.get(name.rpartition("_")[2], 0)
            self.register_buffer(name, torch.zeros(rows, dtype=dtype))

    def _apply(self, fn: Any, recurse: bool = True) -> SourceTables:
        """Stay on the CPU, whatever the device: the compiled pass reads the arrays."""
        return self

    def arrays(self) -> SourceArrays:
        """The buffers as numpy arrays that share their memory."""
        return SourceArrays(*(self.get_buffer(name).numpy() for name in SourceArrays._fields))

    def have_data(self) -> dict[str, bool]:
        """Of each counting source, whether it has counted anything."""
        return {source: len(self.get_buffer(name)) > 0 for source, name in COUNTED.items()}

    def take(self, arrays: Mapping[str, Tensor]) -> None:
        """Use saved arrays. Raises RuntimeError when they do not fit each other: the pass checks no index."""
        mine = dict(self.named_buffers())
        if arrays.keys() != mine.keys():
            raise RuntimeError(f"arrays {sorted(arrays)} instead of {sorted(mine)}")
        for name, array in arrays.items():
            if array.dtype != mine[name].dtype or array.ndim != 1:
                raise RuntimeError(f"{name} is {array.dtype} of {array.ndim} dimensions")
        for name in arrays:
            kind, _, rows = name.rpartition("_")
            if rows == "V" and len(arrays[name]) != self.items:
                raise RuntimeError(f"{name} has {len(arrays[name])} rows instead of {self.items}")
            if rows in ("P", "N") and not _inside(arrays[name], kind, self.items, arrays):
                raise RuntimeError(f"{name} names what is not there")
            if rows in ("V1", "S1") and not _begins(arrays, name, self.items):
                raise RuntimeError(f"{name} does not lie over its pairs")
        for name, array in arrays.items():
            self.register_buffer(name, array)

    def fit(self, sessions: Sessions) -> None:
        """Count sessions of known items; sessions of one event count, too. Older ones are left out."""
        first = int(np.searchsorted(sessions.offsets, sessions.offsets[-1] - KEPT_EVENTS))
        sessions = sessions.between(first, len(sessions))
        counts_V = np.bincount(sessions.items, minlength=self.items)
        newest = np.argsort(sessions.times_ms, kind="stable")[
            -max(1, int(FRESH_PART * len(sessions.items))) :
        ]
        fresh_V = np.bincount(sessions.items[newest], minlength=self.items)
        share_V = (counts_V + 0.5) / (counts_V.sum() + 0.5 * self.items)
        fresh_share_V = (fresh_V + 0.5) / (fresh_V.sum() + 0.5 * self.items)
        # Popular now, then popular ever.
        by_freshness = np.lexsort((-counts_V, -fresh_V))[:POPULAR]
        found: dict[str, npt.NDArray[Any]] = {
            "popular_N": by_freshness,
            "popularity_V": np.log(share_V * self.items),
            "freshness_V": np.log(fresh_share_V / share_V),
            "repeats_V": self._repeats(sessions),
            **self._followers(sessions),
            **self._near(sessions),
            **self._past_sessions(sessions),
        }
        for name, array in found.items():
            self.register_buffer(name, torch.from_numpy(array).to(self.get_buffer(name).dtype))

    def _followers(self, sessions: Sessions) -> dict[str, npt.NDArray[Any]]:
        """What came next after each item, and how often; an item does not follow itself."""
        inputs = np.delete(np.arange(len(sessions.items)), sessions.offsets[1:] - 1)
        before, after = sessions.items[inputs].astype(np.int64), sessions.items[inputs + 1]
        other = before != after
        pairs, counts = np.unique(before[other] * self.items + after[other], return_counts=True)
        begins, items, weights = self._strongest(pairs, counts)
        totals_V = np.bincount(pairs // self.items, counts, self.items)
        return {
            "next_begins_V1": begins, "next_items_P": items, "next_counts_P": weights,
            "next_totals_V": totals_V,
        }  # fmt: skip

    def _near(self, sessions: Sessions) -> dict[str, npt.NDArray[Any]]:
        """Items near each other in a session, in both directions, by 1 / distance, less for popular items."""
        session = np.repeat(np.arange(len(sessions)), sessions.lengths)
        items = sessions.items.astype(np.int64)
        pairs, weights = [], []
        for distance in range(1, NEAR_DISTANCE + 1):
            same = (session[distance:] == session[:-distance]) & (items[distance:] != items[:-distance])
            before, after = items[:-distance][same], items[distance:][same]
            pairs += [before * self.items + after, after * self.items + before]
            weights += [np.full(len(before), 1 / distance), np.full(len(before), 0.5 / distance)]
        distinct, inverse = np.unique(np.concatenate(pairs), return_inverse=True)
        sums = np.bincount(inverse, np.concatenate(weights), len(distinct))
        counts_V = np.bincount(items, minlength=self.items) + 1.0
        sums = sums / np.sqrt(counts_V[distinct // self.items] * counts_V[distinct % self.items])
        begins, near, kept = self._strongest(distinct, sums)
        return {"near_begins_V1": begins, "near_items_P": near, "near_weights_P": kept}

    def _strongest(self, pairs: Longs, weights: npt.NDArray[Any]) -> tuple[Longs, Longs, npt.NDArray[Any]]:
        """The `PAIRS` heaviest pairs of each first item, the heaviest first, ties by index."""
        order = np.lexsort((pairs, -weights, pairs // self.items))
        pairs, weights = pairs[order], weights[order]
        rows = pairs // self.items
        kept = np.arange(len(rows)) - np.searchsorted(rows, rows) < PAIRS
        begins = np.searchsorted(rows[kept], np.arange(self.items + 1))
        return begins, pairs[kept] % self.items, weights[kept]

    def _past_sessions(self, sessions: Sessions) -> dict[str, npt.NDArray[Any]]:
        """Each session's distinct items in order of their last event; sessions by their last event."""
        ends = sessions.offsets[1:]
        by_end = np.argsort(sessions.times_ms[ends - 1], kind="stable")[-KEPT_SESSIONS:]
        kept = sessions.select(by_end)
        session = np.repeat(np.arange(len(kept)), kept.lengths)
        pairs = session * np.int64(self.items) + kept.items
        # The last event of equal pairs.
        _, from_the_end = np.unique(pairs[::-1], return_index=True)
        rows = np.sort(len(pairs) - 1 - from_the_end)
        session, item = session[rows], kept.items[rows]
        from_the_last = np.searchsorted(session, session, "right") - np.arange(len(session))
        newest = from_the_last <= SESSION_ITEMS
        session, item = session[newest], item[newest]
        by_item = np.argsort(item, kind="stable")
        return {
            "session_begins_S1": np.searchsorted(session, np.arange(len(kept) + 1)),
            "session_items_P": item,
            "item_begins_V1": np.searchsorted(item[by_item], np.arange(self.items + 1)),
            "item_sessions_P": session[by_item],
        }

    def _repeats(self, sessions: Sessions) -> npt.NDArray[Any]:
        """The share of sessions with an item that come back to it, drawn towards the average of all items."""
        session = np.repeat(np.arange(len(sessions)), sessions.lengths)
        distinct, counts = np.unique(session * np.int64(self.items) + sessions.items, return_counts=True)
        seen_V = np.bincount(distinct % self.items, minlength=self.items)
        again_V = np.bincount(distinct[counts > 1] % self.items, minlength=self.items)
        average = again_V.sum() / max(1, seen_V.sum())
        return np.asarray((again_V + PRIOR_REPEATS * average) / (seen_V + PRIOR_REPEATS))


def _inside(array: Tensor, kind: str, items: int, arrays: Mapping[str, Tensor]) -> bool:
    """Whether all values of an array of items or sessions exist; True for an array of weights."""
    if array.dtype != torch.int32 or not len(array):
        return True
    most = len(arrays["session_begins_S1"]) - 1 if kind.endswith("sessions") else items
    return bool(array.min() >= 0 and array.max() < most)


def _begins(arrays: Mapping[str, Tensor], name: str, items: int) -> bool:
    """Whether an array of begins rises from 0 to the number of its pairs."""
    begins = arrays[name]
    pairs = {len(arrays[other]) for other in OVER[name]}
    rows = items + 1 if name.endswith("V1") else max(1, len(begins))
    return bool(
        len(begins) == rows and begins[0] == 0 and (begins.diff() >= 0).all() and pairs == {int(begins[-1])}
    )
