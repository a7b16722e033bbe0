"""Sequences of which only the last step is learned and evaluated, as in studies of the next purchase."""

import numpy as np
import pytest
import torch

from model.config import ModelConfig
from model.data.batches import session_parallel
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.evaluation.rank_targets import rank_targets
from model.networks.baselines.pop import Pop
from model.networks.by_name import build
from model.networks.network import GradientNetwork
from model.training.learned_targets import LearnedTargets, pass_over
from model.training.train import train

VOCABULARY = Vocabulary(list("abcd"), np.array([4, 3, 2, 1]))
CONFIG = ModelConfig(
    network="recurrent",
    stack=("lstm-6",),
    embedding_size=4,
    loss="full-cross-entropy",
    optimizer="adam",
    learning_rate=0.05,
    epochs=40,
    unroll=2,
    targets="last",
)


def sessions_of(log: list[str]) -> Sessions:
    items = np.array(["abcd".find(item) for session in log for item in session])
    offsets = np.r_[0, np.cumsum([len(session) for session in log])]
    ids = np.array([f"s{number}" for number in range(len(log))], object)
    return Sessions(offsets, items, np.arange(len(items)), ids)


def test_only_the_last_known_event_of_a_sequence_is_ranked() -> None:
    last = sessions_of(["abc", "da", "b", "ab?"]).only_last()
    ranks = rank_targets(Pop(VOCABULARY), last)
    assert sorted(zip(ranks.sessions.tolist(), ranks.ranks.tolist(), strict=True)) == [(0, 3), (1, 1)]
    assert ranks.unknown == 1, "the last event of ab? is the target, and unknown"
    assert last.ranked == 2
    assert sessions_of(["abc", "da", "b", "ab?"]).ranked == 4


@pytest.mark.parametrize("unroll", [1, 2, 20])
def test_what_leads_up_to_a_target_is_not_learned_as_one(unroll: int) -> None:
    # In the middle b follows a and c follows b; at the end d follows, which is all that is learned.
    result = train(
        sessions_of(["abcd", "abcd", "cbad"] * 8), VOCABULARY, CONFIG.model_copy(update={"unroll": unroll})
    )
    assert result.events == 24 * CONFIG.epochs
    network = result.network
    for first in range(3):
        scores, _ = network.step({"item": torch.tensor([first])}, network.initial_state(1))
        assert isinstance(scores, torch.Tensor)
        assert int(scores.argmax()) == 3, "no step has learned another item"


def test_the_loss_is_that_of_the_last_steps_after_all_steps_before_them() -> None:
    sessions = sessions_of(["abc", "dcba"])
    torch.manual_seed(CONFIG.seed)
    network = build(CONFIG, VOCABULARY)
    expected = rank_targets(network.eval(), sessions.only_last()).evaluation().loss
    untouched = CONFIG.model_copy(update={"epochs": 1, "learning_rate": 1e-12, "unroll": 20})
    assert train(sessions, VOCABULARY, untouched).losses[0] == pytest.approx(expected, rel=1e-5)


def test_a_batch_without_a_target_moves_the_states_as_steps_do() -> None:
    network = build(CONFIG, VOCABULARY).eval()
    assert isinstance(network, GradientNetwork)
    sessions = sessions_of(["abcd"])
    batch = next(session_parallel(sessions, 1, unroll=2))
    assert LearnedTargets(sessions, CONFIG).count(batch) == 0
    inputs = {"item": torch.from_numpy(sessions.items[batch.rows])}
    after = pass_over(network, inputs, torch.from_numpy(batch.sizes), network.initial_state(1))
    state = network.initial_state(1)
    for item in (0, 1):
        _, state = network.advance({"item": torch.tensor([item])}, state)
    for name, tensor in state.items():
        torch.testing.assert_close(after[name], tensor)


def test_validation_watches_the_last_steps_too() -> None:
    result = train(
        sessions_of(["abcd"] * 12),
        VOCABULARY,
        CONFIG.model_copy(update={"epochs": 1}),
        validation=sessions_of(["abc", "ab"]),
    )
    assert result.validation[0].targets == 2
