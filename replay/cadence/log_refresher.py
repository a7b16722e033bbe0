"""The item tables of a version, refreshed along a log between two trainings.

A `LogRefresher` knows at each moment only the events before it. It changes the tables as
model/freshness/moving_tables.py says, as a worker does.

Shapes: V items (the known, then the new), N events.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from model.data.co_clicks import CoClicks
from model.freshness.moving_tables import FreshnessConfig, MovingTables
from model.networks.network import GradientNetwork


@dataclass(frozen=True)
class LoggedEvents:
    """A log in event-time order. Items are numbered by first appearance, so the known come first."""

    items: npt.NDArray[np.int64]
    times_ms: npt.NDArray[np.int64]
    co_clicks: CoClicks

    def slices_between(self, begin_ms: int, end_ms: int) -> tuple[slice, slice]:
        """The slices of events and of co-clicks from `begin_ms` on and before `end_ms`."""
        events = np.searchsorted(self.times_ms, [begin_ms, end_ms])
        clicks = np.searchsorted(self.co_clicks.times_ms, [begin_ms, end_ms])
        return slice(*events), slice(*clicks)


class LogRefresher(MovingTables):
    """The tables of a network that was trained on the events before `trained_ms`, moved along a log.

    `known` items were trained; `items` bounds the numbers of new items.
    """

    def __init__(
        self,
        network: GradientNetwork,
        known: int,
        items: int,
        log: LoggedEvents,
        trained_ms: int,
        freshness: FreshnessConfig,
    ) -> None:
        super().__init__(network, known, items, trained_ms, freshness)
        self._log, self._lists_new_items = log, freshness.new_items
        if not freshness.is_frozen:
            before = log.slices_between(trained_ms - freshness.remembered_ms, trained_ms)[0]
            items_N, times_ms_N = self._events(before)
            self.add_events(items_N, times_ms_N)
            self.add_trained_events(items_N, times_ms_N)

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

    def _events(self, events: slice) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Items and times of the events whose item has a place in the tables."""
        items_N, times_ms_N = self._log.items[events], self._log.times_ms[events]
        fits_N = items_N < len(self)
        return items_N[fits_N], times_ms_N[fits_N]
