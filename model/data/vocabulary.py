"""The items that a model knows: item id ↔ index, with their training counts.

Indices are dense from 0, in order of first appearance in the training data. An unknown item has
index -1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from model.data.features import Arrays, Features
from model.errors import NextclickError

# Characters of the longest id that an event can have.
LONGEST_ITEM_ID = 256
# Columns that describe an item, not an event.
ATTRIBUTES = ("brand", "category", "price")


def too_few(items: int) -> NextclickError:
    """Returns the error for training data of fewer than two items."""
    return NextclickError(
        f"the training data has {items} distinct items",
        "A list cannot be ranked from fewer than two.",
        "Train on a longer log, or look at how it was read: `--format`, `--on-error`.",
    )


def titles_of(frame: pd.DataFrame) -> dict[str, str]:
    """Returns the newest title of each titled item of an event frame."""
    if "title" not in frame:
        return {}
    named = frame.dropna(subset=["title"]).drop_duplicates("item_id", keep="last")
    return dict(zip(named["item_id"].astype(str), named["title"].astype(str), strict=True))


def attributes_of(frame: pd.DataFrame, columns: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Returns, for each of `columns` that describes items, each item's newest value."""
    attributes = {}
    for name in columns:
        if name in ATTRIBUTES and name in frame:
            known = frame.dropna(subset=[name]).drop_duplicates("item_id", keep="last")
            attributes[name] = dict(zip(known["item_id"].astype(str), known[name].tolist(), strict=True))
    return attributes


