"""Logs in which one field alone tells the next item: the network that reads it finds it, others cannot."""

import numpy as np
import pandas as pd
import pytest

from model.config import ModelConfig
from model.evaluate import Evaluation, evaluate
from model.networks import columns_of
from model.sessions import SessionRule, Sessions, split_sessions
from model.train import train
from model.vocabulary import Vocabulary

KINDS = 8
FEATURE_LSTM = ModelConfig(
    network="feature-lstm", hidden_size=24, embedding="separate", embedding_size=8, brand_size=8,
    category_size=4, price_size=8, loss="full-cross-entropy", optimizer="adam", learning_rate=0.01,
    unroll=8, epochs=6,
)  # fmt: skip
GRU4REC = ModelConfig(
    hidden_size=24, loss="full-cross-entropy", optimizer="adam", learning_rate=0.01, epochs=6
)


def told_by(column: str, sessions: int = 500, length: int = 7, seed: int = 0) -> pd.DataFrame:
    """Sessions whose next item is the one of eight that the event's price, or brand, stands for."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(KINDS, size=(sessions, length))
    item = np.c_[rng.integers(KINDS, size=sessions), kind[:, :-1]]
    frame = pd.DataFrame(
        {
            "session_id": np.repeat([f"s{n}" for n in range(sessions)], length),
            "item_id": [f"i{n}" for n in item.ravel()],
            "event_time_ms": 60_000 * np.repeat(np.arange(sessions), length)
            + 1000 * np.tile(np.arange(length), sessions),
            "price": rng.gamma(2, 50, sessions * length),
            "brand": [f"b{n}" for n in rng.integers(KINDS, size=sessions * length)],
            "category": "c",
        }
    )
    if column == "price":
        # Eight levels, a factor of three apart, none exactly like another.
        frame["price"] = 5 * 3.0 ** kind.ravel() * rng.uniform(0.9, 1.1, kind.size)
    else:
        frame["brand"] = [f"b{n}" for n in kind.ravel()]
    return frame


def quality(frame: pd.DataFrame, config: ModelConfig) -> Evaluation:
    """Of the newest fifth of the sessions, after training on the others."""
    vocabulary = Vocabulary.from_frame(frame, columns_of(config))
    sessions = Sessions.from_frame(frame, vocabulary, SessionRule(1800))
    earlier, later, vocabulary = split_sessions(sessions, vocabulary, test_fraction=0.2)
    return evaluate(train(earlier, vocabulary, config).network, later)


@pytest.mark.parametrize("column", ["price", "brand"])
def test_where_one_field_alone_tells_the_next_item_only_the_feature_lstm_finds_it(column: str) -> None:
    frame = told_by(column)
    found = quality(frame, FEATURE_LSTM)
    assert found.accuracy > 0.9
    assert found.loss is not None and found.loss < 0.5
    assert quality(frame, GRU4REC).accuracy < 0.25, "items alone tell nothing: one in eight is chance"
    hidden = frame.assign(**{column: None})
    assert quality(hidden, FEATURE_LSTM).accuracy < 0.25, "what is missing cannot tell either"
