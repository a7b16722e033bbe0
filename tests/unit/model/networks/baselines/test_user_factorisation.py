"""Factorisations with users: literal equations, and what only the user tells."""

import numpy as np
import pytest
import torch

from model.config import ModelConfig
from model.data.features import Features
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.evaluation.rank_targets import rank_targets
from model.networks.by_name import build
from model.networks.network import Network
from model.training.train import train

USERS = 6
ITEMS = "abcdef"


def log_of(users: int = USERS, length: int = 12) -> tuple[Sessions, Vocabulary]:
    """User u takes items u and u + 1 by turns, so that only the user tells which items come at all."""
    items = np.array([(user + n % 2) % users for user in range(users) for n in range(length)])
    codes = np.repeat(np.arange(users), length)
    offsets = np.arange(0, users * length + 1, length)
    vocabulary = Vocabulary(
        list(ITEMS[:users]),
        np.bincount(items),
        features=Features({"user_id": [f"u{user}" for user in range(users)]}),
    )
    ids = np.array([f"u{user}" for user in range(users)], object)
    return Sessions(offsets, items, np.arange(len(items)), ids, {"user_id": codes}), vocabulary


def fitted(name: str, **settings: object) -> Network:
    sessions, vocabulary = log_of()
    values = {"network": name, "hidden_size": 5, "epochs": 60, "learning_rate": 0.1, **settings}
    return train(sessions, vocabulary, ModelConfig.model_validate(values)).network


def scores_of(network: Network, items: str, users: list[int]) -> torch.Tensor:
    state, scores = network.initial_state(1), torch.zeros(0)
    for item, user in zip(items, users, strict=True):
        inputs = {"item": torch.tensor([ITEMS.index(item)]), "user_id": torch.tensor([user])}
        found, state = network.step(inputs, state)
        assert isinstance(found, torch.Tensor)
        scores = found
    return scores[0]


@pytest.mark.parametrize("name", ["user-mf", "user-sequential-mf"])
def test_scores_are_those_of_the_equation(name: str) -> None:
    network = fitted(name, epochs=1)
    weights = {key: tensor.double().numpy() for key, tensor in network.named_buffers()}
    for user, items in ((2, "cd"), (-1, "af")):
        context = weights["user_YF"][user] if user >= 0 else weights["user_YF"].mean(0)
        if name == "user-sequential-mf":
            context = context + weights["input_VF"][[ITEMS.index(item) for item in items]].mean(0)
        expected = weights["item_VF"] @ context + weights["bias_V"]
        found = scores_of(network, items, [user, user]).double().numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_what_a_user_takes_is_learned_and_an_event_without_user_keeps_the_sessions() -> None:
    network = fitted("user-mf")
    for user in range(USERS):
        # The items before are another user's: only the user tells.
        other = ITEMS[(user + 3) % USERS]
        assert scores_of(network, other * 2, [user, -1]).argmax().item() in {user, (user + 1) % USERS}
    sessions, _ = log_of()
    assert rank_targets(network, sessions).evaluation().recall == 1


def test_of_two_users_with_the_same_window_each_gets_what_is_next_for_that_user() -> None:
    network = fitted("user-sequential-mf")
    for item in range(USERS):
        above, below = (item + 1) % USERS, (item - 1) % USERS
        # User `item` goes on to the item above, the user before to the one below.
        first = scores_of(network, ITEMS[item], [item])
        second = scores_of(network, ITEMS[item], [below])
        assert first[above] > first[below]
        assert second[below] > second[above]


def test_training_data_without_a_known_user_are_refused() -> None:
    sessions, vocabulary = log_of()
    sessions.columns["user_id"][:] = -1
    with pytest.raises(NextclickError, match="no event of the training part has a user"):
        train(sessions, vocabulary, ModelConfig(network="user-mf"))


def test_weights_are_loaded_as_they_were_saved() -> None:
    _, vocabulary = log_of()
    network = fitted("user-sequential-mf", epochs=2)
    config = ModelConfig(network="user-sequential-mf", hidden_size=5)
    again = build(config, vocabulary)
    again.load_state_dict(network.state_dict())
    assert torch.equal(scores_of(network, "ab", [0, 0]), scores_of(again, "ab", [0, 0]))
