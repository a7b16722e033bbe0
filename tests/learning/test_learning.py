import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from model.comparison.tune import SearchPlan, tune
from model.config import ModelConfig
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.evaluation.rank_targets import evaluate
from model.networks.baselines.pop import Pop
from model.registry.registry import Registry
from model.training.train import train
from replay.datasets.event_files import EventFiles
from stream.event_log.columns import Record
from stream.events import Event, encode_event
from stream.kafka.partitioner import partition_of
from tests.conftest import ROOT
from tests.harness.archives import Log, write_archive
from tests.harness.commands import run_json
from tests.harness.markov_shoppers import markov_shoppers

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
    bias_V = trained.get_parameter("bias_V")
    assert (bias_V[len(known) :] == 0).all()
    assert (bias_V[: len(known)] != 0).any()


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
    earlier = EventFiles([folder / "yoochoose-clicks-100k_train_full.txt"]).load()
    later = EventFiles([folder / "yoochoose-clicks-100k_test.txt"]).load()
    vocabulary = Vocabulary.from_frame(earlier)
    as_logged = SessionRule(None)
    result = train(
        Sessions.from_frame(earlier, vocabulary, as_logged), vocabulary, ModelConfig(session_gap_s=None)
    )
    scored = evaluate(result.network, Sessions.from_frame(later, vocabulary, as_logged))
    assert scored.targets == 10_152
    assert scored.recall >= 0.68
    assert scored.mrr >= 0.355


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": "full-cross-entropy"},
        {"loss": "bpr", "epochs": 8},
        {"loss": "top1", "epochs": 8},
        {"loss": "bpr-max"},
        {"loss": "top1-max"},
        {"embedding": "separate", "embedding_size": 16},
        {"embedding": "one-hot"},
        {"layers": 2, "dropout_hidden": 0.1},
        {"optimizer": "adam", "learning_rate": 0.01},
        {"optimizer": "momentum", "learning_rate": 0.2, "momentum": 0.8, "epochs": 8},
        {"momentum": 0.3},
        {"prior_half_lives_s": (3600.0,)},
        {"dwell_threshold_s": 75.0},
        {
            "network": "recurrent",
            "cell": "lstm",
            "layers": 2,
            "optimizer": "adam",
            "learning_rate": 0.02,
            "unroll": 10,
        },
        {"network": "recurrent", "stack": ("gru-32", "dense-16", "rnn-16"), "loss": "full-cross-entropy"},
        {"network": "recurrent", "cell": "rnn", "batch_norm": True, "dropout_hidden": 0.1, "unroll": 5},
        {"network": "transitions"},
        {"network": "item-knn"},
        {"network": "decayed-item-knn"},
        {"network": "time-weighted-item-knn", "decay_time_s": 60.0},
        {"network": "v-sknn"},
        {"network": "fused"},
        {"network": "bpr-mf", "epochs": 10},
        {"network": "sequential-mf", "epochs": 10},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_every_way_to_learn_beats_pop_by_far(settings: dict[str, Any]) -> None:
    log = markov_shoppers(sessions=2500, items=100, noise=0.1, seed=6).frame
    network, pop = recall_of(log, CONFIG.model_copy(update=settings))
    assert network > 2.5 * pop, f"{network} and {pop}"


def test_a_popularity_prior_follows_a_catalogue_that_drifts() -> None:
    # Each hour has ten items of its own, drawn alike: only what is new now tells what comes next.
    rng = np.random.default_rng(7)
    hours, sessions = 30, 100
    hour = np.repeat(np.arange(hours), sessions * 3)
    drifting = pd.DataFrame(
        {
            "session_id": [f"s{n}" for n in np.repeat(np.arange(hours * sessions), 3)],
            "item_id": [f"{h // 2}-{n}" for h, n in zip(hour, rng.integers(10, size=len(hour)), strict=True)],
            "event_time_ms": np.arange(len(hour)) * (3_600_000 // (sessions * 3)),
            "kind": "view",
        }
    )
    config = CONFIG.model_copy(update={"epochs": 1, "learning_rate": 0.05})
    cut = int(len(drifting) * 29 / 30)
    vocabulary = Vocabulary.from_frame(drifting[:cut])
    earlier = Sessions.from_frame(drifting[:cut], vocabulary, RULE)
    later = Sessions.from_frame(drifting[cut:], vocabulary, RULE)
    # Two negatives teach little in one pass; the prior knows at once.
    few = config.model_copy(update={"negatives": 2, "batch_size": 64})
    plain = evaluate(train(earlier, vocabulary, few).network, later, k=10)
    with_prior = few.model_copy(update={"prior_half_lives_s": (1800.0,)})
    followed = evaluate(train(earlier, vocabulary, with_prior).network, later, k=10)
    assert followed.recall > 0.95
    assert followed.recall > plain.recall


def test_a_search_finds_better_settings_than_the_worst_it_tried() -> None:
    log = markov_shoppers(sessions=800, items=60, noise=0.1, seed=8).frame
    vocabulary = Vocabulary.from_frame(log)
    sessions = Sessions.from_frame(log, vocabulary, RULE)
    base = ModelConfig(hidden_size=8, epochs=2, negatives=16)
    best: list[float] = []
    found = tune(
        sessions, vocabulary, base, SearchPlan(6), progress=lambda done, total, so_far: best.append(so_far)
    )
    assert len(best) == 6
    assert best == sorted(best)
    assert found.evaluation.recall == best[-1] > best[0]
    again = tune(sessions, vocabulary, base, SearchPlan(6))
    assert again.config == found.config, "the same seed searches the same way"


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run two processes with gloo."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*command, *arguments], cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True,
        text=True, timeout=200, check=False,
    )  # fmt: skip


