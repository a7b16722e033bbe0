import json
from pathlib import Path

import pytest

import nextclick
from model.errors import NextclickError
from model.registry.registry import Registry
from tests.conftest import ROOT
from tests.harness.commands import run

# Real titles: the slice of Online Retail that is bundled.
RETAIL = ROOT / "deploy" / "data" / "online_retail.csv.xz"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """item-knn, and POP as the champion, of the bundled baskets."""
    folder = tmp_path_factory.mktemp("registry")
    for network in ("item-knn", "pop"):
        trained = run("train", RETAIL, "--registry", folder, "--network", network, "--test-fraction", "0.02")
        assert trained.exit_code == 0, trained.exception
    return folder


def test_products_are_chosen_by_title_and_what_goes_with_them_is_listed(registry: Path) -> None:
    version = Registry(registry).versions()[0]["version"]
    options = ["--version", version, "--registry", registry, "--k", 5]
    items = ["--items", "lunch bag red retrospot", "20727"]
    shown = run("recommend", *items, *options)
    assert shown.exit_code == 0, shown.exception
    assert "chosen: 20725  LUNCH BAG RED RETROSPOT" in shown.stdout
    assert "chosen: 20727  LUNCH BAG  BLACK SKULL." in shown.stdout
    answer = json.loads(run("recommend", *items, *options, "--json").stdout)
    assert answer["version"] == version
    assert [item["id"] for item in answer["items"]] == ["20725", "20727"]
    listed = answer["recommended"]
    assert [one["rank"] for one in listed] == [1, 2, 3, 4, 5]
    assert [one["score"] for one in listed] == sorted((one["score"] for one in listed), reverse=True)
    assert sum("LUNCH BAG" in one["title"] for one in listed) >= 4, "who buys lunch bags buys lunch bags"
    for one in listed:
        assert one["title"] in shown.stdout
    positional = json.loads(run("recommend", *items[1:], *options, "--json").stdout)
    assert positional == answer


def test_the_champion_recommends_unless_a_version_is_named(registry: Path) -> None:
    answer = json.loads(run("recommend", "20725", "--registry", registry, "--json").stdout)
    loaded = Registry(registry).load()
    assert answer["version"] == loaded.version
    popular = loaded.vocabulary.decode(loaded.vocabulary.top(20))
    assert [one["id"] for one in answer["recommended"]] == popular
    without = run("recommend", popular[0], "--registry", registry, "--exclude-session-items", "--json")
    assert json.loads(without.stdout)["recommended"][0]["id"] == popular[1]


def test_several_candidates_are_listed_with_how_to_choose(registry: Path) -> None:
    asked = run("recommend", "--items", "lunch bag", "--registry", registry)
    assert isinstance(asked.exception, NextclickError)
    assert "may be any of" in asked.exception.what
    assert "20725  LUNCH BAG RED RETROSPOT" in asked.exception.meaning
    assert "--first" in asked.exception.remedy
    taken = json.loads(run("recommend", "lunch bag", "--first", "--registry", registry, "--json").stdout)
    assert "LUNCH BAG" in taken["items"][0]["title"]


def test_a_user_of_whom_nothing_is_read_is_said(registry: Path) -> None:
    shown = run("recommend", "20725", "--user", "17850", "--registry", registry)
    assert shown.exit_code == 0
    assert "reads no user" in shown.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "at least one item"),
        (["more", "--items", "20725", "--items", "20727"], "order is not clear"),
        (["20725", "--k", "0"], "--k"),
    ],
)
def test_misuse_is_refused(registry: Path, arguments: list[str], message: str) -> None:
    refused = run("recommend", *arguments, "--registry", registry)
    assert refused.exit_code == 2
    assert message in " ".join(refused.output.replace("│", "").split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["zebra crossing"], "there is no item 'zebra crossing'"),
        (["20725", "--version", "v0"], "no version 'v0'"),
    ],
)
def test_what_is_not_there_is_said_in_three_parts(registry: Path, arguments: list[str], message: str) -> None:
    refused = run("recommend", *arguments, "--registry", registry)
    assert isinstance(refused.exception, NextclickError)
    assert message in refused.exception.what
    assert refused.exception.meaning and refused.exception.remedy


def test_an_error_shows_brackets_as_they_were_typed(
    registry: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["nextclick", "recommend", "[/x] [bold]", "--registry", str(registry)])
    with pytest.raises(SystemExit) as ended:
        nextclick.main()
    assert ended.value.code == 2
    assert "there is no item '[/x] [bold]'" in capsys.readouterr().err
