"""An earlier model to go on from: its weights and its optimizer's sums, moved to a grown vocabulary.

Rows follow their item id, or the value they are of. Items that the earlier model did not
know begin as in a new network, or where the known items stand that their first sessions
clicked beside them. Without the optimizer's sums every step would be as large as the first
again.
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
    """Weights by name, the optimizer's tensors by name, and whose rows they hold."""

    weights: Mapping[str, Tensor]
    optimizer_state: Mapping[str, Tensor]
    vocabulary: Vocabulary

    def put_into(
        self,
        network: GradientNetwork,
        optimizer: Optimizer,
        vocabulary: Vocabulary,
        neighbours_in: Sessions | None = None,
    ) -> None:
        """Overwrite what `network` and `optimizer` begin with. Raises NextclickError when they do not fit.

        `neighbours_in` are sessions to be learned from: items that are new in them begin at their
        neighbours' means. None, or an item without known neighbours: as in a new network.
        """
        fresh = network.state_dict()
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
                optimizer.state[name] = moved(parameter, tensor, torch.zeros_like(fresh[parameter]))
            else:
                optimizer.state[name] = tensor.clone()


@dataclass(frozen=True)
class _Move:
    """Where the rows of an earlier table go: `before` and `now` in pairs; new values are not known."""

    is_known: Tensor
    before: Tensor
    now: Tensor

    @classmethod
    def of(cls, before_V: npt.NDArray[np.int64]) -> _Move:
        """From each value's earlier index, -1 where it had none."""
        before = torch.from_numpy(before_V)
        now = torch.nonzero(before >= 0)[:, 0]
        return cls(before >= 0, before[now], now)


def _moved(old: Tensor, new: Tensor, dimension: int | None, move: _Move) -> Tensor:
    """`old`; or, where `dimension` counts values, `new` with the rows of the values that `old` has."""
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
    """Put each item that is not known, but clicked beside known ones, at the mean of their rows."""
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
