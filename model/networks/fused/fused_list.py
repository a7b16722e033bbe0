"""The fused list: several sources propose items, and a ranker has learned whom to believe when.

The recurrent network keeps its one incremental step; beside its state lie the session's newest items,
which the other sources read.

Shapes: B sessions, R newest items, H units of the network's output, N items that the network proposes,
C candidates.
Tested by tests/unit/model/training/test_fused_training.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.config import ModelConfig
from model.data.sessions import RECENT_ITEMS
from model.data.vocabulary import Vocabulary
from model.networks.baselines.recent_items import recent_field, with_newest
from model.networks.fused.candidates import gather
from model.networks.fused.ranker import Ranker
from model.networks.fused.source_tables import SourceTables
from model.networks.network import Columns, GradientNetwork, Network, State, StateField

SAMPLED_SESSIONS = 200  # newest sessions of an item; more changed no measure, and cost time
PROPOSED = 50  # items that the network proposes


class FusedList(Network):
    """A gradient network, sources that count, and a ranker, behind the one interface of all networks."""

    sized_by_data = ("sources.",)
    goes_on = True

    def __init__(self, network: GradientNetwork, config: ModelConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.items = len(vocabulary)
        self.network = network
        self.columns = network.columns  # type: ignore[misc]
        self.proposed = min(PROPOSED, self.items)
        self.sources = SourceTables(self.items)
        self.ranker = Ranker()
        self.neighbours = config.neighbours
        self.sampled_sessions = min(SAMPLED_SESSIONS, config.sampled_sessions)

    def state_fields(self) -> tuple[StateField, ...]:
        """The network's state, then the newest items."""
        return (*self.network.state_fields(), recent_field(RECENT_ITEMS))

    def advance(self, inputs: Columns, state: State) -> tuple[Tensor, State]:
        """The network's output, then the newest items, B×(H+R), in float64, which holds both exactly."""
        recent_BR, recent = with_newest(inputs, state)
        output_BH, network_state = self.network.advance(inputs, state)
        output = torch.cat([output_BH.double(), recent_BR.to(output_BH.device).double()], 1)
        return output, {**network_state, **recent}

    def score(self, output_BH: Tensor) -> tuple[Tensor, Tensor]:
        """The candidates and their scores, B×C."""
        return self.fuse(output_BH, *self.propose(output_BH))

    def propose(self, output_BH: Tensor) -> tuple[Tensor, Tensor]:
        """The network's best items and their scores, B×N, best first."""
        scores_BN, ids_BN = self.network.score(self.network_output(output_BH)).topk(self.proposed)
        return ids_BN, scores_BN

    def output_of(self, state: State) -> Tensor | None:
        """The network's output that came with this state."""
        return self.network.output_of(state)

    def network_output(self, output_BH: Tensor) -> Tensor:
        """The network's part of the output, B×H."""
        return output_BH[:, :-RECENT_ITEMS].float()

    def fuse(self, output_BH: Tensor, ids_BN: Tensor, scores_BN: Tensor) -> tuple[Tensor, Tensor]:
        """The candidates and their scores, B×C, given the network's best items and scores, best first."""
        ids_BC, features_BCF, count_B = self.candidates(output_BH, ids_BN, scores_BN)
        scores_BC = self.ranker.scores(features_BCF, count_B)
        widest = max(1, int(count_B.max(initial=0)))
        device = output_BH.device
        return (
            torch.from_numpy(ids_BC[:, :widest]).to(device),
            torch.from_numpy(scores_BC[:, :widest]).to(device),
        )

    def candidates(
        self, output_BH: Tensor, ids_BN: Tensor, scores_BN: Tensor
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """The candidates, B×C, padded with -1, their features, B×C×F, and each session's number of them."""
        return gather(
            output_BH[:, -RECENT_ITEMS:].int().cpu().numpy(),
            ids_BN.contiguous().cpu().numpy(),
            scores_BN.float().contiguous().cpu().numpy(),
            self.sources.arrays(),
            self.neighbours,
            self.sampled_sessions,
        )

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load the weights. Raises RuntimeError when they do not fit each other."""
        prefix = "sources."
        self.sources.take(
            {name[len(prefix) :]: array for name, array in state_dict.items() if name.startswith(prefix)}
        )
        return super().load_state_dict(state_dict, strict, assign)
