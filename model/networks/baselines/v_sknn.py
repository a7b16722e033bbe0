"""V-SkNN, vector multiplication session-based kNN: what similar sessions held.

Ludewig, Jannach: Evaluation of Session-based Recommendation Algorithms, UMUAI 2018: the
session is a vector over items whose weights fall linearly with age, past sessions are
binary vectors, similarity is their product; an item's score is the sum of the
similarities of the nearest sessions that hold it.

Shapes: B sessions, V items, S past sessions, P their distinct (session, item) pairs.
Tested by tests/unit/model/networks/baselines/test_baselines.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.config import ModelConfig
from model.data.sessions import RECENT_ITEMS, Sessions
from model.data.vocabulary import Vocabulary
from model.networks.baselines.recent_items import recent_field, with_newest
from model.networks.network import Columns, CountingNetwork, State, StateField

Indices = npt.NDArray[np.int64]


class VSkNN(CountingNetwork):
    """Compares with the newest `config.sampled_sessions`; adds up over the `config.neighbours` nearest."""

    session_begins_S: Tensor
    session_items_P: Tensor
    item_begins_V: Tensor
    item_sessions_P: Tensor

    def __init__(self, config: ModelConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.items = len(vocabulary)
        self.neighbours = config.neighbours
        self.sampled_sessions = config.sampled_sessions
        for name in ("session_begins_S", "session_items_P", "item_begins_V", "item_sessions_P"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.int64))

    def _apply(self, fn: Any, recurse: bool = True) -> VSkNN:
        """Stay on the CPU, whatever the device: numpy reads the arrays."""
        return self

    def fit(self, sessions: Sessions, vocabulary: Vocabulary, config: ModelConfig) -> None:
        """Keep the distinct items of each session, by session and by item; sessions by their last event."""
        last = np.argsort(sessions.times_ms[sessions.offsets[1:] - 1], kind="stable")
        age = np.empty(len(last), np.int64)
        age[last] = np.arange(len(last))
        pairs = np.unique(np.repeat(age, sessions.lengths) * self.items + sessions.items)
        session, item = pairs // self.items, pairs % self.items
        by_item = np.argsort(item, kind="stable")
        found = {
            "session_begins_S": np.searchsorted(session, np.arange(len(sessions) + 1)),
            "session_items_P": item,
            "item_begins_V": np.searchsorted(item[by_item], np.arange(self.items + 1)),
            "item_sessions_P": session[by_item],
        }
        for name, array in found.items():
            self.register_buffer(name, torch.from_numpy(array.astype(np.int64)))

    def fault(self) -> str:
        """Names the array that does not lie over its pairs, or names what is not there."""
        if not any(len(buffer) for buffer in self.buffers()):
            # It has not learned yet.
            return ""
        sessions = max(0, len(self.session_begins_S) - 1)
        if len(self.item_begins_V) != self.items + 1:
            return f"item_begins_V has {len(self.item_begins_V)} rows, not {self.items + 1}"
        for begins, values, most in (
            ("session_begins_S", "session_items_P", self.items),
            ("item_begins_V", "item_sessions_P", sessions),
        ):
            rows, pairs = self.get_buffer(begins), self.get_buffer(values)
            if not len(rows) or rows[0] != 0 or rows[-1] != len(pairs) or (rows.diff() < 0).any():
                return f"{begins} does not lie over {values}"
            if ((pairs < 0) | (pairs >= most)).any():
                return f"{values} names what is not there"
        return ""

    def state_fields(self) -> tuple[StateField, ...]:
        """The newest items."""
        return (recent_field(RECENT_ITEMS),)

    def advance(self, inputs: Columns, state: State) -> tuple[Tensor, State]:
        """The output is the newest items, B×R."""
        return with_newest(inputs, state)

    def score(self, output_BH: Tensor) -> tuple[Tensor, Tensor]:
        """The items of the nearest sessions and their scores, padded to the longest: both B×N."""
        rows = [self._score_one(row[row >= 0]) for row in output_BH.cpu().numpy().astype(np.int64)]
        width = max(1, *(len(ids) for ids, _ in rows))
        ids_BN = np.full((len(rows), width), -1, np.int64)
        scores_BN = np.full((len(rows), width), -np.inf)
        for row, (ids, scores) in enumerate(rows):
            ids_BN[row, : len(ids)], scores_BN[row, : len(ids)] = ids, scores
        device = output_BH.device
        return torch.from_numpy(ids_BN).to(device), torch.from_numpy(scores_BN).to(device)

    def _score_one(self, recent_R: Indices) -> tuple[Indices, npt.NDArray[np.float64]]:
        # If an item came twice, the newer place counts.
        items, age = np.unique(recent_R, return_index=True)
        weights = 1 - age / len(recent_R)
        begins, ends = self.item_begins_V.numpy(), self.item_begins_V.numpy()[1:]
        # The newest sessions of all are among the newest of each item.
        starts = np.maximum(begins[items], ends[items] - self.sampled_sessions)
        holding = _concatenated(self.item_sessions_P.numpy(), starts, ends[items])
        sessions, inverse = np.unique(holding, return_inverse=True)
        similarity = np.bincount(inverse, np.repeat(weights, ends[items] - starts))
        sessions, similarity = sessions[-self.sampled_sessions :], similarity[-self.sampled_sessions :]
        # Equal similarities: the newer session is nearer.
        nearest = np.lexsort((-sessions, -similarity))[: self.neighbours]
        begins = self.session_begins_S.numpy()
        starts, stops = begins[sessions[nearest]], begins[sessions[nearest] + 1]
        ids, inverse = np.unique(
            _concatenated(self.session_items_P.numpy(), starts, stops), return_inverse=True
        )
        scores = np.bincount(inverse, np.repeat(similarity[nearest], stops - starts), len(ids))
        return ids, scores.astype(np.float64)


def _concatenated(values: Indices, starts: Indices, stops: Indices) -> Indices:
    """The slices values[start:stop], one after another."""
    lengths = stops - starts
    places = np.repeat(starts - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())
    return np.asarray(values[places], np.int64)
