from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from model.baselines.pop import Pop
from model.config import ModelConfig
from model.errors import NextclickError
from model.evaluate import evaluate
from model.sessions import SessionRule, Sessions
from model.train import train
from model.vocabulary import Vocabulary
from replay import datasets
from replay.synthetic import markov_shoppers

CONFIG = ModelConfig(hidden_size=32, epochs=4, negatives=64, learning_rate=0.1)
RULE = SessionRule(1800)


def recall_of(frame: pd.DataFrame, config: ModelConfig) -> tuple[float, float]:
    """Recall@20 of a network and of POP, trained on the earlier nine tenths of the sessions."""
    cut = int(len(frame) * 0.9)
    vocabulary = Vocabulary.from_frame(frame[:cut])
    earlier = Sessions.from_frame(frame[:cut], vocabulary, RULE)
    later = Sessions.from_frame(frame[cut:], vocabulary, RULE)
    result = train(earlier, vocabulary, config)
    return evaluate(result.network, later, k=5).recall, evaluate(Pop(vocabulary), later, k=5).recall


def test_a_network_learns_who_follows_whom_and_shuffled_data_teach_nothing() -> None:
    log = markov_shoppers(sessions=4000, items=200, noise=0.1, seed=1).frame
    network, pop = recall_of(log, CONFIG)
    assert network > 0.6, "nine tenths of the next items are among five known ones"
    assert pop < 0.15
    shuffled = log.copy()
    shuffled["item_id"] = np.random.default_rng(0).permutation(shuffled["item_id"].to_numpy())
    network, pop = recall_of(shuffled, CONFIG)
    assert network < 0.15


def test_the_same_seed_trains_the_same_weights() -> None:
    log = markov_shoppers(sessions=200, items=50, seed=2).frame
    vocabulary = Vocabulary.from_frame(log)
    sessions = Sessions.from_frame(log, vocabulary, RULE)
    first, second = (train(sessions, vocabulary, CONFIG).network.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_training_touches_only_the_rows_of_its_items() -> None:
    log = markov_shoppers(sessions=50, items=20, seed=3).frame
    extra = [f"never-{n}" for n in range(30)]
    known = Vocabulary.from_frame(log)
    vocabulary = Vocabulary([*known.item_ids, *extra], np.r_[known.counts, np.zeros(30, np.int64)])
    config = CONFIG.model_copy(update={"negatives": 0, "epochs": 1})
    sessions = Sessions.from_frame(log, vocabulary, RULE)
    torch.manual_seed(config.seed)
    trained = train(sessions, vocabulary, config).network
    assert (trained.bias_V[len(known) :] == 0).all()
    assert (trained.bias_V[: len(known)] != 0).any()


def test_one_event_sessions_teach_nothing_and_say_so() -> None:
    log = markov_shoppers(sessions=50, items=20, seed=3).frame.drop_duplicates("session_id")
    vocabulary = Vocabulary.from_frame(log)
    with pytest.raises(NextclickError, match="no session has two events"):
        train(Sessions.from_frame(log, vocabulary, RULE), vocabulary, CONFIG)


def test_a_diverged_training_stops_and_names_the_batch() -> None:
    log = markov_shoppers(sessions=50, items=20, seed=3).frame
    vocabulary = Vocabulary.from_frame(log)
    sessions = Sessions.from_frame(log, vocabulary, RULE)
    config = ModelConfig.model_construct(**{**CONFIG.model_dump(), "learning_rate": float("inf")})
    with pytest.raises(NextclickError, match="at batch"):
        train(sessions, vocabulary, config)


def test_rsc15_reaches_the_published_quality(shared_data: Path) -> None:
    folder = shared_data / "rsc15"
    earlier = datasets.load([folder / "yoochoose-clicks-100k_train_full.txt"])
    later = datasets.load([folder / "yoochoose-clicks-100k_test.txt"])
    vocabulary = Vocabulary.from_frame(earlier)
    as_logged = SessionRule(None)
    result = train(
        Sessions.from_frame(earlier, vocabulary, as_logged), vocabulary, ModelConfig(session_gap_s=None)
    )
    scored = evaluate(result.network, Sessions.from_frame(later, vocabulary, as_logged))
    assert scored.targets == 10_152
    assert scored.recall >= 0.67
    assert scored.mrr >= 0.34
