"""What one stepped wave leaves: lists to publish, state changes to write, counts to add.

Tested by tests/unit/stream/wave/test_processor.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from stream.events import FORGET, Event
from stream.quality.observed_event import ObservedEvent
from stream.sessions.offsets import AppliedOffsets
from stream.sessions.partition import OpenPartition
from stream.sessions.store import Batch
from stream.wave.waves import Arrival


@dataclass(slots=True)
class RecommendedList:
    """A list to publish after one event; `fallback` says why it is not of the event's own step, else "".

    `side` is its side in an experiment, "" in none, and `headers` what it says of that.
    """

    arrival: Arrival
    session_id: str
    event_time_ms: int
    model_version: str
    items: list[str]
    scores: npt.NDArray[np.float32]
    position: int
    fallback: str
    side: str = ""
    headers: tuple[tuple[str, bytes], ...] = ()


def emptied(arrival: Arrival, event: Event, model_version: str) -> RecommendedList:
    """The list that takes the place of a forgotten session's newest one, wherever that is kept: no item."""
    nothing = np.zeros(0, np.float32)
    return RecommendedList(
        arrival, event.session_id, event.event_time_ms, model_version, [], nothing, 0, FORGET
    )


@dataclass(slots=True)
class SteppedWave:
    """What one wave leaves: lists and dead letters to publish, batches to write, counts to add once written.

    `number` counts the waves of a worker in the order in which they are written. Its lists obey what the
    shop says of its items up to `item_words`, "" where it says nothing.
    """

    number: int
    started_ns: int
    size: int
    level: int
    item_words: str = ""
    lists: list[RecommendedList] = field(default_factory=list)
    dead: list[Arrival] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    writes: dict[int, tuple[OpenPartition, Batch, AppliedOffsets]] = field(default_factory=dict)
    outcomes: dict[int, dict[str, int]] = field(default_factory=dict)
    observed: list[ObservedEvent] = field(default_factory=list)
    unlisted: int = 0
    resets: int = 0
    late: int = 0
    other_kinds: int = 0
    rebuilt: int = 0
    rebuilt_inexact: int = 0
    expired: int = 0
    stepped_us: int = 0
