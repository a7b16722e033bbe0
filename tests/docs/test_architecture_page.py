"""The page of the architecture has a row for every room of the code, and draws what is there."""

import re

from tests.conftest import ROOT
from tests.harness.pages import Page

PAGE = Page(ROOT / "deploy" / "docs" / "architecture.md")
PACKAGES = ("model", "stream", "replay")
ROOMS = [
    (row[0].strip("`"), row[2]) for row in PAGE.rows() if re.fullmatch(r"`(model|stream|replay)/\w+`", row[0])
]


def test_every_room_has_its_row() -> None:
    rooms = {
        path.parent.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).glob("*/__init__.py")
    }
    assert {room for room, _ in ROOMS} == rooms


def test_rooms_may_import_rooms_of_their_package_that_stand_above_them() -> None:
    above: set[str] = set()
    for room, allowed in ROOMS:
        package = room.split("/")[0]
        for name in filter(None, allowed.split(", ")):
            assert name == "all" or f"{package}/{name}" in above, f"{room} → {name}"
        above.add(room)


def test_the_drawn_ways_name_files_of_the_code() -> None:
    drawn = "\n".join(PAGE.blocks("mermaid"))
    for name in re.findall(r"\[(\w+/\w+)\]", drawn):
        found = [package for package in PACKAGES if (ROOT / package / f"{name}.py").exists()]
        assert len(found) == 1, f"{name} is in {found}"


def test_the_nine_steps_are_there_in_order() -> None:
    steps = [int(row[0].split(",")[0].split()[0]) for row in PAGE.rows() if re.match(r"\d ", row[0])]
    assert steps == list(range(1, 10))
