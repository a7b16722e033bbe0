"""The picture of the fused list shows what the list is made of, to those who see it and those who hear it."""

import re
from xml.etree import ElementTree

from model.networks.fused.live_tables import HALF_LIFE_MS
from model.networks.fused.ranker import UNITS
from model.networks.fused.source_arrays import CANDIDATES, SOURCES
from model.training.fused_training import HELD_OUT
from tests.conftest import ROOT

PICTURE = ROOT / "deploy" / "docs" / "fused_list.svg"
SVG = "{http://www.w3.org/2000/svg}"


def drawn() -> ElementTree.Element:
    return ElementTree.parse(PICTURE).getroot()


def words() -> list[str]:
    return [text.text or "" for text in drawn().iter(f"{SVG}text")]


def test_it_draws_every_source_once_and_its_description_names_them_all() -> None:
    names = [text.text for text in drawn().iter(f"{SVG}text") if text.get("class") == "name"]
    assert [name for name in names if name in SOURCES] == list(SOURCES)
    description = drawn().find(f"{SVG}desc")
    assert description is not None and description.text is not None
    assert all(source in description.text for source in SOURCES)


def test_its_numbers_are_those_of_the_code() -> None:
    shown = " ".join(words())
    assert f"{CANDIDATES} at most" in shown
    assert f"{UNITS} units" in shown
    assert shown.count(f"halve every {HALF_LIFE_MS // 3_600_000} hours") == 2
    assert f"newest {HELD_OUT:.0%}".replace("%", " %") in shown


def test_it_has_a_name_and_needs_nothing_from_elsewhere() -> None:
    picture = drawn()
    ids = {element.get("id") for element in picture.iter()} - {None}
    assert picture.get("role") == "img"
    assert set(picture.get("aria-labelledby", "").split()) <= ids
    assert picture.get("aria-labelledby")
    text = PICTURE.read_text()
    assert re.findall(r"https?://[^\"']+", text) == ["http://www.w3.org/2000/svg"]
    assert set(re.findall(r"url\(#(\w+)\)", text)) <= ids
    assert "@import" not in text and "<script" not in text


def test_it_has_colours_of_its_own_in_the_light_and_in_the_dark() -> None:
    style = drawn().find(f"{SVG}style")
    assert style is not None and style.text is not None
    light, dark = style.text.split("@media (prefers-color-scheme: dark)")
    coloured = [set(re.findall(r"\.(\w+)", part)) for part in (light, dark)]
    used = {name for element in drawn().iter() for name in element.get("class", "").split()}
    assert used <= coloured[0]
    assert used - coloured[1] == {"head", "name", "small"}
