import json

import numpy as np
import pandas as pd
import pytest

from model.config import ModelConfig
from model.data.features import Features
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.splits import split_sessions
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.networks.by_name import build, columns_of
from model.networks.input_columns import InputColumns

COLUMNS = ("brand", "price")
LOG = pd.DataFrame(
    [
        ("s", "a", 0, "sony", 10.0),
        ("s", "b", 1000, "acer", 30.0),
        ("t", "a", 2000, "acer", None),
        ("t", "b", 3000, None, 20.0),
        ("u", "a", 90_000_000, "benq", 1e6),
        ("u", "b", 90_001_000, "acer", np.inf),
    ],
    columns=["session_id", "item_id", "event_time_ms", "brand", "price"],
)


def test_values_are_numbered_by_frequency_and_what_is_missing_or_unknown_is_minus_one() -> None:
    features = Features.from_frame(LOG, COLUMNS)
    assert features.values == {"brand": ["acer", "sony", "benq"]}
    assert features.encode("brand", ["benq", "never", None, "", float("nan"), "acer"]).tolist() == [
        2, -1, -1, -1, -1, 0,
    ]  # fmt: skip
    many = np.array(["sony", None, "never"] * 500, object)
    assert features.encode("brand", many).tolist() == [1, -1, -1] * 500


def test_a_price_that_is_missing_or_no_number_is_nan_and_the_scale_knows_the_others() -> None:
    features = Features.from_frame(LOG, COLUMNS)
    prices = features.encode("price", [1.5, None, np.inf, 1e300, float("nan")])
    assert prices.dtype == np.float32
    np.testing.assert_array_equal(prices, np.array([1.5, np.nan, np.nan, np.nan, np.nan], np.float32))
    logs = np.log1p([10, 30, 20, 1e6])
    assert features.price_scale == pytest.approx((logs.mean(), logs.std()))
    constant = Features.from_frame(LOG.assign(price=5.0), COLUMNS)
    assert constant.price_scale == pytest.approx((np.log1p(5), 1.0))


def test_a_time_is_read_as_it_is_and_a_missing_one_is_minus_one() -> None:
    times = Features().encode("event_time_ms", np.array([1_700_000_000_001, None], object))
    assert times.dtype == np.int64
    assert times.tolist() == [1_700_000_000_001, -1]
    vocabulary = Vocabulary.from_frame(LOG, ("event_time_ms",))
    # It has neither codes nor a scale to be saved.
    assert vocabulary.features.as_dict() == Features().as_dict()
    sessions = Sessions.from_frame(LOG, vocabulary, SessionRule(1800))
    network = build(ModelConfig(network="time-weighted-item-knn"), vocabulary)
    inputs = InputColumns(network, sessions).at(np.array([1, 4]))
    assert inputs["event_time_ms"].tolist() == [1000, 90_000_000]


def test_a_log_without_a_column_has_it_missing_throughout() -> None:
    bare = LOG[["session_id", "item_id", "event_time_ms"]]
    vocabulary = Vocabulary.from_frame(bare, COLUMNS)
    assert vocabulary.features.size("brand") == 0
    sessions = Sessions.from_frame(bare, vocabulary, SessionRule(1800))
    assert (sessions.columns["brand"] == -1).all()
    assert np.isnan(sessions.columns["price"]).all()


def test_the_split_leaves_the_features_what_training_has_seen() -> None:
    whole = Vocabulary.from_frame(LOG, COLUMNS)
    sessions = Sessions.from_frame(LOG, whole, SessionRule(1800))
    earlier, later, vocabulary = split_sessions(sessions, whole, test_from_ms=10_000)
    assert vocabulary.features.values == {"brand": ["acer", "sony"]}
    assert earlier.columns["brand"].tolist() == [1, 0, 0, -1]
    assert later.columns["brand"].tolist() == [-1, 0], "a brand that training has not seen is unknown"
    logs = np.log1p([10, 30, 20])
    assert vocabulary.features.price_scale == pytest.approx((logs.mean(), logs.std()))


def test_sessions_keep_their_columns_through_every_change() -> None:
    vocabulary = Vocabulary.from_frame(LOG[LOG["item_id"] != "zzz"], COLUMNS)
    log = pd.concat([LOG, LOG.assign(item_id="new", event_time_ms=LOG["event_time_ms"] + 500)])
    log = log.sort_values("event_time_ms", ignore_index=True)
    sessions = Sessions.from_frame(log, vocabulary, SessionRule(None))

    def brands(of: Sessions) -> list[int]:
        assert len(of.items) == len(of.columns["brand"]) == len(of.columns["price"])
        return list(of.columns["brand"])

    assert brands(sessions.known()) == [1, 0, 0, -1, 2, 0]
    assert brands(sessions.known().select(np.array([2, 0]))) == [2, 0, 1, 0]
    assert brands(sessions.known().between(1, 2)) == [0, -1]
    assert brands(sessions.known().boosted(0.5)) == [1, 1, 1, 0, 0, 0, 0, -1, 2, 2, 2, 0]
    assert brands(sessions.known().renamed(np.array([1, 0]))) == [1, 0, 0, -1, 2, 0]


def test_a_grown_vocabulary_keeps_the_earlier_numbers_and_the_earlier_scale() -> None:
    earlier = Vocabulary.from_frame(LOG[:4], COLUMNS)
    newer = Vocabulary.from_frame(LOG[4:].assign(item_id=["b", "c"]), COLUMNS)
    grown, _ = newer.grown_from(earlier)
    assert grown.features.values == {"brand": ["acer", "sony", "benq"]}
    assert grown.features.price_scale == earlier.features.price_scale
    assert newer.features.values == {"brand": ["benq", "acer"]}
    assert grown.features.renames_of(newer.features)["brand"].tolist() == [2, 0]


def test_a_vocabulary_comes_back_with_its_features_and_old_ones_without() -> None:
    vocabulary = Vocabulary.from_frame(LOG, COLUMNS)
    again = Vocabulary.from_json(vocabulary.to_json()).features
    assert (again.values, again.price_scale) == (vocabulary.features.values, vocabulary.features.price_scale)
    plain = Vocabulary.from_frame(LOG).to_json()
    assert json.loads(plain).keys() == {"item_ids", "counts", "titles"}
    assert Vocabulary.from_json(plain).features.columns == ()


def test_a_network_says_which_columns_it_misses() -> None:
    config = ModelConfig(network="feature-lstm", hidden_size=4)
    assert columns_of(config, ModelConfig()) == ("brand", "category", "price")
    vocabulary = Vocabulary.from_frame(LOG)
    sessions = Sessions.from_frame(LOG, vocabulary, SessionRule(1800))
    with pytest.raises(NextclickError, match="reads brand, category, price"):
        InputColumns(build(config, vocabulary), sessions)
