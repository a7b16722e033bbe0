"""`nextclick data guess`: an unknown file has lists within three commands; what is not sure is refused."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from replay.commands.guess_output import ask
from replay.mappings.guess import guess_mapping
from replay.mappings.log_sample import sample_of
from replay.mappings.said_columns import said_mapping
from stream.log_mapping import read_mapping
from tests.harness.commands import run_main

ROWS = "".join(
    f"k{n // 4};A{n % 5};{1_500_000_000 + 60 * n};{'ansicht' if n % 3 else 'kauf'}\n" for n in range(400)
)
LOG = f"Kunde;Artikel-Nr;Zeitstempel;Aktion\n{ROWS}"


def test_three_commands_lead_from_an_unknown_file_to_lists(tmp_path: Path) -> None:
    log, mapping, registry = tmp_path / "log.csv", tmp_path / "mylog.toml", tmp_path / "registry"
    log.write_text(LOG)
    ended = run_main("data", "guess", log, "--output", mapping)
    assert ended.code == 0, ended.errors
    for told in (
        "Zeitstempel, by its name, s",
        "ansicht is view",
        "gap",
        "left out of the first 400 rows: nothing",
    ):
        assert told in ended.out
    assert f"nextclick train {log} --log {mapping}" in ended.out
    trained = run_main("train", log, "--log", mapping, "--network", "pop", "--registry", registry)
    assert trained.code == 0, trained.errors
    listed = run_main("recommend", "A1", "--registry", registry, "--json", "--k", "3")
    assert len(json.loads(listed.out)["recommended"]) == 3


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    log, mapping = tmp_path / "log.csv", tmp_path / "mylog.toml"
    log.write_text(LOG)
    mapping.write_text("mine")
    ended = run_main("data", "guess", log, "--output", mapping)
    assert ended.code == 2
    assert "is there already" in ended.errors
    assert mapping.read_text() == "mine"
    assert run_main("data", "guess", log, "--output", mapping, "--overwrite").code == 0
    assert read_mapping(mapping).columns["user"] == "Kunde"


def test_what_is_not_sure_is_refused_with_the_option_that_says_it(tmp_path: Path) -> None:
    log, mapping = tmp_path / "log.csv", tmp_path / "mylog.toml"
    log.write_text(ROWS)
    ended = run_main("data", "guess", log, "--output", mapping)
    assert ended.code == 2
    assert not mapping.exists()
    assert "no name says which column is the item" in ended.errors
    assert "data guess" in ended.errors
    assert "session=1,item=2" in ended.errors
    said = run_main("data", "guess", log, "--output", mapping, "--columns", "user=1,item=2,sessions=day")
    assert said.code == 0, said.errors
    assert read_mapping(mapping).sessions == "day"


def test_a_known_layout_needs_no_mapping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    log = tmp_path / "log.jsonl"
    log.write_text('{"session": 1, "events": [{"aid": 7, "ts": 1500000000000, "type": "carts"}]}\n')
    ended = run_main("data", "guess", log)
    assert ended.code == 0, ended.errors
    assert "known as otto" in ended.out
    assert f"nextclick train {log}" in ended.out
    assert not (tmp_path / "mylog.toml").exists()


def test_the_guess_as_json(tmp_path: Path) -> None:
    log, mapping = tmp_path / "log.csv", tmp_path / "mylog.toml"
    log.write_text(LOG)
    told = json.loads(run_main("data", "guess", log, "--output", mapping, "--json").out)
    assert told["mapping"] == read_mapping(mapping).as_dict()
    assert [event["item_id"] for event in told["events"]] == ["A0", "A1", "A2", "A3", "A4"]


def test_at_a_terminal_it_asks_until_it_is_sure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log.csv"
    log.write_text(ROWS)
    answers = iter(["item=9", "what?", "item=2", "user=1,sessions=gap:10"])
    terminal = SimpleNamespace(isatty=lambda: True)
    streams = SimpleNamespace(stdin=terminal, stderr=terminal)
    monkeypatch.setattr("replay.commands.guess_output.sys", streams)
    monkeypatch.setattr("typer.prompt", lambda *given, **named: next(answers))
    sample = sample_of(log)
    guess, said = ask(
        str(log), lambda text: guess_mapping(sample, said_mapping(text)), "", "nextclick data guess"
    )
    assert guess.mapping is not None
    assert guess.mapping.columns == {"kind": 4, "item": 2, "user": 1, "time": 3}
    assert said == "item=2,user=1,sessions=gap:10"


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text(LOG)
    ended = run_main("data", "guess", log, "--output", tmp_path / "m.toml", "--columns", "item=sku")
    assert ended.code == 2
    assert "the log has no column sku" in ended.errors
    assert "Kunde, Artikel-Nr, Zeitstempel, Aktion" in " ".join(ended.errors.split())


def test_kinds_under_another_name_beside_usual_names_are_not_lost(tmp_path: Path) -> None:
    log, mapping = tmp_path / "log.csv", tmp_path / "mylog.toml"
    rows = "".join(f"s{n // 4},A{n % 5},{1_500_000_000 + 60 * n},{{}}\n" for n in range(200))
    for name, values, code, told in (
        ("behavior", ("pv", "buy"), 0, "pv is view, buy is purchase"),
        ("type", ("1", "4"), 2, "what 1, 4 of type mean is not known"),
        ("type", ("shoe", "hat"), 0, "known as csv"),
    ):
        log.write_text(f"session,item,time,{name}\n{rows.format(*values * 100)}")
        ended = run_main("data", "guess", log, "--output", mapping, "--overwrite")
        assert ended.code == code, ended.errors
        assert told in " ".join((ended.out + ended.errors).split())
    log.write_text(f"session,item,time,behavior\n{rows.format(*['pv', 'buy'] * 100)}")
    assert run_main("data", "guess", log, "--output", mapping, "--overwrite").code == 0
    assert read_mapping(mapping).columns["kind"] == "behavior"