def test_two_processes_train_together_as_torchrun_starts_them(tmp_path: Path) -> None:
    log = markov_shoppers(sessions=3000, items=80, noise=0.1, seed=9).frame
    file = tmp_path / "log.txt"
    rows = log.assign(s=log["event_time_ms"] // 1000)[["session_id", "item_id", "s"]]
    rows.columns = ["SessionId", "ItemId", "Time"]
    rows.to_csv(file, sep="\t", index=False)
    options = [
        "--epochs",
        "3",
        "--hidden-size",
        "32",
        "--negatives",
        "64",
        "--learning-rate",
        "0.1",
        "--json",
    ]
    ended = torchrun(
        "-m", "nextclick", "train", str(file), "--registry", str(tmp_path / "registry"), *options
    )
    assert ended.returncode == 0, ended.stderr
    together = json.loads(ended.stdout)
    assert together["evaluation"]["recall"] > 2 * together["pop"]["recall"]
    assert len(Registry(tmp_path / "registry").versions()) == 1, "one process saves"


def test_replicas_keep_equal_weights_and_one_may_run_out_first(tmp_path: Path) -> None:
    ended = torchrun("-m", "tests.harness.two_replicas", str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    reports = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert reports[0].keys() == {
        "gru4rec cross-entropy tied",
        "gru4rec cross-entropy separate",
        "gru4rec full-cross-entropy tied",
        "user-gru-rectified cross-entropy separate",
    }
    assert reports[0] == reports[1], "weights by hash, losses and events"
    for report in reports[0].values():
        assert report["events"] == 2 * report["pairs"]
        assert report["losses"][1] < report["losses"][0]
    assert len({report["weights"] for report in reports[0].values()}) == len(reports[0])


def test_processes_that_share_the_partitions_of_an_archive_learn_what_one_learns(tmp_path: Path) -> None:
    log = markov_shoppers(sessions=600, items=40, seed=13).frame
    records: Log = {number: [] for number in range(3)}
    for row in log.itertuples(index=False):
        kept = records[partition_of(row.session_id, len(records))]
        value = encode_event(Event(row.session_id, row.event_time_ms, row.item_id))
        kept.append(Record(len(kept), row.session_id.encode(), value, row.event_time_ms))
    archive, registry = tmp_path / "archive", Registry(tmp_path / "registry")
    write_archive(archive, records, rotate=2_000, group=500)
    command = ["train", str(archive), "--registry", str(registry.root), "--network", "transitions", "--json"]
    ended = torchrun("-m", "nextclick", *command)
    assert ended.returncode == 0, ended.stderr
    shared = json.loads(ended.stdout)
    assert ended.stderr.count(f"{len(log):,} events, ") == 1, ended.stderr
    alone = run_json(*command[:-1])
    assert shared["evaluation"] == alone["evaluation"]
    versions = [registry.root / report["version"] for report in (shared, alone)]
    vocabularies = [registry.load(version.name).vocabulary.to_json() for version in versions]
    assert vocabularies[0] == vocabularies[1]
    facts = [registry.load(version.name).manifest["data"] for version in versions]
    assert facts[0]["offsets"] == facts[1]["offsets"]
    assert facts[0]["events"] == facts[1]["events"]


def test_an_error_of_one_process_ends_all_of_them(tmp_path: Path) -> None:
    log = markov_shoppers(sessions=200, items=30, seed=12).frame
    file = tmp_path / "log.txt"
    rows = log.assign(s=log["event_time_ms"] // 1000)[["session_id", "item_id", "s"]]
    rows.columns = pd.Index(["SessionId", "ItemId", "Time"])
    rows.to_csv(file, sep="\t", index=False)
    # Found before the work, by each process: none waits for another.
    ended = torchrun("-m", "nextclick", "train", str(file), "--registry", str(file / "no-folder"))
    assert ended.returncode != 0
    assert "nothing can be written to" in ended.stderr
