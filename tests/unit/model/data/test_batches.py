"""Sessions walked in blocks, lanes changing places: every network that learns gives what its steps give."""

import numpy as np
import pytest
import torch

from model.config import ModelConfig
from model.data.batches import session_parallel
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.networks.by_name import build, columns_of
from model.networks.input_columns import InputColumns
from model.networks.network import GradientNetwork
from tests.harness.markov_shoppers import markov_shoppers
from tests.harness.serving import with_features

LOG = with_features(markov_shoppers(sessions=40, items=25, seed=8).frame)
CONFIGS = [
    {"layers": 2, "embedding": "separate"},
    {"network": "feature-lstm", "layers": 3, "dropout_hidden": 0.5},
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.get("network", "gru4rec"))
@pytest.mark.parametrize(("lanes", "unroll"), [(1, 4), (5, 1), (5, 3), (64, 20)])
@torch.inference_mode()
def test_a_session_in_blocks_is_its_steps_one_by_one(
    config: dict[str, object], lanes: int, unroll: int
) -> None:
    settings = ModelConfig(**{"hidden_size": 6, **config})
    vocabulary = Vocabulary.from_frame(LOG, columns_of(settings))
    sessions = Sessions.from_frame(LOG, vocabulary, SessionRule(1800))
    torch.manual_seed(0)
    network = build(settings, vocabulary).eval()
    assert isinstance(network, GradientNetwork)
    columns = InputColumns(network, sessions)
    expected = torch.full((len(sessions.items), 6), torch.nan)
    for begin, end in zip(sessions.offsets[:-1], sessions.offsets[1:], strict=True):
        state = network.initial_state(1)
        for row in range(begin, end - 1):
            output_BH, state = network.advance(columns.at(np.array([row])), state)
            expected[row] = output_BH[0]
    found = torch.full_like(expected, torch.nan)
    state = network.initial_state(0)
    order = np.random.default_rng(0).permutation(len(sessions))
    for batch in session_parallel(sessions, lanes, unroll, order):
        state = network.carry(state, batch)
        inputs = columns.at(batch.rows)
        rows_NE = network.get_parameter(network.input_table)[inputs["item"]]
        found[batch.rows], state = network.run_block(inputs, rows_NE, torch.from_numpy(batch.sizes), state)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5, equal_nan=True)
    assert not expected[sessions.offsets[:-1]].isnan().any()
