"""An earlier model to go on from: its weights and its optimizer's sums, moved to a grown vocabulary.

Rows follow their item id. Items that the earlier model did not know begin as in a new
network, or where the known items stand that their first sessions clicked beside them.
Without the optimizer's sums every step would be as large as the first again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from model.errors import NextclickError
from model.network import SampledNetwork
from model.new_items import place_new_items
from model.optimizers import Optimizer
from model.sessions import Sessions
from model.vocabulary import Vocabulary


@dataclass(frozen=True)
class WarmStart:
    """Weights by name, the optimizer's tensors by name, and whose rows they hold."""

    weights: Mapping[str, Tensor]
    optimizer_state: Mapping[str, Tensor]
    vocabulary: Vocabulary

    def put_into(
        self,
        network: SampledNetwork,
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
        before_V = torch.from_numpy(self.vocabulary.encode(list(vocabulary.item_ids)))
        now = torch.nonzero(before_V >= 0)[:, 0]
        before = before_V[now]
        weights = {}
        for name, tensor in fresh.items():
            weights[name] = _moved(self.weights[name], tensor, network.item_dimension(name), before, now)
        network.load_state_dict(weights)
        if neighbours_in is not None:
            place_new_items(network, neighbours_in, (before_V >= 0).numpy())
        for name, tensor in self.optimizer_state.items():
            parameter, _, _ = name.rpartition(".")
            like = torch.zeros_like(fresh[parameter]) if tensor.ndim else tensor
            dimension = network.item_dimension(parameter) if tensor.ndim else None
            optimizer.state[name] = _moved(tensor, like, dimension, before, now)


def _moved(old: Tensor, new: Tensor, dimension: int | None, before: Tensor, now: Tensor) -> Tensor:
    """`old`; or, where `dimension` counts items, `new` with the rows of the items that `old` has."""
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
    return new.clone().index_copy_(dimension, now, old.index_select(dimension, before))
