"""A log of one's own, in files as people have them, is read by one mapping in every command."""

import json
import zipfile
from pathlib import Path

import pytest

from model.registry.registry import Registry
from tests.harness.commands import run_main

MAPPING = """
sessions = "gap"
gap_minutes = 20
time_unit = "ms"

[columns]
user = 1
item = 3
time = 2
kind = 4

[kinds]
0 = "view"
1 = "purchase"
2 = "left out"
"""


def test_a_file_of_the_mapping_is_taken_by_every_command_and_its_gap_by_the_model(tmp_path: Path) -> None:
    log, later, registry = tmp_path / "own.csv", tmp_path / "later.csv", tmp_path / "registry"
    mapping = tmp_path / "mylog.toml"
    mapping.write_text(MAPPING)
    rows = [f"u{n // 8},{1_700_000_000_000 + 10_000 * n},i{n % 5},{n % 3}" for n in range(800)]
    log.write_text("\n".join(rows[:400]) + "\n")
    later.write_text("\n".join(rows[400:]) + "\n")
    for arguments in (
        ("train", log, "--network", "pop", "--registry", registry),
        ("evaluate", later, "--registry", registry),
        ("compare", log, "--models", "pop"),
        ("data", "report", log, "--test", later),
    ):
        ended = run_main(*arguments, "--log", mapping)
        assert ended.code == 0, ended.errors
    assert Registry(registry).load().config.session_gap_s == 1200


def test_a_mapping_and_columns_are_two_ways_to_say_the_same(tmp_path: Path) -> None:
    ended = run_main("data", "report", tmp_path / "x.csv", "--log", tmp_path / "m.toml", "--columns", "a=b")
    assert ended.code == 2
    assert "two ways to say the same" in ended.errors


@pytest.mark.parametrize("shape", ["lines", "array"])
def test_nested_events_are_events(tmp_path: Path, shape: str) -> None:
    sessions = [
        {"session": n, "events": [{"aid": k, "ts": 1_700_000_000_000 + 10_000 * n + k} for k in range(4)]}
        for n in range(30)
    ]
    log = tmp_path / "own.json"
    log.write_text(json.dumps(sessions) if shape == "array" else "\n".join(map(json.dumps, sessions)))
    columns = "session=session,item=events[].aid,time=events[].ts:ms"
    ended = run_main("data", "report", log, "--columns", columns, "--json")
    assert ended.code == 0, ended.errors
    assert json.loads(ended.out)["events"] == 120
    assert json.loads(ended.out)["read"][str(log)]["lost"] == 0


def test_the_mapping_travels_with_the_model(tmp_path: Path) -> None:
    log, later, registry = tmp_path / "own.csv", tmp_path / "later.csv", tmp_path / "registry"
    rows = [f"u{n // 4};{1_700_000_000 + 10 * n};i{n % 5}" for n in range(800)]
    log.write_text("who;when;what\n" + "\n".join(rows[:400]) + "\n")
    later.write_text("who;when;what\n" + "\n".join(rows[400:]) + "\n")
    columns = "user=who,item=what,time=when,sessions=user"
    small = ("--network", "gru4rec", "--hidden-size", "8", "--epochs", "1", "--registry", registry)
    trained = run_main("train", log, "--columns", columns, *small)
    assert trained.code == 0, trained.errors
    first = Registry(registry).load()
    assert first.manifest["data"]["mapping"]["columns"]["item"] == "what"
    assert first.config.session_gap_s is None
    evaluated = run_main("evaluate", later, "--registry", registry, "--json")
    assert evaluated.code == 0, evaluated.errors
    assert f"read by the mapping that {first.version} was trained with" in evaluated.errors
    gone_on = run_main("train", later, "--start", "champion", "--registry", registry)
    assert gone_on.code == 0, gone_on.errors
    assert Registry(registry).load().manifest["data"]["mapping"] == first.manifest["data"]["mapping"]
    # A file of a known layout is read as what it is.
    known = tmp_path / "known.csv"
    known.write_text(
        "session_id,item_id,timestamp\n"
        + "\n".join(f"s{n // 4},i{n % 5},{1_800_000_000 + n}" for n in range(80))
    )
    other = run_main("evaluate", known, "--registry", registry, "--json")
    assert other.code == 0, other.errors
    assert "read by the mapping" not in other.errors


def test_a_folder_of_parts_is_a_log(tmp_path: Path) -> None:
    folder = tmp_path / "events.csv"
    for part in range(3):
        (folder / f"day={part}").mkdir(parents=True)
        rows = "".join(f"s{part}{n // 4},i{n % 5},{1_700_000_000 + 1000 * part + n}\n" for n in range(40))
        (folder / f"day={part}" / f"part-{part}.csv").write_text(f"sid,sku,at\n{rows}")
    (folder / "_SUCCESS").write_text("")
    (folder / ".part.crc").write_bytes(b"\0")
    columns = ("--columns", "session=sid,item=sku,time=at")
    ended = run_main("data", "report", folder, *columns, "--json")
    assert ended.code == 0, ended.errors
    assert json.loads(ended.out)["events"] == 120
    guessed = run_main("data", "guess", folder, "--output", tmp_path / "mylog.toml")
    assert guessed.code == 0, guessed.errors


def test_one_object_of_json_that_holds_the_events_is_a_log(tmp_path: Path) -> None:
    log = tmp_path / "export.json"
    events = [{"visit": f"s{n // 4}", "sku": n % 5, "at": 1_700_000_000 + n} for n in range(40)]
    log.write_text(json.dumps({"exported": "today", "events": events}, indent=2))
    columns = "session=events[].visit,item=events[].sku,time=events[].at"
    ended = run_main("data", "report", log, "--columns", columns, "--json")
    assert ended.code == 0, ended.errors
    assert json.loads(ended.out)["events"] == 40


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("session,item,time\n1,2,3\n".encode("utf-16-le"), "iconv -f utf-16"),
        (b"PK-workbook", "is a workbook of a spreadsheet"),
    ],
)
def test_what_no_reader_reads_is_refused_with_what_to_do(tmp_path: Path, content: bytes, told: str) -> None:
    log = tmp_path / "log"
    if content.startswith(b"PK"):
        with zipfile.ZipFile(log, "w") as archive:
            archive.writestr("[Content_Types].xml", "<Types/>")
            archive.writestr("xl/worksheets/sheet1.xml", "<sheet/>")
    else:
        log.write_bytes(content)
    ended = run_main("data", "report", log)
    assert ended.code == 2
    assert told in " ".join(ended.errors.split())
