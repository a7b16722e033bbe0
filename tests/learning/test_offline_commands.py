import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from model.errors import NextclickError
from model.registry.registry import Registry
from tests.conftest import ROOT
from tests.harness.commands import run, run_json
from tests.harness.markov_shoppers import markov_shoppers

SMALL = [
    "--seed",
    "20261121",
    "--epochs",
    "2",
    "--hidden-size",
    "12",
    "--negatives",
    "32",
    "--learning-rate",
    "0.1",
]


def write_log(path: Path, frame: pd.DataFrame) -> Path:
    """In RSC15's preprocessed format."""
    rows = frame.assign(s=frame["event_time_ms"] // 1000)[["session_id", "item_id", "s"]]
    rows.columns = pd.Index(["SessionId", "ItemId", "Time"])
    rows.to_csv(path, sep="\t", index=False)
    return path


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frame = markov_shoppers(sessions=500, items=60, noise=0.1, seed=11).frame
    return write_log(tmp_path_factory.mktemp("log") / "log.txt", frame)


def weights(registry: Path, version: str) -> bytes:
    return (registry / version / "weights.safetensors").read_bytes()


def test_by_way_of_the_disk_the_same_weights_are_trained(log: Path, tmp_path: Path) -> None:
    in_memory = run_json("train", log, "--registry", tmp_path, *SMALL)
    mapped = run_json("train", log, "--registry", tmp_path, *SMALL, "--memory-map")
    assert weights(tmp_path, mapped["version"]) == weights(tmp_path, in_memory["version"])
    assert mapped["evaluation"] == in_memory["evaluation"]
    assert in_memory["evaluation"]["recall"] > 0.5
    assert (tmp_path / in_memory["version"] / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert [v["k"] for v in in_memory["validation"]] == [20, 20]


def test_a_training_killed_and_given_again_ends_at_the_same_weights(log: Path, tmp_path: Path) -> None:
    options = [*SMALL[4:], "--epochs", "30", "--checkpoint-every", "5"]
    whole = run_json("train", log, "--registry", tmp_path / "whole", *options)
    registry = tmp_path / "killed"
    command = [sys.executable, "-m", "nextclick", "train", str(log), "--registry", str(registry), *options]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 240
    while not list(registry.glob(".training-????????????????")):
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=240)
    assert Registry(registry).versions() == []
    ended = subprocess.run(
        [*command, "--json"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    assert "going on from the checkpoint" in ended.stderr
    version = json.loads(ended.stdout)["version"]
    assert weights(registry, version) == weights(tmp_path / "whole", whole["version"])
    assert not list(registry.glob(".training-*")), "the checkpoint is gone when the version is saved"


def test_a_version_can_be_gone_on_from_with_items_it_did_not_know(log: Path, tmp_path: Path) -> None:
    first = run_json("train", log, "--registry", tmp_path, *SMALL, "--set", "prior_half_lives_s=[600]")
    later = markov_shoppers(sessions=300, items=90, noise=0.1, seed=11, start_ms=1_800_000_000_000).frame
    more = write_log(tmp_path / "later.txt", later)
    second = run_json("train", more, "--registry", tmp_path, "--start", "champion", "--epochs", "1")
    folder = Registry(tmp_path)
    before, after = folder.load(first["version"]), folder.load(second["version"])
    assert after.config.hidden_size == 12, "settings come from the version"
    assert after.vocabulary.item_ids.tolist()[: len(before.vocabulary)] == before.vocabulary.item_ids.tolist()
    assert len(after.vocabulary) > len(before.vocabulary)
    refused = run("train", log, "--registry", tmp_path, "--start", "champion", "--layers", "2")
    assert isinstance(refused.exception, NextclickError)
    assert "differs in" in refused.exception.what


def test_dwell_boosting_shows_the_honest_figure_and_the_leaky_one(log: Path, tmp_path: Path) -> None:
    command: list[str | Path] = ["train", log, "--registry", tmp_path, *SMALL, "--dwell-threshold-s", "10"]
    plain = run_json(*command)
    both = run_json(*command, "--leaky")
    assert both["evaluation"] == plain["evaluation"], "the test data are not repeated"
    assert both["leaky"]["targets"] > 2 * plain["evaluation"]["targets"]
    assert both["leaky"]["recall"] > plain["evaluation"]["recall"]
    shown = run(*command, "--leaky").stdout
    assert "fused, LEAKY" in shown
    assert "Published gains" in shown
    assert run("train", log, "--leaky").exit_code == 2


def test_unknown_test_items_are_left_out_or_missed_and_counted(log: Path, tmp_path: Path) -> None:
    strange = markov_shoppers(sessions=60, items=60, noise=0.1, seed=11, start_ms=1_900_000_000_000).frame
    strange.loc[strange.index % 4 == 0, "item_id"] = "never-seen"
    test = write_log(tmp_path / "strange.txt", strange)
    known = run_json("train", log, "--test", test, "--registry", tmp_path, *SMALL)["evaluation"]
    missed = run_json("train", log, "--test", test, "--registry", tmp_path, *SMALL, "--items", "all")[
        "evaluation"
    ]
    assert known["unknown"] == missed["unknown"] == int((strange["item_id"] == "never-seen").sum())
    assert missed["targets"] == len(strange) - 60
    assert missed["targets"] > known["targets"]
    assert missed["recall"] < known["recall"]
    version = run_json("evaluate", test, "--registry", tmp_path, "--items", "all")
    assert version["recall"] == missed["recall"]


def test_a_comparison_is_written_as_table_data_and_picture(log: Path, tmp_path: Path) -> None:
    output = tmp_path / "deeper" / "compared.v1"
    models = "gru4rec adam=gru4rec:optimizer=adam,learning_rate=0.01 v-sknn transitions pop"
    options = ["--set", "hidden_size=12", "--set", "negatives=32", "--set", "epochs=1"]
    result = run("compare", log, "--models", models, *options, "--output", output)
    assert result.exit_code == 0, result.exception
    assert result.stdout == output.with_name("compared.v1.md").read_text() + "\n"
    data = json.loads(output.with_name("compared.v1.json").read_text())
    assert [row["name"] for row in data["rows"]] == ["gru4rec", "adam", "v-sknn", "transitions", "pop"]
    assert data["rows"][1]["config"]["optimizer"] == "adam"
    by_name = {row["name"]: row for row in data["rows"]}
    assert by_name["transitions"]["recall"]["1"]["mean"] > 5 * by_name["pop"]["recall"]["1"]["mean"]
    assert by_name["pop"]["recall_difference"]["high"] < 0
    assert output.with_name("compared.v1.png").read_bytes().startswith(b"\x89PNG")


def test_variants_of_a_file_are_compared_behind_the_models_and_the_split_is_named(
    log: Path, tmp_path: Path
) -> None:
    variants = tmp_path / "variants.toml"
    variants.write_text(
        'network = "recurrent"\nembedding_size = 8\nloss = "full-cross-entropy"\noptimizer = "adam"\n'
        "learning_rate = 0.01\nepochs = 99\n"
        '[variants.two]\nstack = ["gru-12", "lstm-12"]\n[variants.left-out]\n[variants.one]\ncell = "rnn"\n'
    )
    options: list[str | Path] = ["--variants", variants, "--only", "one two", "--models", "pop"]
    options += ["--set", "epochs=2", "--set", "hidden_size=12"]
    temporal = run_json("compare", log, *options)
    assert [row["name"] for row in temporal["rows"]] == ["pop", "two", "one"]
    pop, two, one = temporal["rows"]
    assert one["config"]["epochs"] == 2, "--set stands over the file"
    assert one["parameters"] < two["parameters"]
    assert two["recall"]["20"]["low"] > pop["recall"]["20"]["high"]
    shuffled = run_json("compare", log, *options, "--split", "shuffled")
    assert (temporal["split"], shuffled["split"]) == ("temporal", "shuffled")
    assert shuffled["sessions"] != temporal["sessions"]
    for wrong in (["--split", "random"], ["--split", "shuffled", "--test", log], ["--only", "one"]):
        assert run("compare", log, *wrong).exit_code == 2


def test_what_a_search_found_trains_again(log: Path, tmp_path: Path) -> None:
    params = tmp_path / "found.toml"
    options: list[str | Path] = [
        "--set",
        "hidden_size=12",
        "--set",
        "epochs=1",
        "--trials",
        "2",
        "--output",
        params,
    ]
    found = run_json("tune", log, *options)
    assert "Found by `nextclick tune` in 2 trials" in params.read_text()
    trained = run_json("train", log, "--params", params, "--registry", tmp_path)
    assert trained["evaluation"] == found["test"]
    for network in ("v-sknn", "decayed-item-knn", "time-weighted-item-knn", "window-pop", "sequential-mf"):
        tuned = run_json("tune", log, "--network", network, "--set", "epochs=1", *options[4:])
        assert tuned["config"]["network"] == network


@pytest.mark.parametrize(
    ("models", "message"), [("a=pop a=s-pop", "two models are called 'a'"), (" ", "no model is named")]
)
def test_a_comparison_loses_no_model_unsaid(log: Path, models: str, message: str) -> None:
    refused = run("compare", log, "--models", models)
    assert isinstance(refused.exception, NextclickError)
    assert message in refused.exception.what


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed", "-1"], "seed = -1"),
        (["--set", "prior_half_lives_s=[0]"], "prior_half_lives_s.0 = 0"),
        (["--network", "gru5rec"], "there is no network 'gru5rec'"),
        (["--loss", "hinge"], "loss = 'hinge'"),
        (["--set", "epochs"], "is no setting"),
        (["--params", "absent.toml"], "absent.toml"),
        (["--start", "champion"], "no champion"),
        (["--test-from", "2001-01-01"], "leaves 0 sessions before"),
        (["--test-from", "2101-01-01"], "and 0 after"),
    ],
)
def test_what_cannot_be_trained_is_said_in_three_parts(
    log: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    result = run("train", log, "--registry", tmp_path, *arguments)
    assert isinstance(result.exception, NextclickError)
    assert message in result.exception.what
    assert result.exception.meaning
    assert result.exception.remedy


@pytest.mark.parametrize(
    ("sessions", "message"),
    [
        ([], "no events"),
        (["a", "b", "c", "a", "b"], "no session has two events"),
        (["aa", "aa", "aa", "aa"], "1 distinct items"),
    ],
)
@pytest.mark.parametrize("memory_map", [False, True])
def test_a_log_that_teaches_nothing_is_named(
    tmp_path: Path, sessions: list[str], message: str, memory_map: bool
) -> None:
    rows = [
        (f"s{n}", item, (n * 100_000 + place) * 1000)
        for n, session in enumerate(sessions)
        for place, item in enumerate(session)
    ]
    frame = pd.DataFrame(rows, columns=["session_id", "item_id", "event_time_ms"])
    path = write_log(tmp_path / "log.txt", frame)
    result = run("train", path, "--registry", tmp_path, *(["--memory-map"] if memory_map else []))
    assert isinstance(result.exception, NextclickError)
    assert message in result.exception.what


def test_sequences_of_users_are_split_each_by_its_own_time(tmp_path: Path) -> None:
    # Users of three sessions of five; a user walks on where the session before has ended.
    frame = markov_shoppers(sessions=240, items=40, noise=0.0, seed=12, mean_length=5).frame
    frame["user_id"] = "u" + (frame["session_id"].str[1:].astype(int) // 6).astype(str)
    log = tmp_path / "log.csv"
    rows = {"timestamp_ms": frame["event_time_ms"]} | {
        name: frame[name] for name in ("session_id", "user_id", "item_id")
    }
    pd.DataFrame(rows).to_csv(log, index=False)
    of_user = frame.groupby("user_id").size()
    held_out = of_user // 10
    small: list[str | Path] = ["--set", "hidden_size=8", "--set", "epochs=1", "--set", "unroll=20"]
    by_user: list[str | Path] = ["--split", "user", "--registry", tmp_path]
    trained = run_json("train", log, "--network", "user-gru-linear", *small, *by_user)
    assert trained["evaluation"]["sessions"] == (held_out > 0).sum()
    assert trained["evaluation"]["targets"] + trained["evaluation"]["unknown"] == ((held_out + 1) // 2).sum()
    assert trained["validation"][0]["targets"] <= (held_out // 2).sum()
    registry = Registry(tmp_path)
    version = registry.load(trained["version"])
    assert version.config.session_gap_s is None
    assert version.manifest["data"]["events"] == len(frame) - held_out.sum()
    assert version.vocabulary.features.size("user_id") == len(of_user)
    assert run_json("evaluate", log, *by_user)["recall"] == trained["evaluation"]["recall"]
    compared = run_json("compare", log, "--models", "pop user-gru-rectified", *small, *by_user[:2])
    assert compared["targets"] == trained["evaluation"]["targets"]
    assert compared["sessions"] == trained["evaluation"]["sessions"]


@pytest.mark.parametrize(
    "options",
    [["--split", "users"], ["--split", "user", "--session-gap-s", "60"], ["--split", "user", "--memory-map"]],
)
def test_a_split_that_contradicts_other_options_is_a_misuse(log: Path, options: list[str]) -> None:
    assert run("train", log, *options).exit_code == 2


def test_a_split_by_user_of_a_log_without_users_is_refused(log: Path) -> None:
    refused = run("compare", log, "--split", "user")
    assert isinstance(refused.exception, NextclickError)
    assert refused.exception.what == "no event of the log has a user"
