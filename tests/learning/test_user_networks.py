"""What only the user tells is found by the networks that read users, and by no other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from model.config import ModelConfig
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.evaluation.rank_targets import evaluate
from model.networks.by_name import columns_of
from model.training.train import train

USERS, GROUPS, OWN = 40, 2, 12
SETTINGS = {
    "hidden_size": 32,
    "embedding": "separate",
    "loss": "full-cross-entropy",
    "optimizer": "adam",
    "learning_rate": 0.01,
    "epochs": 12,
    "batch_size": 32,
    "clip_norm": 5.0,
    "session_gap_s": None,
}


def habits(sessions: int, seed: int) -> pd.DataFrame:
    """Sessions of two events: any item of a group, then the item of that group that is the user's own."""
    rng = np.random.default_rng(seed)
    own = np.random.default_rng(0).integers(OWN, size=(USERS, GROUPS))
    rows: list[tuple[str, str, str, int]] = []
    for session in range(sessions):
        user, group, first = int(rng.integers(USERS)), int(rng.integers(GROUPS)), int(rng.integers(5))
        for step, item in enumerate((f"first-{group}-{first}", f"own-{group}-{own[user, group]}")):
            rows.append((f"s{session}", f"u{user}", item, 1000 * (2 * session + step)))
    frame = pd.DataFrame(rows, columns=["session_id", "user_id", "item_id", "event_time_ms"])
    return frame.assign(kind="view")


def accuracies(settings: dict[str, Any], *tests: pd.DataFrame) -> list[float]:
    """How often a network trained on these users' earlier sessions names the next item first, by test."""
    config = ModelConfig(**{**SETTINGS, **settings})
    frame = habits(4000, seed=1)
    vocabulary = Vocabulary.from_frame(frame, columns_of(config))
    rule = SessionRule(None)
    network = train(Sessions.from_frame(frame, vocabulary, rule), vocabulary, config).network
    return [evaluate(network, Sessions.from_frame(test, vocabulary, rule), k=1).recall for test in tests]


@pytest.mark.parametrize(
    "settings",
    [
        {"network": "user-gru-linear"},
        {"network": "user-gru-linear", "unroll": 20, "dropout_user": 0.2, "user_l2": 0.001},
        {"network": "user-gru-rectified"},
        {"network": "user-gru-attentional"},
        {"network": "user-gru-attentional", "user_gate": 0.5, "loss": "cross-entropy", "negatives": 16},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_a_user_network_finds_what_only_the_user_tells(settings: dict[str, Any]) -> None:
    test = habits(800, seed=2)
    of_users, of_strangers = accuracies(settings, test, test.assign(user_id="never-seen"))
    assert of_users > 0.9
    # Of somebody else it knows as little as a network that reads no users.
    assert of_strangers < 0.35


def test_a_network_that_reads_no_users_does_not_find_it() -> None:
    # Of twelve items in a group two or three come first by chance of who has which.
    assert accuracies({"network": "gru4rec"}, habits(800, seed=2))[0] < 0.35
