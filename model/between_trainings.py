"""What a served network may take up before its next training: popularity, and items born since.

The trained weights stand still. A `Follower` knows at each moment only the events before
it. It moves the scores with popularity, as posteriors move with their priors (Saerens,
Latinne, Decaestecker: Adjusting the outputs of a classifier to new a priori probabilities,
Neural Computation 2002): r_v + log(c_v + floor) - log(c_v at the training + floor), c_v the
item's count, halved with every half-life. An unknown item gets the mean row of its neighbours.

Shapes: V items (the known, then the new), N events, U items that co-clicks touch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.network import SampledNetwork
from model.new_items import CoClicks

# Events of so long ago count for a thousandth.
REMEMBERED_HALF_LIVES = 10


@dataclass(frozen=True)
class Between:
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


@dataclass(frozen=True)
class LoggedEvents:
    """A log in event-time order. Items are numbered by first appearance, so the known come first."""

    items: npt.NDArray[np.int64]
    times_ms: npt.NDArray[np.int64]
    co_clicks: CoClicks

    def between(self, begin_ms: int, end_ms: int) -> tuple[slice, slice]:
        """Events, and co-clicks, from `begin_ms` on and before `end_ms`."""
        events = np.searchsorted(self.times_ms, [begin_ms, end_ms])
        clicks = np.searchsorted(self.co_clicks.times_ms, [begin_ms, end_ms])
        return slice(*events), slice(*clicks)


class Follower:
    """The tables of a network that was trained on the events before `trained_ms`, moved along a log.

    `known` items were trained; `items` bounds the numbers of those that may come. `input_VE`,
    `output_VH` and `bias_V` are those at the last `to`; an item that is not listed has a bias of
    -inf. `can_step_V` marks the items that have a row.
    """

    def __init__(
        self,
        network: SampledNetwork,
        known: int,
        items: int,
        log: LoggedEvents,
        trained_ms: int,
        between: Between,
    ) -> None:
        self._log, self._between, self._known = log, between, known
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
        self._counts_V = np.zeros(size)
        self._now_ms = trained_ms
        if not between.stands_still:
            begin_ms = trained_ms - int(REMEMBERED_HALF_LIVES * between.half_life_s * 1000)
            self._count(log.between(begin_ms, trained_ms)[0], trained_ms)
        # What the network says of an item beyond how popular it was: that part is its neighbours' too.
        self._trained_bias_V = bias_V
        self._own_bias_V = _with_room(bias_V, size)
        self._own_bias_V[:known] -= self._log_counts()[:known]
        self.bias_V = self._bias()

    @torch.inference_mode()
    def to(self, now_ms: int) -> None:
        """Take up the events before `now_ms`, which is not earlier than before."""
        events, clicks = self._log.between(self._now_ms, now_ms)
        self._counts_V *= 2.0 ** ((self._now_ms - now_ms) / (self._between.half_life_s * 1000))
        items_N = self._count(events, now_ms)
        self._events_V += np.bincount(items_N, minlength=len(self._events_V))
        self._now_ms = now_ms
        if self._between.new_items:
            co_clicks = self._log.co_clicks
            self._place(co_clicks.items[clicks], co_clicks.neighbours[clicks])
        self.bias_V = self._bias()

    def _count(self, events: slice, now_ms: int) -> npt.NDArray[np.int64]:
        """Add the events to the counts of `now_ms`: → their items, as far as there is room for them."""
        items_N, times_ms_N = self._log.items[events], self._log.times_ms[events]
        fits_N = items_N < len(self._counts_V)
        items_N = items_N[fits_N]
        left_N = np.exp2((times_ms_N[fits_N] - now_ms) / (self._between.half_life_s * 1000))
        self._counts_V += np.bincount(items_N, left_N, len(self._counts_V))
        return items_N

    def _place(self, items_N: npt.NDArray[np.int64], neighbours_N: npt.NDArray[np.int64]) -> None:
        """Move the new items' rows to the means over all neighbours so far that had a row themselves."""
        fits_N = (items_N >= self._known) & (np.maximum(items_N, neighbours_N) < len(self.can_step_V))
        items_N, neighbours_N = items_N[fits_N], neighbours_N[fits_N]
        chosen = self.can_step_V.numpy()[neighbours_N]
        items, neighbours = torch.from_numpy(items_N[chosen]), torch.from_numpy(neighbours_N[chosen])
        touched_U = torch.unique(items)
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
        enough_V = torch.from_numpy(self._events_V >= self._between.after_sessions)
        self.can_step_V[self._known :] = (enough_V & (self._neighbours_V > 0))[self._known :]

    def _log_counts(self) -> Tensor:
        return torch.from_numpy(np.log(self._counts_V + self._between.floor)).float()

    def _bias(self) -> Tensor:
        bias_V = self._own_bias_V + self._log_counts()
        if not self._between.popularity:
            bias_V[: self._known] = self._trained_bias_V
        return bias_V.masked_fill_(~self.can_step_V, -torch.inf)


def _with_room(table: Tensor, size: int) -> Tensor:
    return torch.cat([table, table.new_zeros((size - len(table), *table.shape[1:]))])
