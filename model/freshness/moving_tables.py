"""A network's item tables, moved by what happens after its training: popularity, and items born since.

The trained weights stand still. Scores move with popularity as posteriors move with their
priors (Saerens, Latinne, Decaestecker: Adjusting the outputs of a classifier to new a priori
probabilities, Neural Computation 2002): r_v + log(c_v + floor) - log(c_v at the training +
floor), c_v the item's count, halved with every half-life. An unknown item gets the mean row of
its neighbours. Knows neither where events come from nor how often they are taken up.

Shapes: V items (the known, then those that may come), N events or co-clicks, U items that
co-clicks touch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.networks.network import GradientNetwork

# Events of so long ago count for a thousandth.
REMEMBERED_HALF_LIVES = 10
# By what people name: whether popularity is followed, and whether new items are.
FRESHNESS_MODES = {"popularity": (True, False), "new-items": (False, True), "both": (True, True)}


@dataclass(frozen=True)
class FreshnessConfig:
    """What is followed between two trainings.

    `popularity`: how the counts of the known items move, by `half_life_s` and `floor`.
    `new_items`: unknown items are listed once `after_sessions` have clicked them.
    """

    popularity: bool = False
    new_items: bool = False
    after_sessions: int = 2
    half_life_s: float = 900.0
    floor: float = 0.1

    @property
    def stands_still(self) -> bool:
        """Whether nothing is: a plain frozen version."""
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
    """The tables of a network that was trained on the events before `trained_ms`, and what moves them.

    `known` items were trained; there is room for items numbered up to `items`. `input_VE`,
    `output_VH` are the tables with that room, one tensor when they are tied; `bias_V` is the bias at
    the last `move`, -inf of an item that is not listed. `can_step_V` marks the items that have a row.
    """

    def __init__(
        self, network: GradientNetwork, known: int, items: int, trained_ms: int, between: FreshnessConfig
    ) -> None:
        self._between, self._known = between, known
        size = items if between.new_items else known
        self.input_VE = _with_room(network.get_parameter(network.input_table).data, size)
        self.output_VH = self.input_VE
        if network.input_table != network.output_table:
            self.output_VH = _with_room(network.get_parameter(network.output_table).data, size)
        bias_V = network.get_parameter(network.bias_table).data
        if network.prior is not None:
            bias_V = bias_V + network.prior.bias().detach()
        self.can_step_V = torch.arange(size) < known
        self._neighbours_V = torch.zeros(size)
        self._events_V = np.zeros(size, np.int64)
        self.trained_ms = self.now_ms = trained_ms
        self.counts_V = np.zeros(size)
        self._trained_bias_V = bias_V
        # What the network says of an item beyond how popular it was: that part is its neighbours' too.
        self._own_bias_V = _with_room(bias_V, size)
        self.set_trained_counts(np.zeros(known))

    def __len__(self) -> int:
        return len(self.counts_V)

    def set_trained_counts(self, counts_V: npt.NDArray[np.float64]) -> None:
        """Let these, of the known items, be the counts that the weights were trained to."""
        self._trained_counts_V = counts_V
        logs_V = np.log(counts_V + self._between.floor)
        self._own_bias_V[: self._known] = self._trained_bias_V - torch.from_numpy(logs_V).float()
        self.bias_V = self.bias()

    def add_trained(self, items_N: npt.NDArray[np.int64], times_ms_N: npt.NDArray[np.int64]) -> None:
        """Count events before the training in the counts that the weights were trained to, as well."""
        known_N = items_N < self._known
        left_N = self._left(times_ms_N[known_N], self.trained_ms)
        counts_V = self._trained_counts_V + np.bincount(items_N[known_N], left_N, self._known)
        self.set_trained_counts(counts_V)

    def decay(self, now_ms: int) -> None:
        """Let time pass; it does not run back."""
        self.counts_V *= 2.0 ** (min(self.now_ms - now_ms, 0) / self._between.half_life_ms)
        self.now_ms = max(self.now_ms, now_ms)

    def count(self, items_N: npt.NDArray[np.int64], times_ms_N: npt.NDArray[np.int64]) -> None:
        """Add events of the numbered items to the counts; those ahead of now count as of now."""
        self.counts_V += np.bincount(items_N, self._left(times_ms_N, self.now_ms), len(self))

    def notice(self, items_N: npt.NDArray[np.int64]) -> None:
        """Add events since the training to those that an unknown item has to have."""
        self._events_V += np.bincount(items_N, minlength=len(self))

    def _left(self, times_ms_N: npt.NDArray[np.int64], now_ms: int) -> npt.NDArray[np.float64]:
        left: npt.NDArray[np.float64] = np.exp2(
            np.minimum(times_ms_N - now_ms, 0) / self._between.half_life_ms
        )
        return left

    def place(self, items_N: npt.NDArray[np.int64], neighbours_N: npt.NDArray[np.int64]) -> Tensor:
        """Move new items' rows to the means over all neighbours so far that had a row: → the rows moved."""
        fits_N = (items_N >= self._known) & (np.maximum(items_N, neighbours_N) < len(self))
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
        enough_V = torch.from_numpy(self._events_V[self._known :] >= self._between.after_sessions)
        self.can_step_V[self._known :] = enough_V & (self._neighbours_V[self._known :] > 0)
        return touched_U

    def forget(self, rows: npt.NDArray[np.int64]) -> None:
        """Make the rows free for other items."""
        chosen = torch.from_numpy(rows)
        for table in (self.input_VE, self.output_VH, self._own_bias_V, self._neighbours_V):
            table[chosen] = 0
        self.can_step_V[chosen] = False
        self.counts_V[rows] = 0
        self._events_V[rows] = 0

    def bias(self) -> Tensor:
        """The bias of all items as of now."""
        bias_V = self._own_bias_V + torch.from_numpy(np.log(self.counts_V + self._between.floor)).float()
        if not self._between.popularity:
            bias_V[: self._known] = self._trained_bias_V
        return bias_V.masked_fill_(~self.can_step_V, -torch.inf)

    def move(self) -> None:
        """Let the bias be that of now."""
        self.bias_V = self.bias()


def _with_room(table: Tensor, size: int) -> Tensor:
    return torch.cat([table, table.new_zeros((size - len(table), *table.shape[1:]))])
