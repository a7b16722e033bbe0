import ast
import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from model.errors import NextclickError
from replay.console import log as console
from replay.console import start_logs
from stream.logs import LogLines, escaped, happening, log_failure, start_logging, tells_json
from stream.settings import Settings

ROOT = Path(__file__).parents[3]
HOSTILE = 'a\nERROR forged\r\x1b[2J\u2028\x9b"<b>'


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level, console._file, threading.excepthook
    levels = {name: logging.getLogger(name).level for name in ("faust", "mode", "aiokafka", "kafka")}
    yield
    root.handlers[:], level, console._file, threading.excepthook = before
    root.setLevel(level)
    logging.captureWarnings(False)
    logging.getLogger("kafka").filters = []
    for name, value in levels.items():
        logging.getLogger(name).setLevel(value)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_a_human_line_is_one_line_whatever_it_tells_of(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging(Settings())
    logging.getLogger("x").warning("session %s", HOSTILE, extra=happening("odd", session=HOSTILE))
    (line,) = lines(capsys)
    time, level, event, rest = line.split(" ", 3)
    assert (len(time), time[-1], level, event) == (24, "Z", "WARNING", "odd")
    assert rest == 'session a\\nERROR forged\\r\\x1b[2J\\u2028\\x9b"<b>'


def test_a_json_line_has_name_fields_and_message(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging(Settings(log_format="json"))
    extra = happening("odd", session=HOSTILE, partition=3, level="not this")
    logging.getLogger("x").warning("session %s", HOSTILE, extra=extra)
    (line,) = lines(capsys)
    found = json.loads(line)
    assert found.pop("time").endswith("Z")
    assert found == {
        "level": "WARNING",
        "event": "odd",
        "message": f"session {HOSTILE}",
        "logger": "x",
        "session": HOSTILE,
        "partition": 3,
    }
    assert line.isascii()


def test_a_failure_is_told_with_its_remedy_or_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging(Settings(log_format="json"))
    assert tells_json()
    log_failure(NextclickError("it broke", "so it stopped", "mend it"))
    try:
        raise ValueError(HOSTILE)
    except ValueError as error:
        log_failure(error)
    told, traced = map(json.loads, lines(capsys))
    assert (told["event"], told["level"], told["message"]) == ("process_failed", "CRITICAL", "it broke")
    assert (told["meaning"], told["remedy"]) == ("so it stopped", "mend it")
    assert traced["error"] == "ValueError" and "test_logs.py" in traced["traceback"]
    start_logging(Settings())
    assert not tells_json()
    try:
        raise ValueError("a\nb\x1b")
    except ValueError as error:
        log_failure(error)
    first, *rest = lines(capsys)
    assert first.endswith("process_failed ValueError: a\\nb\\x1b")
    assert rest and all(line.startswith("  ") for line in rest) and "\x1b" not in "".join(rest)


def test_what_a_client_says_again_and_again_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging(Settings())
    for milliseconds in range(5):
        logging.getLogger("kafka").error("connect failed (after %d ms)", milliseconds)
    logging.getLogger("kafka").error("another thing")
    logging.getLogger("kafka").info("chatter")
    assert [line.split(" ", 3)[3] for line in lines(capsys)] == [
        "connect failed (after 0 ms)",
        "another thing",
    ]


def test_what_a_command_tells_becomes_log_lines_in_json_only(capsys: pytest.CaptureFixture[str]) -> None:
    start_logs(Settings())
    console.print("plain words", highlight=False)
    assert lines(capsys) == ["plain words"]
    start_logs(Settings(log_format="json"))
    assert isinstance(console.file, LogLines)
    console.print("half, ", end="")
    console.print("[bold]whole[/]\nnext", highlight=False)
    assert [json.loads(line)["message"] for line in lines(capsys)] == ["half, whole", "next"]


def test_escaping_leaves_texts_as_they_are_and_keeps_direction() -> None:
    assert escaped("Привет, 世界 🛒 é\t") == "Привет, 世界 🛒 é\\t"
    assert escaped("abc\u202edcba") == "abc\\u202edcba"


def test_every_log_call_names_what_happened() -> None:
    calls, unnamed = 0, []
    for path in sorted(p for folder in ("model", "stream", "replay") for p in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if not (isinstance(node.func.value, ast.Name) and node.func.value.id == "logger"):
                continue
            calls += 1
            if not any(keyword.arg == "extra" for keyword in node.keywords):
                unnamed.append(f"{path.name}:{node.lineno}")
    assert calls > 25
    assert unnamed == []
