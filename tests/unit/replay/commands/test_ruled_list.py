"""`nextclick recommend` under rules prints the list that a worker publishes after the same items."""

from pathlib import Path

import pytest

from model.errors import NextclickError
from model.registry.registry import Registry
from replay.commands.catalogue_file import catalogue_file
from replay.commands.ruled_list import catalogue_of
from stream.events import Event
from stream.settings import Settings
from stream.wave.serving_model import ModelSlot
from tests.conftest import train_small
from tests.harness.commands import run, run_json
from tests.harness.markov_shoppers import markov_shoppers
from tests.unit.stream.asking.asked import AskedWorker, ids

START_MS = 1_700_000_000_000
RULES = """
[never]
brands = ["b5"]
[session]
bought_days = 30
[[cap]]
per = "brand"
most = 4
[[boost]]
category = "garden"
up = 6
[[pin]]
item = "i11"
place = 2
[placement.basket]
length = 7
cap = []
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("registry")
    train_small(markov_shoppers(sessions=40, items=60, seed=1), Registry(folder), exclude_session_items=True)
    return folder


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """What is said of the items, and the rules."""
    items, rules = tmp_path / "items.csv", tmp_path / "rules.toml"
    rows = [
        f"i{n},b{n % 6},{'home/mugs' if n % 3 else 'garden'},{'yes' if n % 9 else 'no'}" for n in range(60)
    ]
    items.write_text("\n".join(["item_id,brand,category,available", *rows]))
    rules.write_text(RULES)
    return items, rules


def test_the_command_prints_the_list_that_the_worker_publishes_and_answers_for_a_placement(
    registry: Path, files: tuple[Path, Path], tmp_path: Path
) -> None:
    items, rules = files
    live = ModelSlot(Settings(registry_dir=registry, wave_size=8), catalogue_of(catalogue_file(items), rules))
    live.offer(live.prepare())
    worker = AskedWorker(live, tmp_path / "state")
    visited = ["i7", "i20", "i41"]
    for offset, item in enumerate(visited):
        (shown,) = worker.step(offset, Event("s", START_MS + 1_000 * offset, item)).lists
    command = ("recommend", "--registry", registry, "--items-file", items, "--rules", rules)
    printed = run_json(*command, *visited)
    assert [row["id"] for row in printed["recommended"]] == shown.items
    assert [row["score"] for row in printed["recommended"]] == pytest.approx(shown.scores.tolist(), rel=1e-4)
    assert printed["rules"] == live.catalogue.rules.version
    plain = run_json("recommend", "--registry", registry, *visited)
    assert [row["id"] for row in plain["recommended"]] != shown.items, "the rules change the list"
    basket = run_json(*command, "--placement", "basket", "--k", "7", *visited)
    answered = worker.ask("s", ("placement", "basket"))
    assert [row["id"] for row in basket["recommended"]] == ids(answered) and len(ids(answered)) == 7
    worker.store.close()


def test_what_cannot_be_listed_under_is_said(registry: Path, files: tuple[Path, Path]) -> None:
    items, rules = files
    bad = items.with_name("bad.csv")
    bad.write_text("item_id,price\ni1,nan\n,5\ni2,3\n")
    with pytest.raises(NextclickError, match="price"):
        catalogue_of(catalogue_file(bad), None)
    command = ("recommend", "i7", "--registry", registry, "--rules", rules)
    wrong = run(*command, "--placement", "none")
    assert isinstance(wrong.exception, NextclickError) and "basket" in wrong.exception.remedy
    assert run(*command, "--k", "101").exit_code == 2
    assert run(*command, "--exclude-session-items").exit_code == 2
