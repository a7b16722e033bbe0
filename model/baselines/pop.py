"""POP: for every session, the most popular items of the training data.

The baseline of Hidasi et al., ICLR 2016, section 4. A network like the others: its scores
are the training counts, and it has no state.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.network import Columns, Network, State, StateField
from model.vocabulary import Vocabulary


class Pop(Network):
    """Scores every item by its count in the training data."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.items = len(vocabulary)
        # Equal counts rank by index: the fraction is below any difference of counts.
        tie = torch.arange(self.items, dtype=torch.float64) / (2 * max(1, self.items))
        self.register_buffer("scores_V", torch.from_numpy(vocabulary.counts).double() - tie)

    def state_fields(self) -> tuple[StateField, ...]:
        """None."""
        return ()

    def advance(self, inputs: Columns, state: State) -> tuple[Tensor, State]:
        """The output only carries the number of sessions."""
        return torch.zeros((len(inputs["item"]), 0)), state

    def score(self, output_BH: Tensor) -> Tensor:
        """The counts, B×V."""
        return self.get_buffer("scores_V").expand(len(output_BH), -1)
