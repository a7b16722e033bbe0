"""The data of a training: sessions, and the vocabulary of their item indices.

Tested by tests/unit/model/comparison/test_challenger.py.
"""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from model.config import ModelConfig
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.networks.by_name import columns_of


class TrainingData(NamedTuple):
    """Sessions to learn from, their vocabulary, and `validation` sessions to evaluate after each epoch."""

    sessions: Sessions
    vocabulary: Vocabulary
    validation: Sessions | None = None

    @classmethod
    def from_frame(
        cls,
        events: pd.DataFrame,
        config: ModelConfig,
        *,
        counted: pd.DataFrame | None = None,
        earlier: Vocabulary | None = None,
    ) -> TrainingData:
        """Cut and read the events as `config` says.

        The vocabulary has the items of `earlier` first, then the items of `counted` (None: of `events`),
        with the counts of `counted`.

        >>> columns = {"session_id": ["s", "s"], "item_id": ["a", "b"], "event_time_ms": [0, 1000]}
        >>> data = TrainingData.from_frame(pd.DataFrame(columns), ModelConfig())
        >>> data.sessions.pairs, data.vocabulary.item_ids.tolist()
        (1, ['a', 'b'])
        """
        vocabulary = Vocabulary.from_frame(events if counted is None else counted, columns_of(config))
        if earlier is not None:
            vocabulary, _ = vocabulary.grown_from(earlier)
        sessions = Sessions.from_frame(events, vocabulary, SessionRule(config.session_gap_s))
        return cls(sessions, vocabulary)