class Vocabulary:
    """Item ids by index, their counts in the training data, and their titles where known.

    `features` are the values of the other columns that the model's network reads. `attributes` hold
    each item's newest value, by column, for the columns that describe items.

    >>> vocabulary = Vocabulary(["a", "b"], np.array([3, 5]))
    >>> vocabulary.encode(["b", "new"]).tolist(), vocabulary.decode(vocabulary.top(1))
    ([1, -1], ['b'])
    """

    def __init__(
        self,
        item_ids: Sequence[str],
        counts: npt.NDArray[np.int64],
        titles: Mapping[str, str] | None = None,
        features: Features | None = None,
        attributes: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.item_ids = np.empty(len(item_ids), object)
        self.item_ids[:] = item_ids
        self.counts = np.asarray(counts, np.int64)
        self.titles = dict(titles or {})
        self.features = features or Features()
        self.attributes = {name: dict(values) for name, values in (attributes or {}).items()}
        self.index = {item_id: i for i, item_id in enumerate(item_ids)}
        if len(self.index) != len(self.counts):
            raise ValueError(f"{len(self.index)} distinct item ids, {len(self.counts)} counts")

    def __len__(self) -> int:
        return len(self.item_ids)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, columns: Sequence[str] = ()) -> Vocabulary:
        """Collect the items of an event frame, and the values of its `columns`.

        Raises NextclickError on fewer than two items.
        """
        frame = frame[frame["kind"] != "session_end"] if "kind" in frame else frame
        codes, ids = pd.factorize(frame["item_id"])
        if len(ids) < 2:
            raise too_few(len(ids))
        counts = np.bincount(codes, minlength=len(ids))
        features = Features.from_frame(frame, columns)
        attributes = attributes_of(frame, columns)
        return cls([str(item) for item in ids], counts, titles_of(frame), features, attributes)

    @cached_property
    def _pandas_index(self) -> pd.Index[Any]:
        return pd.Index(self.item_ids)

    def encode(self, ids: Sequence[str] | pd.Series[str]) -> npt.NDArray[np.int64]:
        """Returns the indices of item ids, -1 for unknown items."""
        if len(ids) > 1000:
            return np.asarray(self._pandas_index.get_indexer(pd.Index(ids)), np.int64)
        index = self.index
        return np.fromiter((index.get(item, -1) for item in ids), np.int64, len(ids))

    def decode(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> list[str]:
        """Returns the item ids of indices."""
        return [str(item) for item in self.item_ids[np.asarray(indices, np.int64)]]

    def top(self, k: int) -> npt.NDArray[np.int64]:
        """Returns the indices of the k most popular items, ties by lower index."""
        return np.argsort(-self.counts, kind="stable")[:k].astype(np.int64)

    def restricted(
        self, counts: npt.NDArray[np.int64], columns: Arrays | None = None, *, keep_titled: bool = False
    ) -> tuple[Vocabulary, npt.NDArray[np.int64]]:
        """Keep the items that have a count in other data.

        Returns their vocabulary, and the new index of each old index, -1 where the item is dropped.
        `columns` are the data's other columns, encoded. With `keep_titled` titled items stay, with a
        count of 0. Raises NextclickError on fewer than two items with a count.
        """
        if (counts > 0).sum() < 2:
            raise too_few(int((counts > 0).sum()))
        kept = np.flatnonzero(counts)
        if keep_titled:
            is_titled = np.fromiter((item in self.titles for item in self.item_ids), bool, len(self))
            kept = np.flatnonzero((counts > 0) | is_titled)
        ids = self.decode(kept)
        titles = {item: self.titles[item] for item in ids if item in self.titles}
        attributes = {
            name: {item: values[item] for item in ids if item in values}
            for name, values in self.attributes.items()
        }
        features = self.features.restricted(columns or {})
        renamed = np.full(len(self), -1, np.int64)
        renamed[kept] = np.arange(len(kept))
        return Vocabulary(ids, counts[kept], titles, features, attributes), renamed

    def with_titles(self, titles: Mapping[str, str]) -> Vocabulary:
        """Returns the same items with these titles, then the new items of `titles` with a count of 0."""
        new = [item for item in titles if item not in self.index]
        counts = np.r_[self.counts, np.zeros(len(new), np.int64)]
        known = {**self.titles, **titles}
        return Vocabulary([*self.item_ids, *new], counts, known, self.features, self.attributes)

    def grown_from(self, earlier: Vocabulary) -> tuple[Vocabulary, npt.NDArray[np.int64]]:
        """Append the new items here to the items of `earlier`, with the counts here.

        Returns the grown vocabulary, and the new index of each index here.
        """
        known = earlier.encode(self.item_ids.tolist())
        new = np.flatnonzero(known < 0)
        renamed = known.copy()
        renamed[new] = len(earlier) + np.arange(len(new))
        counts = np.zeros(len(earlier) + len(new), np.int64)
        counts[renamed] = self.counts
        ids = [*earlier.decode(np.arange(len(earlier))), *self.decode(new)]
        features = self.features.grown_from(earlier.features)
        attributes = {
            name: earlier.attributes.get(name, {}) | self.attributes.get(name, {})
            for name in (earlier.attributes | self.attributes)
        }
        return Vocabulary(ids, counts, earlier.titles | self.titles, features, attributes), renamed

    def to_json(self) -> str:
        """Returns JSON text."""
        data: dict[str, Any] = {
            "item_ids": self.item_ids.tolist(),
            "counts": self.counts.tolist(),
            "titles": self.titles,
        }
        if self.features.columns:
            data["features"] = self.features.as_dict()
        if self.attributes:
            data["attributes"] = self.attributes
        return json.dumps(data, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Vocabulary:
        """Read the text of `to_json`. Raises ValueError, KeyError or TypeError on anything else.

        One part is read after the other, so that the numbers of one are gone before the next is made.
        """
        try:
            parts = _parts(text)
            counts = np.array(_read(parts["counts"], list[int]), np.int64)
            titles = _read(parts["titles"], dict[str, str])
            ids = _read(parts["item_ids"], list[str])
            features = Features.from_dict(_read(parts["features"], dict)) if "features" in parts else None
            attributes = _read(parts.get("attributes", {}), dict)
        except msgspec.MsgspecError as error:
            raise ValueError(f"no vocabulary: {error}") from None
        if (counts < 0).any():
            raise ValueError("counts are one number, from 0 on, for each item")
        return cls(ids, counts, titles, features, attributes)


def _parts(text: str | bytes) -> dict[str, Any]:
    """The parts of a vocabulary's text, unread where that can be."""
    try:
        # Refuses lone surrogates, which could not be sent.
        return msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except msgspec.MsgspecError:
        # Prices may be infinite, for which JSON has no word.
        parts: dict[str, Any] = json.loads(text)
        json.dumps(parts, ensure_ascii=False).encode()
        return parts


def _read(part: Any, kind: Any) -> Any:
    return (
        msgspec.json.decode(part, type=kind) if isinstance(part, msgspec.Raw) else msgspec.convert(part, kind)
    )
