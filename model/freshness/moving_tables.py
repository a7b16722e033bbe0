"""A network's item tables and how they change after its training: popularity and new items.

The trained weights stay. Scores move with popularity as posteriors move with their priors
(Saerens, Latinne, Decaestecker: Adjusting the outputs of a classifier to new a priori
probabilities, Neural Computation 2002): r_v + log(c_v + floor) - log(c_v at the training +
floor), where c_v is the item's count, halved with every half-life. An unknown item gets the mean
row of its neighbours. The tables know neither where events come from nor how often they are
applied.

Shapes: V items (the known, then new ones), N events or co-clicks, U items that co-clicks touch.
Tested by tests/unit/model/freshness/test_refresher.py and
tests/unit/model/freshness/test_log_refresher.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.networks.network import GradientNetwork

REMEMBERED_HALF_LIVES = 10  # older events count for less than a thousandth
# By the word a user gives: whether popularity moves, and whether new items are listed.
FRESHNESS_MODES = {
    "none": (False, False),
    "popularity": (True, False),
    "new-items": (False, True),
    "both": (True, True),
}


@dataclass(frozen=True)
class FreshnessConfig:
    """What changes between two trainings.

    `popularity`: the counts of the known items move, by `half_life_s` and `floor`.
    `new_items`: an unknown item is listed once `after_sessions` sessions have clicked it.

    >>> FreshnessConfig.of("new-items", after_sessions=3)
    FreshnessConfig(popularity=False, new_items=True, after_sessions=3, half_life_s=900.0, floor=0.1)
    >>> FreshnessConfig.of("none").is_frozen
    True
    """

    popularity: bool = False
    new_items: bool = False
    after_sessions: int = 2
    half_life_s: float = 900.0
    floor: float = 0.1

    @classmethod
    def of(cls, mode: str, *, after_sessions: int = 2, half_life_s: float = 900.0) -> Self:
        """The configuration that a key of FRESHNESS_MODES stands for. Raises KeyError for other words."""
        popularity, new_items = FRESHNESS_MODES[mode]
        return cls(popularity, new_items, after_sessions, half_life_s)

    @property
    def is_frozen(self) -> bool:
        """Whether nothing changes between two trainings."""
        return not (self.popularity or self.new_items)

    @property
    def half_life_ms(self) -> float:
        """The half-life of the counts."""
        return self.half_life_s * 1000

    @property
    def remembered_ms(self) -> int:
        """How far back events still count."""
        return int(REMEMBERED_HALF_LIVES * self.half_life_ms)


class MovingTables:
    """The item tables of a network that was trained on the events before `trained_ms`.

    `known` items were trained, but those that `new_V` marks; with new items there is room for `items` in
    all. `input_VE` and
    `output_VH` are the tables with that room, one tensor when they are tied. `bias_V` is the bias at
    the last `recompute_bias`, -inf for an item that is not listed. `can_step_V` marks the items that
    have a row.
    """

    def __init__(
        self,
        network: GradientNetwork,
        known: int,
        items: int,
        trained_ms: int,
        freshness: FreshnessConfig,
        new_V: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        self._freshness, self._known = freshness, known
        size = items if freshness.new_items else known
        self.input_VE = _with_room(network.get_parameter(network.input_table).data.cpu(), size)
        self.output_VH = self.input_VE
        if network.input_table != network.output_table:
            self.output_VH = _with_room(network.get_parameter(network.output_table).data.cpu(), size)
        bias_V = network.get_parameter(network.bias_table).data
        if network.prior is not None:
            bias_V = bias_V + network.prior.bias().detach()
        bias_V = bias_V.cpu()
        self._is_new_V = np.arange(size) >= known
        if new_V is not None:
            self._is_new_V[: len(new_V)] |= new_V
        self.can_step_V = torch.from_numpy(~self._is_new_V)
        self._neighbours_V = torch.zeros(size)
        self._events_since_training_V = np.zeros(size, np.int64)
        self.trained_ms = self.now_ms = trained_ms
        self.counts_V = np.zeros(size)
        self._trained_bias_V = bias_V
        # The bias without popularity. A new item takes the mean of its neighbours' values.
        self._own_bias_V = _with_room(bias_V, size)
        self.set_trained_counts(np.zeros(known))

    def __len__(self) -> int:
        return len(self.counts_V)

    def set_trained_counts(self, counts_V: npt.NDArray[np.float64]) -> None:
        """Set the counts of the known items to which the weights were trained."""
        self._trained_counts_V = counts_V
        logs_V = np.log(counts_V + self._freshness.floor)
        self._own_bias_V[: self._known] = self._trained_bias_V - torch.from_numpy(logs_V).float()
        self.recompute_bias()

    def add_trained_events(self, items_N: npt.NDArray[np.int64], times_ms_N: npt.NDArray[np.int64]) -> None:
        """Add events from before the training to the counts to which the weights were trained."""
        known_N = ~self._is_new_V[items_N]
        weights_N = self._decayed_weights(times_ms_N[known_N], self.trained_ms)
        counts_V = self._trained_counts_V + np.bincount(items_N[known_N], weights_N, self._known)
        self.set_trained_counts(counts_V)

    def decay_counts(self, now_ms: int) -> None:
        """Halve the counts with every half-life until `now_ms`; an earlier time changes nothing."""
        self.counts_V *= 2.0 ** (min(self.now_ms - now_ms, 0) / self._freshness.half_life_ms)
        self.now_ms = max(self.now_ms, now_ms)

    def add_events(self, items_N: npt.NDArray[np.int64], times_ms_N: npt.NDArray[np.int64]) -> None:
        """Add events to the counts; an event later than now counts as an event of now."""
        self.counts_V += np.bincount(items_N, self._decayed_weights(times_ms_N, self.now_ms), len(self))

    def add_events_since_training(self, items_N: npt.NDArray[np.int64]) -> None:
        """Add events to the number that an unknown item needs before it is listed."""
        self._events_since_training_V += np.bincount(items_N, minlength=len(self))

    def _decayed_weights(self, times_ms_N: npt.NDArray[np.int64], now_ms: int) -> npt.NDArray[np.float64]:
        weights: npt.NDArray[np.float64] = np.exp2(
            np.minimum(times_ms_N - now_ms, 0) / self._freshness.half_life_ms
        )
        return weights

    def place_new_items(self, items_N: npt.NDArray[np.int64], neighbours_N: npt.NDArray[np.int64]) -> Tensor:
        """Move each new item's row to the mean over all its neighbours so far that had a row.

        Returns the rows that moved, U.
        """
        fits_N = np.maximum(items_N, neighbours_N) < len(self)
        fits_N[fits_N] = self._is_new_V[items_N[fits_N]]
        items_N, neighbours_N = items_N[fits_N], neighbours_N[fits_N]
        chosen = self.can_step_V.numpy()[neighbours_N]
        items, neighbours = torch.from_numpy(items_N[chosen]), torch.from_numpy(neighbours_N[chosen])
        touched_U: Tensor = torch.unique(items)
        before_U = self._neighbours_V[touched_U]
        self._neighbours_V.index_add_(0, items, torch.ones(len(items)))
        share_U = before_U / self._neighbours_V[touched_U]
        tables = [self.input_VE, self._own_bias_V]
        if self.output_VH is not self.input_VE:
            tables.append(self.output_VH)
        for table in tables:
            shape = (-1, *[1] * (table.ndim - 1))
            added = table[neighbours] / self._neighbours_V[items].view(shape)
            table[touched_U] *= share_U.view(shape)
            table.index_add_(0, items, added)
        is_new_V = torch.from_numpy(self._is_new_V)
        enough_V = torch.from_numpy(self._events_since_training_V >= self._freshness.after_sessions)
        self.can_step_V = torch.where(is_new_V, enough_V & (self._neighbours_V > 0), self.can_step_V)
        return touched_U

    def free_rows(self, rows: npt.NDArray[np.int64]) -> None:
        """Clear rows, so that other items can have them."""
        chosen = torch.from_numpy(rows)
        for table in (self.input_VE, self.output_VH, self._own_bias_V, self._neighbours_V):
            table[chosen] = 0
        self.can_step_V[chosen] = False
        self.counts_V[rows] = 0
        self._events_since_training_V[rows] = 0

    def recompute_bias(self) -> None:
        """Set `bias_V` by the counts of now."""
        logs_V = torch.from_numpy(np.log(self.counts_V + self._freshness.floor)).float()
        bias_V = self._own_bias_V + logs_V
        if not self._freshness.popularity:
            bias_V[: self._known] = self._trained_bias_V
        self.bias_V = bias_V.masked_fill_(~self.can_step_V, -torch.inf)


def _with_room(table: Tensor, size: int) -> Tensor:
    return torch.cat([table, table.new_zeros((size - len(table), *table.shape[1:]))])
