"""The item tables and live sources of a version, refreshed along a log between two trainings.

A `LogRefresher` knows at each moment only the events before it. It changes the tables as
model/freshness/moving_tables.py says, as a worker does.

Shapes: V items (the known, then the new), N events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from model.data.co_clicks import NEAR, CoClicks
from model.data.sessions import Sessions
from model.freshness.live_sources import LiveSources
from model.freshness.moving_tables import FreshnessConfig, MovingTables
from model.networks.fused.fused_list import FusedList
from model.networks.network import GradientNetwork


@dataclass(frozen=True)
class LoggedEvents:
    """A log in event-time order. Items are numbered so that the known come first.

    `near_NC` are the items of each event's session before it, newest first, padded with -1;
    `sessions` the numbers of the events' sessions.
    """

    items: npt.NDArray[np.int64]
    times_ms: npt.NDArray[np.int64]
    co_clicks: CoClicks
    near_NC: npt.NDArray[np.int32]
    sessions: npt.NDArray[np.int64]

    @classmethod
    def of(cls, sessions: Sessions) -> Self:
        """The events of sessions.

        >>> session = Sessions(np.array([0, 2]), np.array([7, 3]), np.array([0, 50]), np.array(["s"]))
        >>> LoggedEvents.of(session).near_NC.tolist()
        [[-1, -1, -1, -1, -1], [7, -1, -1, -1, -1]]
        """
        order = np.argsort(sessions.times_ms, kind="stable")
        begins = np.repeat(sessions.offsets[:-1], sessions.lengths)[order]
        near_NC = np.full((len(order), NEAR), -1, np.int32)
        for distance in range(1, NEAR + 1):
            inside = order - distance >= begins
            near_NC[inside, distance - 1] = sessions.items[order[inside] - distance]
        items = sessions.items[order].astype(np.int64)
        session = np.repeat(np.arange(len(sessions)), sessions.lengths)[order]
        return cls(items, sessions.times_ms[order], CoClicks.of(sessions), near_NC, session)

    def slices_between(self, begin_ms: int, end_ms: int) -> tuple[slice, slice]:
        """The slices of events and of co-clicks from `begin_ms` on and before `end_ms`."""
        events = np.searchsorted(self.times_ms, [begin_ms, end_ms])
        clicks = np.searchsorted(self.co_clicks.times_ms, [begin_ms, end_ms])
        return slice(*events), slice(*clicks)


class LogRefresher(MovingTables):
    """The tables of a network that was trained on the events before `trained_ms`, moved along a log.

    `known` items were trained; `items` bounds the numbers of new items. The network may be that of a
    fused list, whose sources then follow the log, too.
    """

    def __init__(
        self,
        network: GradientNetwork | FusedList,
        known: int,
        items: int,
        log: LoggedEvents,
        trained_ms: int,
        freshness: FreshnessConfig,
        new_V: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        scoring = network.network if isinstance(network, FusedList) else network
        super().__init__(scoring, known, items, trained_ms, freshness, new_V)
        self._log, self._lists_new_items = log, freshness.new_items
        self._sources = LiveSources(network, self) if isinstance(network, FusedList) else None
        if not freshness.is_frozen:
            before = log.slices_between(trained_ms - freshness.remembered_ms, trained_ms)[0]
            items_N, times_ms_N = self._events(before)
            self.add_events(items_N, times_ms_N)
            self.add_trained_events(items_N, times_ms_N)
            self._learn(log.slices_between(trained_ms - LiveSources.remembered_ms, trained_ms)[0])

    @torch.inference_mode()
    def refresh(self, now_ms: int) -> None:
        """Apply the events since the last refresh and before `now_ms`, which does not run back."""
        events, clicks = self._log.slices_between(self.now_ms, now_ms)
        self.decay_counts(now_ms)
        items_N, times_ms_N = self._events(events)
        self.add_events(items_N, times_ms_N)
        self.add_events_since_training(items_N)
        if self._lists_new_items:
            co_clicks = self._log.co_clicks
            self.place_new_items(co_clicks.items[clicks], co_clicks.neighbours[clicks])
        self.recompute_bias()
        self._learn(events)

    def _learn(self, events: slice) -> None:
        if self._sources is None:
            return
        items_N, near_NC, size = self._log.items[events], self._log.near_NC[events], len(self)
        self._sources.learn(
            np.where(items_N < size, items_N, -1),
            np.where(near_NC < size, near_NC, -1),
            self._log.times_ms[events],
            self._log.sessions[events],
            near_NC[:, 0] < 0,
        )

    def _events(self, events: slice) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Items and times of the events whose item has a place in the tables."""
        items_N, times_ms_N = self._log.items[events], self._log.times_ms[events]
        fits_N = items_N < len(self)
        return items_N[fits_N], times_ms_N[fits_N]
