"""A made-up log in which only titles tell what comes next, and some items come in no training event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from model.config import ModelConfig
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary

KINDS = 8
RULE = SessionRule(1800)


@dataclass(frozen=True)
class TitledLog:
    """Sessions buy kind after kind of one make. `vocabulary` has all titles, `unseen` no training event.

    Every target of `into_unseen` is unseen; of `out_of_unseen` the first event of each session is.
    """

    vocabulary: Vocabulary
    unseen: frozenset[str]
    frame: pd.DataFrame
    training: Sessions
    into_unseen: Sessions
    out_of_unseen: Sessions

    def config(self, **changes: Any) -> ModelConfig:
        """Of a small text-gru."""
        return ModelConfig(
            **{
                "network": "text-gru",
                "loss": "cosine",
                "hidden_size": 48,
                "title_size": 32,
                "epochs": 12,
                "optimizer": "adam",
                "learning_rate": 0.005,
                "negatives": 32,
                **changes,
            }
        )


def titled_log(makes: int = 12, copies: int = 8, seed: int = 0) -> TitledLog:
    """Item m of kind k is followed by item m of kind k + 1; of every make one kind is never in training."""
    rng = np.random.default_rng(seed)
    items = {(kind, make): f"{make * KINDS + kind}" for make in range(makes) for kind in range(KINDS)}
    titles = {item: f"Thing{kind} by maker{make}" for (kind, make), item in items.items()}
    unseen = {(int(rng.integers(KINDS)), make) for make in range(makes)}
    sessions, into, out_of = [], [], []
    for kind, make in items:
        runs = [((kind + step) % KINDS, make) for step in range(3)]
        if not unseen & set(runs):
            sessions += copies * [runs]
        if runs[1] in unseen:
            into.append(runs[:2])
        if runs[0] in unseen:
            out_of.append(runs)
    rng.shuffle(sessions)
    frame = _frame([[items[place] for place in run] for run in sessions], titles)
    seen = Vocabulary.from_frame(frame)
    counts = [int(seen.counts[seen.index[item]]) if item in seen.index else 0 for item in titles]
    vocabulary = Vocabulary(list(titles), np.array(counts), titles)

    def cut(part: pd.DataFrame) -> Sessions:
        return Sessions.from_frame(part, vocabulary, RULE)

    return TitledLog(
        vocabulary,
        frozenset(items[place] for place in unseen),
        frame,
        cut(frame),
        cut(_frame([[items[place] for place in run] for run in into], titles)),
        cut(_frame([[items[place] for place in run] for run in out_of], titles)),
    )


def _frame(runs: list[list[str]], titles: dict[str, str]) -> pd.DataFrame:
    """An event a second."""
    rows = [(f"s{number}", item) for number, run in enumerate(runs) for item in run]
    frame = pd.DataFrame(rows, columns=["session_id", "item_id"])
    return frame.assign(
        event_time_ms=1_700_000_000_000 + 1000 * np.arange(len(frame)),
        kind="view",
        title=frame["item_id"].map(titles),
    )
