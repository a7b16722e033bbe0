"""Logs in which one field alone tells the next item: the network that reads it finds it, others cannot."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from model.comparison.challenger import challenge, contenders, finished, split_newest
from model.config import ModelConfig
from model.config_files import build_config, write_params
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.splits import split_sessions
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.evaluation.rank_targets import Evaluation, evaluate
from model.networks.by_name import columns_of
from model.registry.registry import Registry
from model.training.train import train
from model.training.warm_start import WarmStart
from tests.harness.commands import run, run_json

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


def write_mkechinov(path: Path, frame: pd.DataFrame) -> Path:
    """In the raw format of Kaggle's eCommerce events."""
    moments = pd.to_datetime(frame["event_time_ms"] + 1_570_000_000_000, unit="ms")
    columns = {
        "event_time": moments.dt.strftime("%Y-%m-%d %H:%M:%S UTC"),
        "event_type": "purchase",
        "product_id": frame["item_id"],
        "category_id": "1",
        "category_code": frame["category"],
        "brand": frame["brand"].where(frame.index % 5 != 0),
        "price": frame["price"].where(frame.index % 7 != 0),
        "user_id": "u",
        "user_session": frame["session_id"],
    }
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def test_the_command_trains_saves_and_evaluates_it_and_keeps_accuracy_and_loss_of_every_epoch(
    tmp_path: Path,
) -> None:
    log = write_mkechinov(tmp_path / "log.csv", told_by("brand", sessions=150))
    settings = FEATURE_LSTM.model_dump(exclude_defaults=True) | {"epochs": 2}
    write_params(tmp_path / "params.toml", build_config(settings), [])
    options: list[str | Path] = ["--registry", tmp_path / "registry"]
    trained = run_json("train", log, "--params", tmp_path / "params.toml", *options)
    evaluation = trained["evaluation"]
    assert 0 < evaluation["accuracy"] < 1 and 0 < evaluation["loss"] < 3
    assert len(trained["losses"]) == len(trained["accuracies"]) == len(trained["validation"]) == 2
    assert trained["accuracies"][1] > trained["accuracies"][0]
    assert all(epoch["loss"] > 0 and epoch["accuracy"] > 0 for epoch in trained["validation"])
    curves = tmp_path / "registry" / trained["version"] / "curves.png"
    assert curves.read_bytes().startswith(b"\x89PNG")
    model = Registry(tmp_path / "registry").load()
    assert model.vocabulary.features.columns == ("brand", "category", "price")
    again = run_json("evaluate", log, *options)
    assert again["targets"] > evaluation["targets"] and again["loss"] > 0
    longer = run_json("train", log, *options, "--start", "champion", "--epochs", "3")
    assert longer["losses"][0] < trained["losses"][-1]
    shown = run("train", log, *options, "--params", tmp_path / "params.toml").stdout
    assert "accuracy" in shown and "loss" in shown
    refused = run("train", log, *options, "--params", tmp_path / "params.toml", "--memory-map")
    assert isinstance(refused.exception, NextclickError)
    assert "the network reads brand, category, price too" in str(refused.exception)


def test_a_retraining_goes_on_with_brands_that_came_since() -> None:
    frame = told_by("brand", sessions=300)
    late = frame["event_time_ms"] > frame["event_time_ms"].median()
    frame.loc[late & (frame["brand"] == "b7"), "brand"] = "b-new"
    first = challenge(split_newest(frame[~late], 0.2, None), FEATURE_LSTM)
    assert "b-new" not in first.vocabulary.features.values["brand"]
    start = WarmStart(first.network.state_dict(), first.optimizer_state, first.vocabulary)
    split = split_newest(frame[late].reset_index(drop=True), 0.2, None)
    second = challenge(split, FEATURE_LSTM, champion=first.vocabulary, start=start)
    whole = finished(second, split)
    for challenger in (second, whole):
        values = challenger.vocabulary.features.values["brand"]
        assert values[: first.vocabulary.features.size("brand")] == first.vocabulary.features.values["brand"]
        assert values[-1] == "b-new"
    own, _, _ = contenders(second, None, split)
    assert (own.ranks.ranks == 1).mean() > 0.8
