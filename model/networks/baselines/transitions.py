"""Item-to-item transitions: what came next after the same item, by count.

A first-order Markov chain (the "sequential rules" of Ludewig, Jannach, UMUAI 2018, with
one step). Of equal counts, the transition seen last ranks first.
Tested by tests/unit/model/networks/baselines/test_baselines.py.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from model.config import ModelConfig
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.networks.network import Columns, CountingNetwork, State, StateField


class Transitions(CountingNetwork):
    """Keeps the `config.neighbours` most counted next items of every item."""

    ids_VN: Tensor
    scores_VN: Tensor

    def __init__(self, config: ModelConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.items = len(vocabulary)
        self.register_buffer("ids_VN", torch.full((self.items, config.neighbours), -1))
        self.register_buffer("scores_VN", torch.zeros((self.items, config.neighbours), dtype=torch.float64))

    def fit(self, sessions: Sessions, vocabulary: Vocabulary, config: ModelConfig) -> None:
        """Count every (event, next event) pair."""
        inputs = np.delete(np.arange(len(sessions.items)), sessions.offsets[1:] - 1)
        pairs = sessions.items[inputs].astype(np.int64) * self.items + sessions.items[inputs + 1]
        # In order of the second event's time, so that the last of equal pairs is the latest.
        pairs = pairs[np.argsort(sessions.times_ms[inputs + 1], kind="stable")]
        distinct, from_the_end, counts = np.unique(pairs[::-1], return_index=True, return_counts=True)
        recency = (len(pairs) - from_the_end) / (len(pairs) + 1)
        self.keep_strongest(distinct // self.items, distinct % self.items, counts + recency)

    def keep_strongest(self, rows: np.ndarray, columns: np.ndarray, weights: np.ndarray) -> None:
        """Keep the heaviest columns of each row, best first, ties by index; pad with -1 / 0."""
        order = np.lexsort((columns, -weights, rows))
        rows, columns, weights = rows[order], columns[order], weights[order]
        place = np.arange(len(rows)) - np.searchsorted(rows, rows)
        kept = place < self.ids_VN.shape[1]
        where = torch.from_numpy(rows[kept]), torch.from_numpy(place[kept])
        self.ids_VN.fill_(-1)[where] = torch.from_numpy(columns[kept]).long()
        self.scores_VN.zero_()[where] = torch.from_numpy(weights[kept])

    def fault(self) -> str:
        """Names the neighbours that are no items."""
        ids = self.ids_VN
        return "ids_VN names items that are not there" if ((ids < -1) | (ids >= self.items)).any() else ""

    def state_fields(self) -> tuple[StateField, ...]:
        """No state: only the newest item counts."""
        return ()

    def advance(self, inputs: Columns, state: State) -> tuple[Tensor, State]:
        """The output is the item itself, B×1."""
        return inputs["item"][:, None], state

    def score(self, output_BH: Tensor) -> tuple[Tensor, Tensor]:
        """The item's neighbours and their scores, B×N."""
        item_B = output_BH[:, 0]
        ids_BN = self.ids_VN[item_B]
        return ids_BN, self.scores_VN[item_B].masked_fill(ids_BN < 0, -torch.inf)
