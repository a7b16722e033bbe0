import numpy as np
import pandas as pd

from model.config import ModelConfig
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.evaluation.step_time import step_times_ms
from model.networks.by_name import build
from tests.harness.markov_shoppers import markov_shoppers


def sessions_of(frame: pd.DataFrame, items: int) -> tuple[Sessions, Vocabulary]:
    vocabulary = Vocabulary([f"i{n}" for n in range(items)], np.ones(items, np.int64))
    return Sessions.from_frame(frame, vocabulary, SessionRule(1800)), vocabulary


def test_a_network_that_computes_fifty_times_as_much_takes_longer() -> None:
    frame = markov_shoppers(sessions=200, items=100).frame
    small, few = sessions_of(frame, 100)
    large, many = sessions_of(frame, 40_000)
    networks = [
        (build(ModelConfig(hidden_size=16), few), small),
        (build(ModelConfig(hidden_size=100), many), large),
    ]
    one, other = step_times_ms(networks)
    assert 0 < 3 * one < other


def test_without_known_items_there_is_no_time_and_no_error() -> None:
    frame = markov_shoppers(sessions=50, items=100).frame
    sessions, vocabulary = sessions_of(frame.assign(item_id="unknown"), 100)
    assert step_times_ms([(build(ModelConfig(hidden_size=4), vocabulary), sessions)]) == [0.0]
