"""S-POP: the most popular items of the session itself, then of the training data.

Hidasi et al., ICLR 2016, section 4: counts in the session rank first, the global
popularity breaks their ties.
Tested by tests/unit/model/networks/baselines/test_baselines.py.
"""

from __future__ import annotations

from torch import Tensor

from model.config import ModelConfig
from model.data.sessions import RECENT_ITEMS
from model.data.vocabulary import Vocabulary
from model.networks.baselines.pop import Pop, below_one
from model.networks.baselines.recent_items import recent_field, with_newest
from model.networks.network import Columns, State, StateField


class SessionPop(Pop):
    """Scores an item by its count among the session's newest 50 events; POP's order breaks ties."""

    def __init__(self, config: ModelConfig, vocabulary: Vocabulary) -> None:
        super().__init__(vocabulary)
        # One more event in the session outranks any popularity.
        self.scores_V.copy_(below_one(self.scores_V))

    def state_fields(self) -> tuple[StateField, ...]:
        """The newest items."""
        return (recent_field(RECENT_ITEMS),)

    def advance(self, inputs: Columns, state: State) -> tuple[Tensor, State]:
        """The output is the newest items, B×R."""
        return with_newest(inputs, state)

    def score(self, output_BH: Tensor) -> Tensor:
        """Session count + popularity below 1, B×V."""
        scores_BV = self.scores_V.repeat(len(output_BH), 1)
        inside = (output_BH >= 0).to(scores_BV.dtype)
        return scores_BV.scatter_add_(1, output_BH.clamp(min=0).long(), inside)
