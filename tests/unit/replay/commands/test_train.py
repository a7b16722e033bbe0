"""`nextclick train --unless-champion`: a first model, once; and what is evaluated before it is champion."""

import json
from pathlib import Path

from model.errors import NextclickError
from model.registry.registry import Registry
from tests.conftest import train_small
from tests.harness.commands import run
from tests.harness.markov_shoppers import SyntheticLog


def test_where_there_is_a_champion_nothing_is_trained(tmp_path: Path, shoppers: SyntheticLog) -> None:
    registry = Registry(tmp_path / "registry")
    version = train_small(shoppers, registry, epochs=1).version
    # Not even the file is looked for.
    result = run("train", tmp_path / "none.csv", "--registry", registry.root, "--unless-champion")
    assert result.exit_code == 0, result.output
    assert version in result.stderr
    assert [row["version"] for row in registry.versions()] == [version]


def test_where_there_is_none_a_model_is_trained(tmp_path: Path) -> None:
    result = run("train", tmp_path / "none.csv", "--registry", tmp_path / "registry", "--unless-champion")
    assert result.exit_code != 0
    assert "none.csv" in str(result.exception) + result.output


def test_a_log_without_a_next_event_to_evaluate_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    begin_ms = 1_700_000_000_000
    rows = [(begin_ms + 1000 * n, f"s{n // 2}", f"i{n % 4}") for n in range(80)]
    # The newest sessions have one event each.
    rows += [(begin_ms + 10**6 + 1000 * n, f"t{n}", f"i{n % 4}") for n in range(10)]
    lines = ["timestamp_ms,session_id,item_id", *(f"{at},{session},{item}" for at, session, item in rows)]
    log.write_text("\n".join(lines) + "\n")
    registry = tmp_path / "registry"
    options = ("--registry", registry, "--network", "gru4rec", "--hidden-size", "4")
    refused = run("train", log, *options)
    assert isinstance(refused.exception, NextclickError)
    assert "no next event of a known item" in refused.exception.what
    assert "epoch" not in refused.stderr
    assert Registry(registry).champion() is None
    assert not list(registry.glob(".training-*"))
    version = json.loads(run("train", log, *options, "--test-fraction", "0.5", "--json").stdout)["version"]
    alone = tmp_path / "alone.csv"
    alone.write_text("timestamp_ms,session_id,item_id\n" + f"{begin_ms + 10**7},alone,i1\n")
    unmeasured = run("evaluate", alone, "--registry", registry)
    assert isinstance(unmeasured.exception, NextclickError)
    assert version
    assert "no next event of an item that the version knows" in unmeasured.exception.what


def test_a_training_says_what_the_order_of_its_list_rests_on(tmp_path: Path) -> None:
    said = []
    # Of the newest 15 % of the sessions to learn from, each has two next events.
    for sessions in (30, 900):
        log = tmp_path / f"{sessions}.csv"
        rows = [
            (1_700_000_000_000 + 60_000 * (4 * s + n), f"s{s}", (s + n) % 20)
            for s in range(sessions)
            for n in range(3)
        ]
        lines = [
            "timestamp_ms,session_id,item_id",
            *(f"{at},{session},i{item}" for at, session, item in rows),
        ]
        log.write_text("\n".join(lines) + "\n")
        small = ("--hidden-size", "4", "--epochs", "1", "--negatives", "16")
        trained = run("train", log, "--registry", tmp_path / f"registry-{sessions}", *small)
        assert trained.exit_code == 0, trained.output
        said.append(" ".join(trained.stdout.split()))
    assert "lists are too few for a ranker (50 needed): the list rests on the ranks" in said[0]
    assert "lists which source to believe when" in said[1] and "too few for a ranker" not in said[1]
