"""Training that stops by sessions that it does not learn from, and keeps its best epoch."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import nextclick
from model.config import ModelConfig
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.evaluation.rank_targets import Evaluation, evaluate
from model.training.checkpoint import CheckpointFile
from model.training.train import RunOptions, train
from tests.harness.markov_shoppers import markov_shoppers

EPOCHS, PATIENCE = 30, 2
# Few sessions and large steps: soon learned by heart, and from then on worse on others.
CONFIG = ModelConfig(
    network="recurrent",
    cell="lstm",
    hidden_size=24,
    embedding_size=16,
    loss="full-cross-entropy",
    optimizer="adam",
    learning_rate=0.02,
    epochs=EPOCHS,
    patience=PATIENCE,
    unroll=5,
)
LOG = markov_shoppers(sessions=200, items=40, seed=21).frame
VOCABULARY = Vocabulary.from_frame(LOG)
SESSIONS = Sessions.from_frame(LOG, VOCABULARY, SessionRule(1800))
CUT = len(SESSIONS) - len(SESSIONS) // 10


def test_training_ends_after_the_patience_and_has_the_best_epochs_weights() -> None:
    result = train(SESSIONS, VOCABULARY, CONFIG)
    losses = [scored.badness for scored in result.validation]
    best = int(np.argmin(losses))
    assert 0 < best < EPOCHS - PATIENCE - 1, "neither at once nor never"
    assert len(losses) == best + 1 + PATIENCE == len(result.losses)
    held_out = SESSIONS.between(CUT, len(SESSIONS))
    assert evaluate(result.network, held_out).loss == pytest.approx(losses[best])
    assert losses[-1] != losses[best]
    as_long = CONFIG.model_copy(update={"patience": None, "epochs": best + 1})
    whole = train(SESSIONS.between(0, CUT), VOCABULARY, as_long).network.state_dict()
    for name, tensor in result.network.state_dict().items():
        assert torch.equal(tensor, whole[name]), name


def test_the_newest_tenth_is_held_out_only_where_the_training_is_to_stop_early() -> None:
    one_epoch = CONFIG.model_copy(update={"epochs": 1})
    stopping = train(SESSIONS, VOCABULARY, one_epoch)
    assert stopping.events == SESSIONS.between(0, CUT).pairs
    assert stopping.validation[0].targets == SESSIONS.between(CUT, len(SESSIONS)).pairs
    steady = train(SESSIONS, VOCABULARY, one_epoch.model_copy(update={"patience": None}))
    assert steady.events == SESSIONS.pairs
    assert steady.validation == []


def test_a_network_without_a_cross_entropy_stops_by_mrr() -> None:
    ranked = ModelConfig(hidden_size=16, negatives=32, loss="bpr-max", epochs=EPOCHS, patience=1)
    result = train(SESSIONS, VOCABULARY, ranked)
    mrr = [scored.mrr for scored in result.validation]
    assert {scored.loss for scored in result.validation} == {None}
    assert 1 < len(mrr) < EPOCHS
    assert max(mrr) == mrr[-2] >= mrr[-1]


@pytest.mark.parametrize("killed_after", [2, 9])
def test_a_training_that_is_killed_stops_at_the_same_epoch_with_the_same_weights(
    tmp_path: Path, killed_after: int
) -> None:
    whole = train(SESSIONS, VOCABULARY, CONFIG)
    file = CheckpointFile(tmp_path / "checkpoint", "this", 3)
    assert killed_after < len(whole.losses)

    def kill(epoch: int, _: Evaluation) -> None:
        if epoch == killed_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(SESSIONS, VOCABULARY, CONFIG, run=RunOptions(checkpoint=file, after_epoch=kill))
    again = train(SESSIONS, VOCABULARY, CONFIG, run=RunOptions(checkpoint=file))
    assert again.losses == whole.losses
    assert again.validation == whole.validation
    assert again.events < whole.events, "it began where the other ended"
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], tensor), name


def test_the_test_sessions_do_not_say_when_to_stop(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    rows = LOG.assign(s=LOG["event_time_ms"] // 1000)[["session_id", "item_id", "s"]]
    rows.to_csv(log, sep="\t", index=False, header=["SessionId", "ItemId", "Time"])
    options = ["--network", "recurrent", "--epochs", "1", "--set", "patience=1", "--json"]
    ended = CliRunner().invoke(nextclick.app, ["train", str(log), "--registry", str(tmp_path), *options])
    assert ended.exit_code == 0, ended.exception
    scores = json.loads(ended.stdout)
    earlier = LOG[LOG["event_time_ms"] < LOG["event_time_ms"].quantile(0.9)]
    sessions = Sessions.from_frame(earlier, VOCABULARY, SessionRule(1800))
    tenth = sessions.between(len(sessions) - len(sessions) // 10, len(sessions))
    assert abs(scores["validation"][0]["sessions"] - len(tenth)) <= 1
    assert scores["validation"][0]["targets"] != scores["evaluation"]["targets"]


def test_too_few_sessions_to_hold_some_out_are_refused() -> None:
    with pytest.raises(NextclickError, match="too few to hold the newest tenth"):
        train(SESSIONS.between(0, 1), VOCABULARY, CONFIG)
