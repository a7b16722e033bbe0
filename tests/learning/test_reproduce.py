"""`nextclick reproduce`: each study on a small made-up log, its published figures beside ours."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from model.errors import NextclickError
from replay.studies.study import names, read_study
from tests.harness.commands import run

# Small enough for seconds: every stack is one layer, every network learns once.
SMALL = ["epochs=1", "hidden_size=4", 'stack=["gru-4"]', "embedding_size=4", "title_size=8", "negatives=8"]
# A network of sessions has one size of vectors.
FURTHER = {"session-gru": ["embedding_size=null", "stack=[]"]}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Baskets of 60 customers in the format of Online Retail: three things a day, two minutes apart."""
    rows = [
        {
            "InvoiceNo": f"{user:03d}{n // 3:03d}",
            "StockCode": f"{(user + 3 * n) % 20:05d}",
            "Description": f"THING {(user + 3 * n) % 20} BLUE",
            "Quantity": 1,
            "InvoiceDate": pd.Timestamp("2011-03-01") + pd.Timedelta(days=n // 3, minutes=user + 2 * (n % 3)),
            "UnitPrice": 1.5,
            "CustomerID": f"{10_000 + user}",
            "Country": "Cuba",
        }
        for n in range(24)
        for user in range(60)
    ]
    path = tmp_path / "baskets.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def reproduced(study: str, log: Path, *more: str | Path, only: Sequence[str] = ()) -> dict[str, Any]:
    options: list[str | Path] = ["--log", log, "--json", *more]
    for setting in [*SMALL, *FURTHER.get(study, [])]:
        options += ["--set", setting]
    for row in only:
        options += ["--only", row]
    result = run("reproduce", study, *options)
    assert result.exit_code == 0, (result.output, result.exception)
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.mark.parametrize("name", names())
def test_every_row_of_a_study_is_made_beside_its_published_figures(
    name: str, log: Path, tmp_path: Path
) -> None:
    study, found = read_study(name), reproduced(name, log, "--output", tmp_path / "out")
    assert found["log"]["published"] is None, "a made-up log is not the published one"
    for table, made in zip(study.table, found["tables"], strict=True):
        assert [row["name"] for row in made["ours"]["rows"]] == [row.name for row in table.rows]
        assert made["left_out"] == {}
        counts = made["ours"]["counts"]
        assert counts["ranked"] > 0
        assert counts["ranked"] + counts["unknown"] + counts["leading"] == counts["test_events"]
    text = (tmp_path / "out.md").read_text()
    assert "Not the published data" in text
    assert f"nextclick reproduce {name} --log baskets.csv" in text
    assert json.loads((tmp_path / "out.json").read_text())["tables"] == found["tables"]
    assert any(row for table in found["tables"] for row in table["published"].values()), "what it published"
    for deviation in study.deviations:
        assert deviation in text


def test_the_purchase_study_ranks_the_last_step_of_whole_users(log: Path) -> None:
    table = reproduced("next-electronics", log, only=["pop"])["tables"][0]["ours"]
    assert (table["targets"], table["counts"]["test_sequences"]) == (12, 12)
    assert table["counts"]["training_sequences"] == 48


def test_a_network_of_vectors_has_its_errors_in_the_studys_table(log: Path) -> None:
    found = reproduced("product-sequences", log, only=["version 1", "version 8"])
    rows = {row["name"]: row for row in found["tables"][0]["ours"]["rows"]}
    assert rows["version 8"]["mse"]["mean"] == pytest.approx(rows["version 8"]["loss"]["mean"])
    assert rows["version 8"]["mae"]["mean"] > 0
    assert rows["version 1"]["mse"] is None
    assert len(rows["version 1"]["losses"]) == 1


def test_the_control_of_the_user_study_has_figures_of_its_own_and_no_published_ones(log: Path) -> None:
    settings, only = ["--set", "epochs=3", "--set", "learning_rate=0.05"], ["control without users", "linear"]
    table = reproduced("user-gru", log, *settings, only=only)["tables"][0]
    rows = {row["name"]: row for row in table["ours"]["rows"]}
    control, linear = rows["control without users"], rows["linear"]
    assert control["config"]["without_users"]
    assert "without_users" not in linear["config"]
    assert control["loss"]["mean"] != linear["loss"]["mean"], "the users are not read"
    assert table["published"]["control without users"] == {}


def test_a_row_that_the_log_cannot_feed_is_named_and_the_others_are_run(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    lines = [f"{1_700_000_000_000 + 60_000 * n},s{n // 2},u{n % 30},i{n % 7}" for n in range(300)]
    log.write_text("\n".join(["timestamp_ms,session_id,user_id,item_id", *lines]) + "\n")
    found = reproduced("product-sequences", log, only=["version 1", "version 8"])
    assert found["tables"][0]["left_out"] == {"version 8": "the log has no titles"}
    assert [row["name"] for row in found["tables"][0]["ours"]["rows"]] == ["version 1"]


def test_a_study_that_is_not_known_and_a_row_that_is_not_there_are_refused(log: Path) -> None:
    for arguments, message in (
        (["bert"], "no study 'bert'"),
        (["user-gru", "--log", log, "--only", "transformer"], "no row 'transformer'"),
    ):
        refused = run("reproduce", *arguments)
        assert isinstance(refused.exception, NextclickError)
        assert message in refused.exception.what


def test_published_data_are_known_by_format_and_number_of_events_and_a_piece_of_them_is_not() -> None:
    study = read_study("user-gru")
    whole = study.data_of({"movielens"}, 10_000_054)
    assert whole is not None
    assert whole.name == "MovieLens-10M"
    assert study.data_of({"movielens"}, 100_000) is None
    assert study.data_of({"globo"}, 10_000_054) is None
    lastfm = study.likely_data({"lastfm-1k"})
    assert lastfm is not None
    assert lastfm.split is not None
    assert lastfm.split.user_share == 0.1
