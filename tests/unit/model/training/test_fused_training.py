from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.config import ModelConfig
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.evaluation.rank_targets import evaluate
from model.evaluation.source_ranks import evaluate_sources
from model.networks.by_name import build, columns_of
from model.networks.fused.fused_list import FusedList
from model.networks.fused.source_arrays import NEXT_RANK, OWN, OWN_AGE, OWN_COUNT, SOURCES
from model.networks.fused.source_tables import SourceTables
from model.networks.model_version import ModelVersion
from model.networks.network import GradientNetwork
from model.registry.registry import Registry
from model.stepping.stepper import Stepper
from model.training import fused_training
from model.training.checkpoint import CheckpointFile
from model.training.epochs import Epochs
from model.training.fused_training import go_on
from model.training.run_options import RunOptions
from model.training.train import train
from model.training.training_data import TrainingData

CONFIG = ModelConfig(network="fused", hidden_size=16, epochs=2, negatives=32, batch_size=16)
ITEMS = 60


def sessions_of(log: list[list[int]]) -> Sessions:
    items = np.array([item for session in log for item in session])
    offsets = np.r_[0, np.cumsum([len(session) for session in log])]
    times = np.concatenate([3_600_000 * n + 60_000 * np.arange(len(s)) for n, s in enumerate(log)])
    return Sessions(offsets, items, times, np.array([f"s{n}" for n in range(len(log))], object))


def vocabulary_of(sessions: Sessions, items: int = ITEMS) -> Vocabulary:
    counts = np.bincount(sessions.items, minlength=items)
    return Vocabulary([f"i{n}" for n in range(items)], counts)


def repeats(rng: np.random.Generator) -> list[int]:
    first, second = rng.choice(ITEMS, 2, replace=False)
    return [first, second, first, second, first]


def transitions(rng: np.random.Generator) -> list[int]:
    first = int(rng.integers(ITEMS))
    return [(first + 7 * n) % ITEMS for n in range(5)]


def groups(rng: np.random.Generator) -> list[int]:
    # Ten groups of six items, in any order: only similar sessions know.
    return list(6 * rng.integers(10) + rng.permutation(6)[:5])


@pytest.mark.parametrize(
    ("shop", "best"),
    [(repeats, "own items"), (transitions, "next items"), (groups, "neighbours")],
    ids=["repeats", "transitions", "groups"],
)
def test_the_fused_list_is_as_good_as_the_source_that_knows(shop: object, best: str) -> None:
    rng = np.random.default_rng(5)
    assert callable(shop)
    training, test = (sessions_of([shop(rng) for _ in range(count)]) for count in (900, 100))
    trained = train(training, vocabulary_of(training), CONFIG)
    assert isinstance(trained.network, FusedList)
    alone = evaluate_sources(trained.network, test)
    fused = evaluate(trained.network, test)
    assert alone[best].targets == fused.targets == test.pairs
    # The source that knows is found: where it proposes the next item, what heads the list is its own.
    features_LCF, count_L, place_L = fused_training.lists_of(trained.network, test)
    first_L = trained.network.ranker.scores(features_LCF.numpy(), count_L.numpy()).argmax(1)
    by_best_LC = features_LCF[:, :, SOURCES[best]].numpy()
    lists = np.arange(len(first_L))
    knows_L = by_best_LC[lists, place_L.numpy()] > 0
    assert (by_best_LC[lists, first_L] > 0)[knows_L].mean() > 0.9
    assert fused.mrr > alone[best].mrr - 0.02
    assert fused.recall > max(scored.recall for scored in alone.values()) - 0.02


def strides(rng: np.random.Generator) -> list[int]:
    # Each session has a stride of its own: what comes next, the newest item alone does not tell.
    first, stride = int(rng.integers(20)), int(rng.choice([1, 3, 7]))
    return [(first + stride * n) % 20 for n in range(6)]


