"""Event frames as what a producer takes: keys, values and timestamps, column by column.

Key = session id, value = the event as JSON, timestamp = event time. The values are those of
`stream.events.encode_event`, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import pandas as pd
import pyarrow as pa

from stream.events import Event, encode_event

OPTIONAL = ("user_id", "price", "brand", "category", "title")
# The encoder leaves a default out when it is the very object that the schema has.
KINDS = {kind: kind for kind in ("view", "cart", "purchase", "session_end")}


@dataclass(frozen=True, slots=True)
class EncodedEvents:
    """Events in order, ready to be sent; the three lists are of one length."""

    keys: list[bytes]
    values: list[bytes]
    times_ms: list[int]

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, rows: slice) -> EncodedEvents:
        return EncodedEvents(self.keys[rows], self.values[rows], self.times_ms[rows])

    def take(self, rows: list[int]) -> EncodedEvents:
        """The events of these rows, in their order."""
        return EncodedEvents(
            [self.keys[row] for row in rows],
            [self.values[row] for row in rows],
            [self.times_ms[row] for row in rows],
        )

    def records(self) -> Iterator[tuple[bytes, bytes, int]]:
        """Key, value and timestamp, one after the other."""
        return zip(self.keys, self.values, self.times_ms, strict=True)


def events_of(frame: pd.DataFrame) -> Iterator[Event]:
    """The rows of an event frame as events; missing values stay absent."""
    return map(
        Event,
        _objects(frame["session_id"]),
        frame["event_time_ms"].tolist(),
        _objects(frame["item_id"]),
        map(KINDS.__getitem__, frame["kind"].tolist()),
        *(_objects(frame[name]) if name in frame else repeat(None) for name in OPTIONAL),
    )


def encode(frame: pd.DataFrame) -> EncodedEvents:
    """An event frame as keys, values and timestamps. Raises KeyError at a kind that the schema has not."""
    return EncodedEvents(
        [session.encode() for session in _objects(frame["session_id"])],
        [encode_event(event) for event in events_of(frame)],
        frame["event_time_ms"].tolist(),
    )


def _objects(column: pd.Series[Any]) -> list[Any]:
    """The values of a column as Python's own, None where one is missing."""
    if isinstance(column.dtype, pd.StringDtype):
        found: list[Any] = pa.array(column).to_numpy(zero_copy_only=False).tolist()
        return found
    objects: list[Any] = column.astype(object).where(column.notna(), None).tolist()
    return objects
