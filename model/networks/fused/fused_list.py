"""The fused list: several sources propose items, and a ranker has learned whom to believe when.

The recurrent network keeps its one incremental step; beside its state lie the session's newest items,
which the other sources read.

Shapes: B sessions, R newest items, H units of the network's output, N items that the network proposes,
C candidates.
Tested by tests/unit/model/training/test_fused_training.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.config import ModelConfig
from model.data.sessions import RECENT_ITEMS
from model.data.vocabulary import Vocabulary
from model.networks.baselines.recent_items import NAME, recent_field, with_newest
from model.networks.best_items import best_items
from model.networks.fused.candidates import gather
from model.networks.fused.left_out_sources import check_sources, without
from model.networks.fused.live_tables import STANDING, live_data
from model.networks.fused.ranker import Ranker
from model.networks.fused.source_arrays import SOURCES, STANDING_FEATURES
from model.networks.fused.source_lists import source_lists
from model.networks.fused.source_tables import SourceTables
from model.networks.network import Columns, GradientNetwork, Network, State, StateField

SAMPLED_SESSIONS = 200  # newest sessions of an item; more changed no measure, and cost time
PROPOSED = 50  # items that the network proposes


class Proposals(NamedTuple):
    """The candidates, B×C, padded with -1, their features, B×C×F, and each session's number of them."""

    ids_BC: npt.NDArray[np.int64]
    features_BCF: npt.NDArray[np.float32]
    count_B: npt.NDArray[np.int64]


class FusedList(Network):
    """A gradient network, sources that count, and a ranker, behind the one interface of all networks."""

    sized_by_data = ("sources.",)
    added_later = ("following_ranker.",)
    goes_on = True

    def __init__(self, network: GradientNetwork, config: ModelConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        check_sources(config.without_sources)
        self.without_sources = config.without_sources
        self.items = len(vocabulary)
        self.network = network
        self.columns = network.columns  # type: ignore[misc]
        self.proposed = min(PROPOSED, self.items)
        self.sources = SourceTables(self.items)
        self.ranker = Ranker(STANDING_FEATURES)
        # Orders what the sources propose while they follow the events.
        self.following_ranker = Ranker()
        # What the sources learned from events as they came; set between two steps.
        self.live = STANDING
        self.neighbours = config.neighbours
        self.sampled_sessions = min(SAMPLED_SESSIONS, config.sampled_sessions)

    @property
    def follows(self) -> bool:
        """Whether its sources learn from events as they come."""
        return len(self.live.row_V) > 0

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
        return self.rank(self.candidates(output_BH, *self.propose(output_BH)), output_BH.device)

    def propose(self, output_BH: Tensor) -> tuple[Tensor, Tensor]:
        """The network's best items and their scores, B×N, best first."""
        return best_items(self.network.score(self.network_output(output_BH)), self.proposed)

    def output_of(self, state: State) -> Tensor | None:
        """The network's output that came with this state."""
        return self.network.output_of(state)

    def scored_output_of(self, state: State) -> Tensor | None:
        """The network's output that came with this state, then the newest items, as `advance` has them."""
        output_BH = self.network.scored_output_of(state)
        if output_BH is None:
            return None
        return torch.cat([output_BH.double(), state[NAME].to(output_BH.device).double()], 1)

    def network_output(self, output_BH: Tensor) -> Tensor:
        """The network's part of the output, B×H."""
        return output_BH[:, :-RECENT_ITEMS].float()

    def rank(self, proposals: Proposals, device: torch.device) -> tuple[Tensor, Tensor]:
        """The candidates and the ranker's scores of them, B×C, in no order."""
        ranker = self.following_ranker if self.follows else self.ranker
        scores_BC = ranker.scores(proposals.features_BCF, proposals.count_B)
        widest = max(1, int(proposals.count_B.max(initial=0)))
        return (
            torch.from_numpy(proposals.ids_BC[:, :widest]).to(device),
            torch.from_numpy(scores_BC[:, :widest]).to(device),
        )

    def candidates(self, output_BH: Tensor, ids_BN: Tensor, scores_BN: Tensor) -> Proposals:
        """What all sources propose, given the network's best items and scores, best first."""
        return self.candidates_after(output_BH[:, -RECENT_ITEMS:].int().cpu().numpy(), ids_BN, scores_BN)

    def candidates_after(
        self, recent_BR: npt.NDArray[np.int32], ids_BN: Tensor, scores_BN: Tensor
    ) -> Proposals:
        """As `candidates`, given the sessions' newest items, newest first, padded with -1."""
        arrays = self.sources.arrays()
        found = gather(
            recent_BR,
            ids_BN.contiguous().cpu().numpy(),
            scores_BN.float().contiguous().cpu().numpy(),
            arrays,
            self.live,
            self.neighbours,
            self.sampled_sessions,
        )
        if self.without_sources:
            found = without(*found, self.without_sources, arrays.popular_N)
        return Proposals(*found)

    def lists_by_source(
        self, proposals: Proposals, left_out_BM: npt.NDArray[np.int64] | None, k: int
    ) -> npt.NDArray[np.int32]:
        """The best k of each source alone, B×S×k in the order of SOURCES, as `source_lists` says."""
        if left_out_BM is None:
            left_out_BM = np.empty((len(proposals.ids_BC), 0), np.int64)
        have_data = {**self.sources.have_data(), **live_data(self.live)}
        have_data["neighbours"] |= self.live.sessions.end > 0
        have_data.update(dict.fromkeys(self.without_sources, False))
        by_S = [feature if have_data.get(name, True) else -1 for name, feature in SOURCES.items()]
        return source_lists(*proposals, left_out_BM, np.array(by_S), k)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load the weights. Raises RuntimeError when they do not fit each other."""
        prefix = "sources."
        self.sources.take(
            {name[len(prefix) :]: array for name, array in state_dict.items() if name.startswith(prefix)}
        )
        # A version of before the sources followed the events lacks the second ranker.
        is_older = not any(name.startswith(self.added_later) for name in state_dict)
        if is_older:
            state_dict = {**self.following_ranker.state_dict(prefix="following_ranker."), **state_dict}
        result = super().load_state_dict(state_dict, strict, assign)
        if is_older:
            self.following_ranker.take(self.ranker)
        return result
