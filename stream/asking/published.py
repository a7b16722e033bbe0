"""The lists of placements that are published after every event: what asking right after it would answer.

Made in the step threads, from copies of the states with their event added; no thread waits for another.
Tested by tests/unit/stream/asking/test_published.py.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

import msgspec

from stream.asking.list_maker import ListMaker
from stream.asking.query import ListQuery
from stream.catalogue.catalogue import Catalogue
from stream.events import EMPTY_SESSION, LAG
from stream.logs import happening
from stream.sessions.session_state import SessionState
from stream.wave.load_shedding import POPULAR
from stream.wave.serving_model import InService
from stream.wave.session_event import SessionEvent
from stream.wave.stepped_wave import Placed, PlacedItems

logger = logging.getLogger(__name__)


class PublishedPlacements:
    """Makes the lists of a wave's published placements, see stream.wave.stepped_wave.PlacementMaker.

    Of a placement whose category has no item no list is made: said once for each version of the rules.
    Each thread that calls `make` has a list maker of its own, with the categories that it has found.
    """

    def __init__(self, catalogue: Catalogue, recent_items: int) -> None:
        self._catalogue, self._recent_items = catalogue, recent_items
        self._of_thread = threading.local()
        self._lock = threading.Lock()
        # Under the lock: what was said is not said again by another thread.
        self._missed: set[tuple[str, str]] = set()

    def make(self, events: Sequence[SessionEvent], now: InService, level: int) -> Placed:
        """The lists by session, of events that are stepped and not in their states' histories yet."""
        rules = self._catalogue.held_rules
        published = rules.published
        if not published:
            return {}
        lists, made = self._lists(), Placed()
        for one in events:
            if level and one.arrival.superseded:
                continue
            serving = now.of(one.side)
            state = _with_event(one, now.columns, self._recent_items)
            of_session = made[one.event.session_id] = []
            for name, placement in published.items():
                query = ListQuery(one.event.session_id, placement=name)
                lags = level >= POPULAR
                found = lists.make(query, rules, placement, state, serving, is_popular=lags)
                if found is None:
                    self._say_missing(rules.version, name, placement.category)
                    of_session.append(PlacedItems(name, rules.version, serving.version, None, None))
                    continue
                fallback = LAG if lags else ("" if found.is_of_session else EMPTY_SESSION)
                of_session.append(
                    PlacedItems(name, rules.version, serving.version, found.items, found.scores, fallback)
                )
        return made

    def _lists(self) -> ListMaker:
        """The list maker of this thread, which may be used by one alone."""
        lists: ListMaker | None = getattr(self._of_thread, "lists", None)
        if lists is None:
            lists = self._of_thread.lists = ListMaker(self._catalogue)
        return lists

    def _say_missing(self, version: str, name: str, category: str | None) -> None:
        with self._lock:
            if (version, name) in self._missed:
                return
            self._missed = {kept for kept in self._missed if kept[0] == version} | {(version, name)}
        logger.warning(
            "placement %s: no item is known to be in %s, so no list of it is published; correct the rules, "
            "or load the items",
            name,
            category,
            extra=happening("placement_without_items", placement=name, category=category, rules=version),
        )


def _with_event(one: SessionEvent, columns: tuple[str, ...], limit: int) -> SessionState:
    """A copy of the state as it is after its event; the state itself is the wave's to change."""
    state = one.state
    copied = msgspec.structs.replace(
        state,
        recent_items=list(state.recent_items),
        recent_offsets=list(state.recent_offsets),
        recent_columns={name: list(values) for name, values in state.recent_columns.items()},
    )
    copied.remember(one.event, one.arrival.offset, columns, limit)
    return copied