def test_where_only_the_sequence_tells_the_next_item_the_ranker_believes_the_network() -> None:
    rng = np.random.default_rng(5)
    training, test = (sessions_of([strides(rng) for _ in range(count)]) for count in (600, 60))
    config = CONFIG.model_copy(update={"hidden_size": 32, "epochs": 6, "learning_rate": 0.1})
    fused = train(training, vocabulary_of(training, 20), config).network
    assert isinstance(fused, FusedList)
    alone = {name: scored.mrr for name, scored in evaluate_sources(fused, test).items()}
    assert alone["network"] > max(mrr for name, mrr in alone.items() if name != "network") + 0.05
    assert evaluate(fused, test).mrr > alone["network"] - 0.02


@pytest.mark.parametrize("known", [False, True])
def test_a_source_that_turned_bad_is_believed_less_after_the_next_retraining(known: bool) -> None:
    rng = np.random.default_rng(5)
    followed = sessions_of([transitions(rng) for _ in range(600)])
    # Afterwards any item follows any other, and sessions come back to what they saw.
    repeated = sessions_of([repeats(rng) for _ in range(600)])
    repeated = replace(repeated, times_ms=repeated.times_ms + int(followed.times_ms.max()))
    vocabulary = vocabulary_of(followed)
    before = train(followed, vocabulary, CONFIG)
    # With a known end of what it learned, the ranker goes on, too; else it begins anew.
    start = replace(before.warm_start(), learned_until_ms=int(followed.times_ms.max()) - 1 if known else None)
    after = train(repeated, vocabulary, CONFIG, start=start)
    shares = []
    for trained in (before, after):
        fused = trained.network
        assert isinstance(fused, FusedList)
        features_LCF, count_L, _ = fused_training.lists_of(fused, repeated.sample(500))
        scores_LC = fused.ranker.scores(features_LCF.numpy(), count_L.numpy())
        first_L = scores_LC.argmax(1)
        rank_L = features_LCF[np.arange(len(first_L)), first_L, NEXT_RANK]
        shares.append(float((rank_L == 1).float().mean()))
    assert shares[1] < shares[0] / 2


def leaks_into_the_ranker(
    training: Sessions, monkeypatch: pytest.MonkeyPatch, plant: Callable[[], None] = lambda: None
) -> dict[str, set[str]]:
    """Train on these sessions; by source, the ranker's sessions that it had learned from by then."""
    train_epochs, fit, lists_of = Epochs.run, SourceTables.fit, fused_training.lists_of
    learned: dict[str, set[str]] = {}
    found: dict[str, set[str]] = {}

    def run_spied(epochs: Epochs) -> object:
        learned["network"] = set(epochs._sessions.session_ids)
        return train_epochs(epochs)

    def fit_spied(tables: SourceTables, sessions: Sessions) -> None:
        learned["counts"] = set(sessions.session_ids)
        fit(tables, sessions)

    def lists_spied(fused: FusedList, sessions: Sessions) -> object:
        found.update({name: ids & set(sessions.session_ids) for name, ids in learned.items()})
        return lists_of(fused, sessions)

    with monkeypatch.context() as spied:
        spied.setattr(Epochs, "run", run_spied)
        spied.setattr(SourceTables, "fit", fit_spied)
        spied.setattr(fused_training, "lists_of", lists_spied)
        plant()
        train(training, vocabulary_of(training), CONFIG)
    return found


def test_no_source_has_learned_from_the_sessions_that_the_ranker_learns_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(5)
    training = sessions_of([transitions(rng) for _ in range(100)])
    assert leaks_into_the_ranker(training, monkeypatch) == {"network": set(), "counts": set()}


