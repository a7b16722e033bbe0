"""What one stepped wave leaves: lists to publish, state changes to write, counts to add.

Tested by tests/unit/stream/wave/test_processor.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from stream.catalogue.rules import Rules
from stream.events import FORGET, Event
from stream.experiments.experiment import INTERLEAVED
from stream.quality.observed_event import ObservedEvent
from stream.sessions.offsets import AppliedOffsets
from stream.sessions.partition import OpenPartition
from stream.sessions.store import Batch
from stream.wave.serving_model import InService
from stream.wave.session_event import SessionEvent
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


@dataclass(frozen=True, slots=True)
class PlacedItems:
    """The list of a published placement for one event; `items` is None where the placement can have none."""

    placement: str
    rules: str
    model_version: str
    items: list[str] | None
    scores: npt.NDArray[np.float32] | None
    fallback: str = ""


@dataclass(slots=True)
class PlacedList:
    """A list of a published placement, under a version of the rules."""

    placement: str
    rules: str
    shown: RecommendedList


Placed = dict[str, list[PlacedItems]]


class PlacementMaker(Protocol):
    """Makes the lists of published placements, which the rules name."""

    def make(self, events: Sequence[SessionEvent], now: InService, level: int) -> Placed:
        """By session; of events that are stepped, before their states have them in their histories."""


@dataclass(slots=True)
class SteppedWave:
    """What one wave leaves: lists, purchases, dead letters to publish, batches to write, counts to add then.

    `placed` are lists of published placements beside `lists`, `unplaced` counts those that no item can be in.
    `number` counts the waves of a worker in the order in which they are written. Its lists obey what the
    shop says of its items up to `item_words`, "" where it says nothing.
    """

    number: int
    started_ns: int
    size: int
    level: int
    item_words: str = ""
    lists: list[RecommendedList] = field(default_factory=list)
    placed: list[PlacedList] = field(default_factory=list)
    unplaced: int = 0
    dead: list[Arrival] = field(default_factory=list)
    purchases: list[tuple[bytes, bytes | None]] = field(default_factory=list)
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

    def add_placed(self, several: Iterable[PlacedItems], shown: RecommendedList) -> None:
        """Add the lists of published placements beside an event's own list."""
        if shown.side == INTERLEAVED:
            # They are the champion's, and in no experiment.
            shown = replace(shown, side="", headers=())
        for made in several:
            if made.items is None or made.scores is None:
                self.unplaced += 1
                continue
            placed = replace(
                shown,
                model_version=made.model_version,
                items=made.items,
                scores=made.scores,
                fallback=made.fallback,
            )
            self.placed.append(PlacedList(made.placement, made.rules, placed))

    def add_emptied(self, arrival: Arrival, event: Event, model_version: str, rules: Rules) -> None:
        """Add lists without items in the place of a forgotten session's, of its placements, too."""
        nothing = emptied(arrival, event, model_version)
        self.lists.append(nothing)
        self.placed += [PlacedList(name, rules.version, nothing) for name in rules.published]
