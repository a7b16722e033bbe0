"""An earlier model to go on from: its weights and its optimizer's sums, moved to a grown vocabulary.

A row follows its item id, or its column's value. An item that the earlier model did not know begins as
in a new network, or at the mean of the known items that its first sessions clicked beside it. Without
the optimizer's sums every step would again be as large as the first step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.data.co_clicks import CoClicks
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.networks.network import GradientNetwork
from model.optimizers import Optimizer


@dataclass(frozen=True)
class WarmStart:
    """Weights by name, the optimizer's tensors by name, and the vocabulary of their rows.

    `learned_until_ms` is the newest event time that the model has learned from, None where it is not known.
    """

    weights: Mapping[str, Tensor]
    optimizer_state: Mapping[str, Tensor]
    vocabulary: Vocabulary
    learned_until_ms: int | None = None

    def knows_none_of(self, sessions: Sessions) -> bool:
        """Whether the model has surely learned from none of these sessions."""
        return self.learned_until_ms is not None and self.learned_until_ms < int(sessions.times_ms.min())

    def apply_to(
        self,
        network: GradientNetwork,
        optimizer: Optimizer,
        vocabulary: Vocabulary,
        neighbours_in: Sessions | None = None,
    ) -> None:
        """Overwrite the start of `network` and `optimizer`. Raises NextclickError when shapes do not fit.

        `neighbours_in` are the sessions to learn from: their new items begin at the means of their
        neighbours. With None, or without known neighbours, a new item begins as in a new network.
        """
        fresh = {name: tensor.cpu() for name, tensor in network.state_dict().items()}
        if fresh.keys() != self.weights.keys():
            differing = sorted(fresh.keys() ^ self.weights.keys())
            raise NextclickError(
                f"the earlier model differs in {', '.join(differing)}",
                "A training can go on only with the same kind of network.",
                "Train with the earlier model's network, embedding and layers, or from the beginning.",
            )
        moves = {"item": _Move.of(self.vocabulary.encode(list(vocabulary.item_ids)))}
        features = vocabulary.features
        for column, values in features.values.items():
            moves[column] = _Move.of(self.vocabulary.features.codes_of(column, values))
        nothing = _Move.of(np.zeros(0, np.int64))

        def moved(name: str, old: Tensor, new: Tensor) -> Tensor:
            column, dimension = network.counted_dimension(name) or ("", None)
            return _moved(old, new, dimension, moves.get(column, nothing))

        network.load_state_dict({name: moved(name, self.weights[name], new) for name, new in fresh.items()})
        if neighbours_in is not None:
            place_new_items(network, neighbours_in, moves["item"].is_known.numpy())
        for name, tensor in self.optimizer_state.items():
            parameter, _, _ = name.rpartition(".")
            if tensor.ndim:
                new = moved(parameter, tensor, torch.zeros_like(fresh[parameter]))
                optimizer.state[name] = new.to(network.device)
            else:
                optimizer.state[name] = tensor.clone()


@dataclass(frozen=True)
class _Move:
    """Row moves from an earlier table: `before` and `now` pair row numbers; `is_known` marks old values."""

    is_known: Tensor
    before: Tensor
    now: Tensor

    @classmethod
    def of(cls, before_V: npt.NDArray[np.int64]) -> _Move:
        """Make the moves from each value's earlier index, -1 for a new value."""
        before = torch.from_numpy(before_V)
        now = torch.nonzero(before >= 0)[:, 0]
        return cls(before >= 0, before[now], now)


def _moved(old: Tensor, new: Tensor, dimension: int | None, move: _Move) -> Tensor:
    """Returns `old`; or, where `dimension` counts values, `new` with the old values' rows moved in."""
    if [s for d, s in enumerate(old.shape) if d != dimension] != [
        s for d, s in enumerate(new.shape) if d != dimension
    ]:
        raise NextclickError(
            f"the earlier model has a tensor of {tuple(old.shape)} where {tuple(new.shape)} is needed",
            "A training can go on only with the same sizes.",
            "Train with the earlier model's sizes, or from the beginning.",
        )
    if dimension is None:
        return old.clone()
    return new.clone().index_copy_(dimension, move.now, old.index_select(dimension, move.before))


@torch.no_grad()
def place_new_items(network: GradientNetwork, sessions: Sessions, is_known_V: npt.NDArray[np.bool_]) -> None:
    """Set the rows of each new item to the means of the known items clicked beside it."""
    co_clicks = CoClicks.of(sessions)
    chosen = ~is_known_V[co_clicks.items] & is_known_V[co_clicks.neighbours]
    items_M, place_N = np.unique(co_clicks.items[chosen], return_inverse=True)
    items, place = torch.from_numpy(items_M), torch.from_numpy(place_N)
    neighbours = torch.from_numpy(co_clicks.neighbours[chosen])
    counts_M = torch.bincount(place, minlength=len(items))
    for name in {network.input_table, network.output_table, network.bias_table}:
        if not network.get_parameter(name).requires_grad:
            continue
        table = network.get_parameter(name).data
        sums = table.new_zeros((len(items), *table.shape[1:]))
        sums.index_add_(0, place, table[neighbours])
        table[items] = sums / counts_M.view(-1, *[1] * (table.ndim - 1))
