"""Data in which only the title tells the next item: the network made for it finds it, the others do not."""

from __future__ import annotations

import pytest

from model.data.sessions import Sessions
from model.evaluation.rank_targets import evaluate
from model.networks.baselines.pop import Pop
from model.networks.network import Network
from model.training.train import train
from tests.harness.titled import TitledLog, titled_log


@pytest.fixture(scope="module")
def log() -> TitledLog:
    return titled_log()


def accuracy(network: Network, sessions: Sessions) -> float:
    return evaluate(network, sessions, k=1).recall


@pytest.mark.parametrize(
    "settings",
    [{"loss": "mse"}, {"loss": "cosine"}, {"loss": "cosine", "unroll": 3}],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_items_never_seen_in_training_are_recommended_and_stepped_over(
    log: TitledLog, settings: dict[str, object]
) -> None:
    assert not log.vocabulary.counts[log.vocabulary.encode(sorted(log.unseen))].any()
    network = train(log.training, log.vocabulary, log.config(**settings)).network
    assert accuracy(network, log.into_unseen) > 0.8, "the next one is of the same make, one kind on"
    assert accuracy(network, log.out_of_unseen) > 0.8


def test_a_network_of_item_ids_cannot_know_them(log: TitledLog) -> None:
    config = log.config(network="gru4rec", loss="cross-entropy", epochs=12, learning_rate=0.02)
    network = train(log.training, log.vocabulary, config).network
    assert accuracy(network, log.training) > 0.5, "it has learned what it saw"
    assert evaluate(network, log.into_unseen, k=5).recall < 0.2
    assert evaluate(Pop(log.vocabulary), log.into_unseen, k=5).recall == 0
