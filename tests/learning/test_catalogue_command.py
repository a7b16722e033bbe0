from pathlib import Path

import numpy as np
import pytest

from model.registry.registry import Registry
from model.stepping.stepper import Stepper
from tests.harness.commands import run, run_json
from tests.harness.titled import TitledLog, titled_log

SETTINGS = [
    *("--network", "text-gru", "--loss", "cosine", "--hidden-size", "48", "--set", "title_size=32"),
    *("--optimizer", "adam", "--learning-rate", "0.005", "--epochs", "12"),
]


@pytest.fixture(scope="module")
def log() -> TitledLog:
    return titled_log(copies=6)


@pytest.fixture
def retail(log: TitledLog, tmp_path: Path) -> Path:
    """The training events as Online Retail writes them; the unseen items stand in no line."""
    rows = log.frame.assign(
        InvoiceNo=log.frame["session_id"].str[1:],
        StockCode=[code(item) for item in log.frame["item_id"]],
        Description=log.frame["title"],
        Quantity=1,
        InvoiceDate=np.datetime_as_string(log.frame["event_time_ms"].to_numpy("datetime64[ms]"), unit="s"),
        UnitPrice=2.5,
        CustomerID="",
        Country="France",
    )
    rows["InvoiceDate"] = rows["InvoiceDate"].str.replace("T", " ")
    path = tmp_path / "retail.csv"
    rows.loc[:, "InvoiceNo":].to_csv(path, index=False)
    return path


def code(item: str) -> str:
    return f"{10_000 + int(item)}"


@pytest.fixture
def catalogue(log: TitledLog, tmp_path: Path) -> Path:
    path = tmp_path / "catalogue.csv"
    lines = [f"{code(item)},{log.vocabulary.titles[item]}" for item in sorted(log.unseen)]
    path.write_text("\n".join(["item_id,title", *lines]) + "\n")
    return path


def test_items_of_a_catalogue_are_listed_before_their_first_event(
    log: TitledLog, retail: Path, catalogue: Path, tmp_path: Path
) -> None:
    registry = tmp_path / "registry"
    arguments: tuple[str | Path, ...] = ("train", retail, "--registry", registry, *SETTINGS)
    assert run_json(*arguments)["evaluation"]["recall"] > 0.8
    without = Registry(registry).load()
    answer = run_json(*arguments, "--catalogue", catalogue)
    model = Registry(registry).load(answer["version"])
    unseen = {code(item) for item in log.unseen}
    assert set(model.vocabulary.item_ids) - set(without.vocabulary.item_ids) == unseen
    stepper = Stepper(model, device="cpu", k=1)
    names = log.vocabulary.decode(log.into_unseen.items)
    before, target = names[::2], names[1::2]
    items = model.vocabulary.encode([code(item) for item in before])
    ids, _, _ = stepper.step({"item": items}, stepper.initial_rows(len(items)))
    found = np.array(model.vocabulary.decode(ids[:, 0])) == [code(item) for item in target]
    assert found.mean() > 0.8


def test_titles_of_the_test_part_are_known_too_and_its_events_are_not(
    log: TitledLog, retail: Path, tmp_path: Path
) -> None:
    registry = tmp_path / "registry"
    answer = run_json("train", retail, "--registry", registry, *SETTINGS, "--test-fraction", "0.6")
    vocabulary = Registry(registry).load(answer["version"]).vocabulary
    assert len(vocabulary) == len(log.vocabulary) - len(log.unseen)
    assert (vocabulary.counts == 0).any()
    assert answer["evaluation"]["unknown"] == 0
    by_events = run_json("train", retail, "--registry", registry, "--test-fraction", "0.6", "--epochs", "1")
    assert by_events["evaluation"]["unknown"] > 0


def test_a_catalogue_is_refused_by_a_network_that_knows_items_by_their_events(
    retail: Path, catalogue: Path, tmp_path: Path
) -> None:
    refused = run("train", retail, "--registry", tmp_path / "r", "--catalogue", catalogue)
    assert refused.exit_code != 0
    assert "network fused cannot list an item without events" in str(refused.exception)
    refused = run("train", retail, "--registry", tmp_path / "r", "--loss", "mse")
    assert "a gru4rec has no mse loss" in str(refused.exception)
    assert not Registry(tmp_path / "r").versions()
