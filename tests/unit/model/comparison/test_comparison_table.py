"""What a comparison counts, and which of its figures say little."""

import json

import numpy as np
import pytest

from model.comparison.compare import Comparison, compare
from model.comparison.table import markdown
from model.config import ModelConfig
from model.data.sessions import Sessions
from model.data.splits import LogSplit, split_users
from model.data.vocabulary import Vocabulary
from tests.harness.titled import titled_log

ALPHABET = "abcd"


def sessions_of(log: list[str]) -> Sessions:
    items = np.array([ALPHABET.find(item) for session in log for item in session])
    offsets = np.r_[0, np.cumsum([len(session) for session in log])]
    ids = np.array([f"s{number}" for number in range(len(log))], object)
    return Sessions(offsets, items, np.arange(len(items)), ids)


def compared(training: Sessions, test: Sessions, **settings: object) -> Comparison:
    vocabulary = Vocabulary(list(ALPHABET), np.bincount(training.items, minlength=4))
    config = ModelConfig.model_validate({"network": "pop", **settings})
    return compare({"pop": config}, LogSplit(training, test, vocabulary), all_items=False)


@pytest.mark.parametrize("targets", ["all", "last"])
def test_the_test_events_are_those_ranked_and_left_out_and_leading_to_one(targets: str) -> None:
    comparison = compared(
        sessions_of(["abc", "bcd", "a"]), sessions_of(["ab", "a?b", "?c", "cda", "d"]), targets=targets
    )
    counts = comparison.counts
    assert counts is not None
    assert (counts.training_sequences, counts.training_events, counts.training_targets) == (3, 7, 4)
    assert (counts.test_sequences, counts.test_events) == (5, 11)
    assert counts.ranked == comparison.targets == (4 if targets == "all" else 3)
    # Of "last" targets none is unknown: ? never stands at the end.
    assert counts.unknown == (2 if targets == "all" else 0)
    assert counts.ranked + counts.unknown + counts.leading == counts.test_events
    text = markdown(comparison)
    assert f"11 events = {counts.ranked} next events ranked + {counts.unknown} of unknown" in text


def test_the_counts_of_a_split_by_user_add_up_too() -> None:
    users = sessions_of(["abcd" * 6, "dcba" * 3, "ab"])
    vocabulary = Vocabulary(list(ALPHABET), np.bincount(users.items, minlength=4))
    counts = compare({"pop": ModelConfig(network="pop")}, split_users(users, vocabulary)).counts
    assert counts is not None
    assert (counts.training_events, counts.test_events) == (38 - 3, 36)
    assert (counts.ranked, counts.leading) == (2, 34)


def test_a_figure_of_too_few_targets_is_named_and_one_of_many_is_not() -> None:
    training = sessions_of(["ab", "cd"] * 10)
    few = compared(training, sessions_of(["ab", "cd", "ab"]))
    assert few.saying_little == {"Recall@20": ["pop"], "MRR@20": ["pop"]}
    assert "Of too few targets to mean anything" in markdown(few)
    assert json.loads(json.dumps(few.as_dict()))["saying_little"]["MRR@20"] == ["pop"]
    many = compared(training, sessions_of(["ab", "cd"] * 100))
    assert many.saying_little == {}
    assert "too few" not in markdown(many)


def test_a_network_that_predicts_vectors_has_its_errors_in_the_table() -> None:
    log = titled_log(makes=4)
    config = log.config(epochs=1, loss="mse")
    comparison = compare(
        {"text": config, "pop": ModelConfig(network="pop")},
        LogSplit(log.training, log.training, log.vocabulary),
    )
    text, pop = comparison.rows
    assert text.mse is not None
    assert text.loss == text.mse, "its loss is the squared error"
    assert text.mae is not None
    assert 0 < text.mse.mean < text.mae.mean < 1
    assert (pop.loss, pop.mse, pop.mae) == (None, None, None)
    head, _, first, second = markdown(comparison).splitlines()[:4]
    assert head.endswith("| MSE | MAE |")
    assert first.count("|") == second.count("|") == head.count("|")
