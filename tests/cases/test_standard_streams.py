"""Standard output that is closed, full, narrow or of few characters."""

import io
import os
from pathlib import Path

import pytest

from replay import console
from tests.harness.commands import run_main

COMMANDS = (("settings",), ("settings", "--json"), ("models",), ("asyncapi",), ("--help",))


@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_closed_standard_output_ends_quietly(arguments: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb", closefd=True) as closed:
        ended = run_main(*arguments, stdout=closed)
    assert (ended.code, ended.errors) == (0, "")


def test_a_closed_standard_output_leaves_the_exit_code_of_a_failure() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        assert run_main("data", "report", "no-log.csv", stdout=closed).code == 2


@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_full_disk_below_standard_output_is_an_error(arguments: tuple[str, ...]) -> None:
    with io.BufferedWriter(io.FileIO("/dev/full", "w")) as full:
        ended = run_main(*arguments, stdout=full)
    assert ended.code == 2
    assert "standard output cannot be written: No space left on device" in ended.errors


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_characters_that_a_terminal_lacks_are_replaced(encoding: str, tmp_path: Path) -> None:
    log = tmp_path / "log\u0142.csv"
    rows = [f"{1506826800000 + n * 1000},s{n // 4},u,\u0142{n % 4}" for n in range(200)]
    log.write_text("timestamp_ms,session_id,user_id,item_id\n" + "\n".join(rows) + "\n", encoding="utf-8")
    for arguments in (("data", "report", log), ("settings",), ("data", "report", f"{log}\u0142")):
        ended = run_main(*arguments, encoding=encoding)
        assert ended.code in (0, 2)
        assert "Traceback" not in ended.errors
    assert "session_id" not in ended.out


def test_a_table_too_wide_for_the_terminal_becomes_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console.out, "_width", 20)
    ended = run_main("settings")
    assert "setting: bootstrap_servers\nvalue: 127.0.0.1:9092\nfrom: default\n" in ended.out
    assert not set("\u2502\u2503|\u2026") & set(ended.out.split("setting: web_port")[0])
