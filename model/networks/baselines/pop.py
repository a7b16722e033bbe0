"""POP: for every session, the most popular items of the training data, or of its newest part.

The baseline of Hidasi et al., ICLR 2016, section 4. A network without state whose scores are counts.
Here the training data are counted once; `item_counts` counts a window that moves.
Tested by tests/unit/model/networks/baselines/test_baselines.py.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.config import ModelConfig
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.networks.network import Columns, CountingNetwork, State, StateField


def ranked(counts: npt.NDArray[np.int64]) -> Tensor:
    """Counts as scores, V float64; equal counts rank by index.

    >>> ranked(np.array([1, 3, 3])).argsort(descending=True).tolist()
    [1, 2, 0]
    """
    tie = np.arange(len(counts), dtype=np.float64) / (2 * max(1, len(counts)))
    return torch.from_numpy(counts.astype(np.float64) - tie)


def below_one(scores_V: Tensor) -> Tensor:
    """Scores of the same order in [0, 1): added to counts, they only break ties."""
    from_zero_V = scores_V - scores_V.min()
    return from_zero_V / (from_zero_V.max() + 1)


class Pop(CountingNetwork):
    """Scores every item by its count in the training data, which is in the vocabulary."""

    scores_V: Tensor

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.items = len(vocabulary)
        self.register_buffer("scores_V", ranked(vocabulary.counts))

    def fit(self, sessions: Sessions, vocabulary: Vocabulary, config: ModelConfig) -> None:
        """Learn nothing: the vocabulary has the counts."""

    def state_fields(self) -> tuple[StateField, ...]:
        """No state."""
        return ()

    def advance(self, inputs: Columns, state: State) -> tuple[Tensor, State]:
        """Return an empty output, B×0: only the number of sessions matters."""
        return torch.zeros((len(inputs["item"]), 0), device=self.scores_V.device), state

    def score(self, output_BH: Tensor) -> Tensor:
        """The counts, B×V."""
        return self.scores_V.repeat(len(output_BH), 1)


class WindowPop(Pop):
    """POP of the newest `config.window_s` seconds of the training data; equal counts rank by POP."""

    def __init__(self, config: ModelConfig, vocabulary: Vocabulary) -> None:
        super().__init__(vocabulary)

    def fit(self, sessions: Sessions, vocabulary: Vocabulary, config: ModelConfig) -> None:
        """Count the events of the window that ends with the newest event."""
        newest = sessions.times_ms > sessions.times_ms.max() - config.window_s * 1000
        recent = np.bincount(sessions.items[newest], minlength=self.items)
        self.scores_V.copy_(below_one(ranked(vocabulary.counts)) + torch.from_numpy(recent))
