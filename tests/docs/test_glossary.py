"""The glossary names what is in the code, each word once."""

import ast
import re
from functools import cache
from pathlib import Path

from tests.conftest import ROOT
from tests.harness.pages import Page

PAGE = Page(ROOT / "deploy" / "docs" / "glossary.md")
ROWS = PAGE.rows()
# Root files of the packages, which every room may import.
CONTRACTS = [path for package in ("model", "stream", "replay") for path in (ROOT / package).glob("*.py")]


@cache
def names_in(path: Path) -> set[str]:
    """What a module defines at its top, and its own name."""
    names = {path.stem}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return names


def test_every_row_has_a_word_a_meaning_and_a_place() -> None:
    assert len(ROWS) > 100
    for row in ROWS:
        assert len(row) == 3 and all(row), row
    words = [row[0].strip("`").lower() for row in ROWS if not row[0].startswith("`")]
    assert len(words) == len(set(words))
    names = [row[0] for row in ROWS if row[0].startswith("`")]
    assert len(names) == len(set(names))


def test_every_name_of_the_code_is_where_the_glossary_says() -> None:
    for word, _, place in ROWS:
        target = re.fullmatch(r"\[[^]]+\]\(([^)]+)\)", place)
        assert target, place
        path = (PAGE.path.parent / target[1]).resolve()
        assert path.exists(), place
        if word.startswith("`"):
            assert word.strip("`") in names_in(path), f"{word} is not in {place}"


def test_the_rows_are_in_alphabetical_order() -> None:
    for code in (False, True):
        words = [row[0].strip("`").lower() for row in ROWS if row[0].startswith("`") == code]
        assert words == sorted(words)


def test_the_types_that_every_room_may_use_are_explained() -> None:
    words = {row[0].strip("`") for row in ROWS}
    for path in CONTRACTS:
        types = {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)}
        lacking = {name for name in types - words if not name.startswith("_")}
        assert not lacking, f"{path.relative_to(ROOT)}: add {lacking} to deploy/docs/glossary.md"
