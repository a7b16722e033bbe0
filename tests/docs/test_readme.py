"""The README is short, and what it shows is there."""

import json
import os
import re
import tomllib

import pytest

from stream.events import decode_event, decode_recommendation
from tests.conftest import ROOT
from tests.harness.pages import Page

README = Page(ROOT / "README.md")
MOST_LINES = 120
MOST_WORDS = 1_000


def test_the_readme_is_short() -> None:
    assert len(README.text.splitlines()) <= MOST_LINES
    assert len(README.text.split()) <= MOST_WORDS


def test_the_first_screen_shows_what_it_looks_like_and_how_to_run_it() -> None:
    screen = "\n".join(README.text.splitlines()[:20])
    assert "![" in screen
    assert "./deploy/demo" in screen


@pytest.mark.parametrize("script", ["./deploy/demo", "./tests/run"])
def test_the_two_commands_of_the_readme_are_there_to_run(script: str) -> None:
    assert script in README.shell_lines()
    assert os.access(ROOT / script, os.X_OK)


def test_the_event_and_the_list_are_as_the_topics_have_them() -> None:
    event, shown = (json.loads(block) for block in README.blocks("json"))
    assert decode_event(json.dumps(event).encode()).session_id == event["session_id"]
    shown["scores"] = [score for score in shown["scores"] if not isinstance(score, str)]
    assert decode_recommendation(json.dumps(shown).encode()).session_id == event["session_id"]


def test_every_package_that_runs_has_its_line() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    packages = {re.split(r"[=<>!~\[]", requirement)[0] for requirement in project["dependencies"]}
    rows = README.text.split("## Dependencies")[1].split("\n## ")[0]
    named = {
        name.strip()
        for row in re.findall(r"^\| ([^|]+) \| [^|]+ \|$", rows, re.MULTILINE)
        for name in row.split(",")
    }
    assert named - {"package"} == packages
