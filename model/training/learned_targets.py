"""Which next events of the training sessions are learned: all, or the last one of each session.

Tested by tests/unit/model/training/test_last_targets.py.

Shapes: N positions of a batch, K of them whose next event is learned, H units of the output.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from model.config import ModelConfig
from model.data.batches import Batch
from model.data.sessions import Sessions
from model.networks.network import Columns, GradientNetwork, State


class Targets(NamedTuple):
    """A batch's targets that are learned, and the positions that they come after; None: after all."""

    items: Tensor
    places: Tensor | None = None

    def after(self, output_NH: Tensor) -> Tensor:
        """Returns the outputs that are scored against the targets, K×H."""
        return output_NH if self.places is None else output_NH.index_select(0, self.places)


class LearnedTargets:
    """The positions of a batch whose next event is learned; `total` of all sessions.

    >>> three = Sessions(np.array([0, 3]), np.array([0, 1, 2]), np.arange(3), np.array(["s"]))
    >>> learned = LearnedTargets(three, ModelConfig(targets="last"))
    >>> learned.total, learned.places(Batch(np.array([0, 1]), np.array([1, 1]), np.array([-1]))).tolist()
    (1, [1])
    """

    def __init__(self, sessions: Sessions, config: ModelConfig) -> None:
        self._is_learned = sessions.only_last().is_target if config.targets == "last" else None
        self.total = sessions.pairs if self._is_learned is None else int((sessions.lengths >= 2).sum())

    def places(self, batch: Batch) -> Tensor | None:
        """The K positions; None for all."""
        if self._is_learned is None:
            return None
        return torch.from_numpy(np.flatnonzero(self._is_learned[batch.rows + 1]))

    def count(self, batch: Batch) -> int:
        """The number of positions that are learned."""
        places_K = self.places(batch)
        return len(batch.rows) if places_K is None else len(places_K)


@torch.no_grad()
def pass_over(network: GradientNetwork, inputs: Columns, sizes_T: Tensor, state: State) -> State:
    """Returns the states after a batch of which nothing is learned."""
    inputs = network.complete_inputs(inputs, sizes_T, state)
    rows_NE = network.get_parameter(network.input_table)[inputs["item"]]
    return network.run_block({**inputs, **network.rows_of(inputs)}, rows_NE, sizes_T, state)[1]
