from pathlib import Path

import pytest
import torch

from model.config import ModelConfig
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.evaluation.rank_targets import evaluate
from model.training.checkpoint import CheckpointFile, fingerprint
from model.training.train import Progress, RunOptions, TrainedModel, train
from tests.harness.markov_shoppers import markov_shoppers

LOG = markov_shoppers(sessions=300, items=40, seed=5).frame
VOCABULARY = Vocabulary.from_frame(LOG, ["brand", "category", "price"])
SESSIONS = Sessions.from_frame(LOG, VOCABULARY, SessionRule(1800))
CONFIG = ModelConfig(
    hidden_size=12, epochs=3, negatives=32, batch_size=8, dropout_hidden=0.3, momentum=0.2,
    prior_half_lives_s=(600.0, 7200.0),
)  # fmt: skip


class Killed(Exception):
    """Stands for the end of the process."""


def a_file(path: Path, config: ModelConfig = CONFIG, every: int = 7) -> CheckpointFile:
    return CheckpointFile(path, fingerprint(SESSIONS, VOCABULARY, config), every)


def killed_at(path: Path, events: int, config: ModelConfig = CONFIG) -> None:
    def stop(p: Progress) -> None:
        if (p.epoch - 1) * p.total + p.events >= events:
            raise Killed

    with pytest.raises(Killed):
        train(
            SESSIONS,
            VOCABULARY,
            config,
            run=RunOptions(checkpoint=a_file(path, config), progress=stop),
            validation=SESSIONS,
        )


def trained(path: Path | None, config: ModelConfig = CONFIG) -> TrainedModel:
    file = a_file(path, config) if path else None
    return train(SESSIONS, VOCABULARY, config, run=RunOptions(checkpoint=file), validation=SESSIONS)


@pytest.mark.parametrize("optimizer", ["adagrad", "adam", "momentum"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.7, 0.95])
def test_an_interrupted_training_ends_at_the_same_weights_bit_for_bit(
    tmp_path: Path, optimizer: str, share: float
) -> None:
    config = CONFIG.model_copy(update={"optimizer": optimizer})
    path = tmp_path / "checkpoint"
    killed_at(path, int(share * config.epochs * SESSIONS.pairs), config)
    assert path.exists()
    resumed, whole = trained(path, config), trained(None, config)
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, resumed.network.state_dict()[name]), name
    assert resumed.losses == whole.losses
    assert resumed.validation == whole.validation
    for name, tensor in whole.optimizer_state.items():
        assert torch.equal(tensor, resumed.optimizer_state[name]), name


@pytest.mark.parametrize("share", [0.4, 0.7, 0.95])
def test_blocks_of_steps_shuffled_and_stopped_early_are_taken_up_bit_for_bit_too(
    tmp_path: Path, share: float
) -> None:
    changes = {
        "network": "feature-lstm", "loss": "full-cross-entropy", "unroll": 3, "shuffle": True,
        "patience": 2, "prior_half_lives_s": (), "learning_rate": 0.3,
    }  # fmt: skip
    config = CONFIG.model_copy(update=changes)
    path = tmp_path / "checkpoint"
    killed_at(path, int(share * config.epochs * SESSIONS.pairs), config)
    resumed, whole = trained(path, config), trained(None, config)
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, resumed.network.state_dict()[name]), name
    assert (resumed.losses, resumed.accuracies) == (whole.losses, whole.accuracies)
    assert resumed.validation == whole.validation
    for name, tensor in whole.optimizer_state.items():
        assert torch.equal(tensor, resumed.optimizer_state[name]), name


def test_patience_ends_a_training_that_becomes_no_better_and_keeps_its_best_epoch() -> None:
    config = CONFIG.model_copy(update={"epochs": 30, "learning_rate": 0.5, "patience": 2})
    # What is held out follows no rule that could be learned.
    other = markov_shoppers(sessions=60, items=40, seed=6).frame
    validation = Sessions.from_frame(other, VOCABULARY, SessionRule(1800))
    result = train(SESSIONS, VOCABULARY, config, validation=validation)
    losses = [scored.loss for scored in result.validation if scored.loss is not None]
    best = losses.index(min(losses))
    assert len(losses) == len(result.losses) == best + 3 < 30
    kept = evaluate(result.network, validation)
    assert kept.loss == pytest.approx(losses[best], rel=1e-6)
    held_out = train(SESSIONS, VOCABULARY, config)
    assert held_out.validation[0].sessions == len(SESSIONS) // 10
    assert held_out.events // len(held_out.losses) < SESSIONS.pairs


def test_shuffled_sessions_come_in_another_order_in_every_epoch() -> None:
    config = CONFIG.model_copy(update={"shuffle": True, "prior_half_lives_s": (), "epochs": 1})
    once = train(SESSIONS, VOCABULARY, config)
    again = train(SESSIONS, VOCABULARY, config)
    plain = train(SESSIONS, VOCABULARY, config.model_copy(update={"shuffle": False}))
    assert once.losses == again.losses != plain.losses
    with pytest.raises(ValueError, match="exclude each other"):
        ModelConfig(shuffle=True, prior_half_lives_s=(60.0,))


def test_killed_twice_is_still_the_same(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    killed_at(path, SESSIONS.pairs // 2)
    killed_at(path, 2 * SESSIONS.pairs)
    resumed, whole = trained(path), trained(None)
    assert all(torch.equal(t, resumed.network.state_dict()[n]) for n, t in whole.network.state_dict().items())


def test_a_checkpoint_of_another_training_is_not_taken_up(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    killed_at(path, SESSIONS.pairs)
    other = CONFIG.model_copy(update={"learning_rate": 0.2})
    with pytest.raises(NextclickError, match="is of training"):
        train(SESSIONS, VOCABULARY, other, run=RunOptions(checkpoint=a_file(path, other)))


@pytest.mark.parametrize("keep", [0, 7, 2000])
def test_a_cut_off_checkpoint_is_named(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "checkpoint"
    killed_at(path, SESSIONS.pairs)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(NextclickError, match="cannot be read"):
        trained(path)


def test_what_a_killed_process_left_half_written_goes_with_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    killed_at(path, SESSIONS.pairs)
    (tmp_path / "checkpoint.unfinished").write_bytes(b"half")
    a_file(path).remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("every_batches", [1, 1000])
def test_a_diverged_training_keeps_its_last_good_checkpoint(tmp_path: Path, every_batches: int) -> None:
    path = tmp_path / "checkpoint"
    killed_at(path, SESSIONS.pairs)
    good = path.read_bytes()
    # The same training, with weights that the next steps can only break.
    config = ModelConfig.model_construct(**{**CONFIG.model_dump(), "learning_rate": float("inf")})
    file = CheckpointFile(path, a_file(path).fingerprint, every_batches)
    with pytest.raises(
        NextclickError, match=r"(loss|weights).* (is|are) .* at batch \d+ of epoch \d"
    ) as caught:
        train(SESSIONS, VOCABULARY, config, run=RunOptions(checkpoint=file))
    assert "last good checkpoint is kept" in caught.value.meaning
    assert path.read_bytes() == good
