"""Item-kNN: items that occur in the same sessions, and its forms that forget.

Hidasi et al., ICLR 2016, section 4: the similarity of two items is the number of sessions
that hold both over the root of the product of their supports, shrunk so that rare items
do not look alike by coincidence. The forms that forget add up over the session's newest items, each
weighted by exp(-λ age). In that of Ding, Li, CIKM 2005, the age is time and λ = 1/T₀; with the decay of 1
in table 1 of Donkers, Loepp, Ziegler, RecSys 2017, the age is the number of events since then.
Tested by tests/unit/model/networks/baselines/test_baselines.py.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from model.config import ModelConfig
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.networks.baselines.recent_items import recent_field, with_newest
from model.networks.baselines.transitions import Transitions
from model.networks.network import Columns, State, StateField

TIMES = "times"
DECAYED_ITEMS = 20  # older items weigh less than e^-20 at the published decay of 1


class ItemKNN(Transitions):
    """Scores the neighbours of the newest item: n_ij / √((n_i + λ) (n_j + λ)), λ = `config.shrinkage`."""

    def fit(self, sessions: Sessions, vocabulary: Vocabulary, config: ModelConfig) -> None:
        """Count the sessions of each item and of each pair; a repeat in a session counts once."""
        ones = np.ones(len(sessions.items))
        shape = (len(sessions), self.items)
        held = csr_matrix((ones, sessions.items.astype(np.int64), sessions.offsets), shape=shape)
        held.sum_duplicates()
        held.data[:] = 1
        support = np.asarray(held.sum(axis=0)).ravel() + config.shrinkage
        both = (held.T @ held).tocoo()
        apart = both.row != both.col
        rows, columns = both.row[apart], both.col[apart]
        weights = both.data[apart] / np.sqrt(support[rows] * support[columns])
        self.keep_strongest(rows, columns, weights)


class DecayedItemKNN(ItemKNN):
    """Σ over the session's items i, a events ago: exp(-λ a) sim(i, v), λ = `config.decay`."""

    def __init__(self, config: ModelConfig, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary)
        self._weight_R = torch.exp(-config.decay * torch.arange(DECAYED_ITEMS, dtype=torch.float64))

    def state_fields(self) -> tuple[StateField, ...]:
        """The newest items."""
        return (recent_field(DECAYED_ITEMS),)

    def advance(self, inputs: Columns, state: State) -> tuple[Tensor, State]:
        """The output is the newest items, B×R."""
        return with_newest(inputs, state)

    def score(self, output_BH: Tensor) -> tuple[Tensor, Tensor]:
        """All neighbours of the session's items, once each, and their sums: B×(R N)."""
        return self.sums(output_BH, self._weight_R.to(output_BH.device).expand(output_BH.shape))

    def sums(self, recent_BR: Tensor, weight_BR: Tensor) -> tuple[Tensor, Tensor]:
        """All neighbours of `recent_BR`, -1 for none, once each, and their weighted sums: B×(R N)."""
        item_BR = recent_BR.clamp(min=0).long()
        weight_BR = (recent_BR >= 0) * weight_BR
        ids = self.ids_VN[item_BR].flatten(1)
        scores = (self.scores_VN[item_BR] * weight_BR[:, :, None]).flatten(1)
        ids = ids.masked_fill(scores == 0, -1)
        # Sorted, equal neighbours are next to each other; the first of each gets the sum.
        ids, order = ids.sort(dim=1, stable=True)
        scores = scores.gather(1, order)
        first = torch.cat([torch.ones_like(ids[:, :1], dtype=torch.bool), ids[:, 1:] != ids[:, :-1]], 1)
        group = first.cumsum(1) - 1
        sums = torch.zeros_like(scores).scatter_add_(1, group, scores)
        names = torch.full_like(ids, -1).scatter_(1, group, ids)
        return names, sums.masked_fill(names < 0, -torch.inf)


class TimeWeightedItemKNN(DecayedItemKNN):
    """Σ over the session's items i: exp(-age(i) / T₀) sim(i, v), T₀ = `config.decay_time_s`.

    An item's age is the time from its event to the session's newest one; an event without a time counts as
    new. The paper divides by the sum of weights, for ratings: of events, whose ratings are all one, every
    item would then have the same score. It finds T₀ for each user and cluster of items; here it is a setting.
    """

    columns = ("item", "event_time_ms")

    def __init__(self, config: ModelConfig, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary)
        self._decay_time_ms = 1000 * config.decay_time_s

    def state_fields(self) -> tuple[StateField, ...]:
        """The newest items, and the times of their events."""
        return (*super().state_fields(), StateField(TIMES, (DECAYED_ITEMS,), torch.int64, initial=-1))

    def advance(self, inputs: Columns, state: State) -> tuple[Tensor, State]:
        """The output is the newest items and their weights, B×2R, float64."""
        recent_BR, after = with_newest(inputs, state)
        time_BR = torch.cat([inputs["event_time_ms"].long()[:, None], state[TIMES][:, :-1]], 1)
        # A late event is older than the one before it.
        age_BR = (time_BR.amax(1, keepdim=True) - time_BR) * (time_BR >= 0)
        weight_BR = torch.exp(-age_BR.double() / self._decay_time_ms)
        return torch.cat([recent_BR.double(), weight_BR], 1), {**after, TIMES: time_BR}

    def score(self, output_BH: Tensor) -> tuple[Tensor, Tensor]:
        """All neighbours of the session's items, once each, and their sums: B×(R N)."""
        return self.sums(output_BH[:, :DECAYED_ITEMS], output_BH[:, DECAYED_ITEMS:])
