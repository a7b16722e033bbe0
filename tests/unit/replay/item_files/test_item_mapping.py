"""A mapping of items on a command line and in a file; a wrong one is refused with what it may say."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.errors import NextclickError
from replay.item_files.item_mapping import ItemMapping, parse_item_columns, read_item_mapping
from stream.file_shape import FileShape


def test_a_command_line_names_columns_values_times_and_the_shape_of_the_file() -> None:
    mapping = parse_item_columns(
        "item=2, title=shop:name, available=state:preorder=yes,gone=no, attributes.colour=farbe,"
        "available_from=start:%d.%m.%Y %H:%M@Europe/Berlin,delimiter=tab,decimal=comma,header=no"
    )
    assert mapping == ItemMapping(
        {
            "item": 2, "title": "shop:name", "available": "state", "attributes.colour": "farbe",
            "available_from": "start",
        },
        {"preorder": "yes", "gone": "no"},
        "%d.%m.%Y %H:%M",
        "Europe/Berlin",
        FileShape(delimiter="\t", decimal=",", header=False),
    )  # fmt: skip


def test_a_mapping_is_the_same_after_a_file(tmp_path: Path) -> None:
    mapping = ItemMapping(
        {"item": "sku", "title": 3, "attributes.colour": "fär be"},
        {"pre order": "yes", '"': "no"},
        "s",
        "Asia/Tokyo",
        FileShape(delimiter="|", header=True, encoding="cp1252"),
    )
    path = tmp_path / "items.toml"
    path.write_text(mapping.as_toml(), "utf-8")
    assert read_item_mapping(path) == mapping


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[columns]\ntitle = 't'", "does not say which one is the item"),
        ("[columns]\nitem = 't'\nsession = 's'", "items have no session"),
        ("[columns]\nitem = 0", "empty"),
        ("[columns]\nitem = 1.5", "neither a name nor a number"),
        ("[columns]\nitem = 'i'\n[values]\nx = 'perhaps'", "perhaps"),
        ("[columns]\nitem = 'i'\n[filez]\nheader = true", "filez"),
        ("[columns]\nitem = 'i'\n[files]\nencoding = 'klingon'", "klingon"),
        ("time_zone = 'Mars'\n[columns]\nitem = 'i'", "Mars"),
        ("time_unit = 'weeks'\n[columns]\nitem = 'i'", "weeks"),
        ("[columns", "cannot be read as a mapping"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "items.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(NextclickError, match=said) as caught:
        read_item_mapping(path)
    assert str(path) in caught.value.what


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NextclickError, match=r"none\.toml cannot be read"):
        read_item_mapping(tmp_path / "none.toml")