@pytest.mark.parametrize("leaking", ["network", "counts"])
def test_a_planted_leak_is_found(leaking: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    training = sessions_of([transitions(rng) for _ in range(100)])

    def network_of_all(network: GradientNetwork, data: TrainingData, *others: Any) -> Epochs:
        return Epochs(network, data._replace(sessions=training), *others)

    def plant() -> None:
        if leaking == "network":
            monkeypatch.setattr(fused_training, "Epochs", network_of_all)
        else:
            fit = SourceTables.fit
            monkeypatch.setattr(SourceTables, "fit", lambda tables, _: fit(tables, training))

    found = leaks_into_the_ranker(training, monkeypatch, plant)
    assert found[leaking] == set(training.between(85, 100).session_ids)


def test_the_tables_count_the_earlier_sessions_first_and_all_of_them_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(5)
    training = sessions_of([transitions(rng) for _ in range(100)])
    lists_of = fused_training.lists_of
    counted: list[float] = []

    def spied(fused: FusedList, sessions: Sessions) -> object:
        counted.append(float(fused.sources.arrays().next_counts_P.sum()))
        return lists_of(fused, sessions)

    monkeypatch.setattr(fused_training, "lists_of", spied)
    network = train(training, vocabulary_of(training), CONFIG).network
    assert isinstance(network, FusedList)
    assert counted == [training.between(0, 85).pairs]
    assert network.sources.arrays().next_counts_P.sum() == training.pairs


def test_sources_may_count_older_sessions_than_those_to_learn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    whole = sessions_of([transitions(rng) for _ in range(200)])
    newest = whole.between(100, 200)
    lists_of, counted = fused_training.lists_of, []

    def spied(fused: FusedList, sessions: Sessions) -> object:
        counted.append(float(fused.sources.arrays().next_counts_P.sum()))
        return lists_of(fused, sessions)

    monkeypatch.setattr(fused_training, "lists_of", spied)
    network = train(newest, vocabulary_of(whole), CONFIG, counted=whole).network
    assert isinstance(network, FusedList)
    # The ranker's sessions are the newest 15, which no source had counted then.
    assert counted == [whole.between(0, 185).pairs]
    assert network.sources.arrays().next_counts_P.sum() == whole.pairs


@pytest.mark.parametrize(
    "log",
    [[[0, 1]], [[0, 0, 0]], [[0], [1, 2], [3]], [[n % 5, (n + 1) % 5] for n in range(10)]],
    ids=["one session", "one item", "sessions of one event", "ten sessions"],
)
def test_a_log_that_is_too_small_for_a_ranker_gives_a_list_all_the_same(log: list[list[int]]) -> None:
    training = sessions_of(log)
    vocabulary = vocabulary_of(training, 1 + int(training.items.max()))
    trained = train(training, vocabulary, CONFIG)
    stepper = Stepper(ModelVersion("v", CONFIG, vocabulary, trained.network), device="cpu")
    ids, scores, _ = stepper.step({"item": np.zeros(1, np.int64)}, stepper.initial_rows(1))
    listed = ids[0][ids[0] >= 0]
    assert len(listed) == len(set(listed)) == len(vocabulary)
    assert (np.diff(scores[0][: len(listed)]) <= 0).all()


def test_the_stepper_lists_what_the_evaluation_ranks() -> None:
    rng = np.random.default_rng(5)
    training = sessions_of([groups(rng) for _ in range(300)])
    vocabulary = vocabulary_of(training)
    network = train(training, vocabulary, CONFIG).network
    for excluded in (False, True):
        ranked = evaluate(network, training.sample(200), exclude_session_items=excluded)
        stepper = Stepper(ModelVersion("v", CONFIG, vocabulary, network), device="cpu", deterministic=True)
        hits = 0
        for session in range(0, len(training), max(1, training.pairs // 200)):
            items = training.items[training.offsets[session] : training.offsets[session + 1]]
            rows = stepper.initial_rows(1)
            for place in range(len(items) - 1):
                own = items[: place + 1][None] if excluded else None
                ids, _, rows = stepper.step({"item": items[place : place + 1]}, rows, own)
                hits += items[place + 1] in ids[0]
        assert hits / ranked.targets == pytest.approx(ranked.recall)


def test_an_interrupted_training_ends_at_the_same_weights(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    training = sessions_of([transitions(rng) for _ in range(200)])
    vocabulary = vocabulary_of(training)
    whole = train(training, vocabulary, CONFIG).network.state_dict()

    class Killed(Exception):
        pass

    # The reports of both trainings: of the earlier sessions, then of all.
    for reports in (1, 2, 3):
        seen = 0

        def progress(_: object, reports: int = reports) -> None:
            nonlocal seen
            seen += 1
            if seen > reports:
                raise Killed

        file = CheckpointFile(tmp_path / f"checkpoint-{reports}", "0123456789abcdef", every_batches=5)
        with pytest.raises(Killed):
            train(training, vocabulary, CONFIG, run=RunOptions(checkpoint=file, progress=progress))
        resumed = train(training, vocabulary, CONFIG, run=RunOptions(checkpoint=file))
        again = resumed.network.state_dict()
        assert all(torch.equal(whole[name], again[name]) for name in whole)
        assert not file.of_part("earlier").path.exists()


def test_a_saved_fused_list_is_loaded_and_goes_on(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    training, more = (sessions_of([groups(rng) for _ in range(count)]) for count in (300, 50))
    vocabulary = vocabulary_of(training)
    trained = train(training, vocabulary, CONFIG)
    registry = Registry(tmp_path)
    loaded = registry.load(registry.save(trained, scores={}, data={}).version)
    assert evaluate(loaded.network, more) == evaluate(trained.network, more)
    assert isinstance(loaded.network, FusedList)
    further = go_on(trained, TrainingData(more, vocabulary), more, RunOptions())
    assert isinstance(further.network, FusedList)
    assert torch.equal(further.network.ranker.weight_FH, loaded.network.ranker.weight_FH)
    assert further.network.sources.arrays().item_begins_V1[-1] == len(more.items)
    start = registry.warm_start(loaded)
    assert evaluate(train(more, vocabulary, CONFIG, start=start).network, more).recall > 0.5
    plain = CONFIG.model_copy(update={"network": "gru4rec"})
    from_network = train(training, vocabulary, plain).warm_start()
    assert train(more, vocabulary, CONFIG, start=from_network).network.goes_on


def test_the_sources_stand_around_any_network_that_learns_by_gradients() -> None:
    config = CONFIG.model_copy(update={"proposing_network": "feature-lstm"})
    assert columns_of(config) == ("brand", "category", "price")
    counting = CONFIG.model_copy(update={"proposing_network": "pop"})
    with pytest.raises(NextclickError, match="cannot be built around 'pop'"):
        build(counting, Vocabulary(["a"], np.array([1])))


def test_a_source_that_is_left_out_gives_nothing_to_the_list_and_has_no_list() -> None:
    rng = np.random.default_rng(5)
    training, test = (sessions_of([repeats(rng) for _ in range(count)]) for count in (300, 50))
    config = CONFIG.model_copy(update={"without_sources": ("own items",)})
    with_own, without_own = (
        train(training, vocabulary_of(training), one).network for one in (CONFIG, config)
    )
    assert isinstance(with_own, FusedList) and isinstance(without_own, FusedList)
    # Its order alone tells which of the seen items comes next.
    assert evaluate(with_own, test).accuracy > evaluate(without_own, test).accuracy + 0.2
    assert "own items" in evaluate_sources(with_own, test)
    assert "own items" not in evaluate_sources(without_own, test)
    features_LCF, count_L, _ = fused_training.lists_of(without_own, training)
    assert (features_LCF[:, :, [OWN, OWN_AGE, OWN_COUNT]] == 0).all() and count_L.min() > 0


def test_a_source_to_leave_out_that_is_none_is_refused_by_name() -> None:
    vocabulary = Vocabulary(["a"], np.array([1]))
    with pytest.raises(NextclickError, match="no source 'kNN'"):
        build(CONFIG.model_copy(update={"without_sources": ("kNN",)}), vocabulary)
    with pytest.raises(NextclickError, match="leaves no source"):
        build(CONFIG.model_copy(update={"without_sources": tuple(SOURCES)}), vocabulary)
