"""The rows of a file of items are the same words in any container, delimiter, packing and encoding."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from replay.commands.catalogue_file import catalogue_file
from replay.item_files.item_mapping import ItemMapping
from replay.item_files.item_rows import RowsRead, read_words
from replay.item_files.item_values import is_yes, moment_of, price_of
from stream.catalogue.item_word import ItemWord, RejectedWord
from stream.file_shape import FileShape

ROWS = [
    {"sku": "1", "name": 'Mug, "white"\nlarge', "eur": 12.5, "stock": True, "categories": "home > mugs"},
    {"sku": "2", "name": "Tässe", "eur": 7.0, "stock": False, "categories": "home > cups"},
    {"sku": "x3", "name": "Bowl", "eur": 3.25, "stock": True, "categories": "bowls"},
]
COLUMNS = "item=sku,title=name,price=eur,available=stock,category=categories"
WORDS = {
    "1": ItemWord('Mug, "white"\nlarge', None, ["home", "mugs"], 12.5),
    "2": ItemWord("Tässe", None, ["home", "cups"], 7.0, False),
    "x3": ItemWord("Bowl", None, "bowls", 3.25),
}


def packed(text: str, name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, text)
    return buffer.getvalue()


def contents() -> dict[str, tuple[bytes, str]]:
    """Files of the same items, and what has to be said beside the columns."""
    table, lines = pd.DataFrame(ROWS), "\n".join(map(json.dumps, ROWS))
    parquet, feather = io.BytesIO(), io.BytesIO()
    table.to_parquet(parquet)
    table.to_feather(feather)
    text = table.to_csv(index=False)
    return {
        "comma": (text.encode(), ""),
        "semicolon and bom": (table.to_csv(index=False, sep=";").encode("utf-8-sig"), ""),
        "tab": (table.to_csv(index=False, sep="\t").encode(), ""),
        "utf-16": (text.encode("utf-16"), ""),
        "latin-1": (text.encode("latin-1"), ",encoding=latin-1"),
        "decimal comma": (table.to_csv(index=False, sep=";", decimal=",").encode(), ""),
        "gzip": (gzip.compress(text.encode()), ""),
        "zip": (packed(text, "items.csv"), ""),
        "json lines": (lines.encode(), ""),
        "json array": (json.dumps(ROWS, indent=1).encode(), ""),
        "parquet": (parquet.getvalue(), ""),
        "feather": (feather.getvalue(), ""),
    }


@pytest.mark.parametrize("kind", contents())
def test_a_file_of_any_kind_has_the_same_words(tmp_path: Path, kind: str) -> None:
    data, more = contents()[kind]
    path = tmp_path / "items"
    path.write_bytes(data)
    rows = RowsRead()
    assert dict(catalogue_file(path, COLUMNS + more).words(rows)) == WORDS
    assert (rows.words, rows.left_out) == (3, {})


def test_a_mapping_in_a_file_says_everything(tmp_path: Path) -> None:
    table, mapping = tmp_path / "items.csv", tmp_path / "items.toml"
    table.write_text("1|Mug|1700000000|soon\n2|Bowl||ready\n")
    mapping.write_text(
        'time_unit = "s"\n[columns]\nitem = 1\ntitle = 2\navailable_from = 3\navailable = 4\n'
        '[values]\nsoon = "no"\nready = "yes"\n[files]\ndelimiter = "|"\nheader = false\n'
    )
    rows = RowsRead()
    assert dict(catalogue_file(table, mapping=mapping).words(rows)) == {
        "1": ItemWord("Mug", available=False, available_from_ms=1_700_000_000_000),
        "2": ItemWord("Bowl"),
    }


def test_parts_of_a_folder_are_one_catalogue(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"part-{number}.csv").write_text(f"sku,name\n{number},n{number}\n")
    assert [item for item, _ in catalogue_file(tmp_path).words(RowsRead())] == ["1", "2"]


def test_ids_are_those_of_the_events(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("item_id,title\n7.0,a\n 8 ,b\n0042,c\n")
    assert [item for item, _ in catalogue_file(path).words(RowsRead())] == ["7", "8", "0042"]


def test_rows_that_cannot_be_read_are_counted_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text('{"sku": "a"}\n{"sku": \n{"sku": "b", "title": {"en": "x"}}\n\n{"sku": "c"}\n')
    rows = RowsRead()
    mapping = ItemMapping({"item": "sku", "title": "title"}, files=FileShape("json-lines"))
    assert [item for item, _ in read_words(path, mapping, rows)] == ["a", "c"]
    assert rows.left_out == {"unreadable": 2}
    assert rows.first["unreadable"] == "line 2: unreadable: no JSON"


def test_values_are_read_as_shops_write_them() -> None:
    assert [price_of(text) for text in ("12", "0.99 USD", "€7.5", "1,299.00")] == [12, 0.99, 7.5, 1299]
    assert [price_of(text, ",") for text in ("1.299,00 €", "7", "12,5")] == [1299, 7, 12.5]
    for text in ("1,299", "nan", "-1", "free"):
        with pytest.raises(RejectedWord, match="price"):
            price_of(text)
    assert [is_yes(text, {}) for text in ("In Stock", "in_stock", "12", "TRUE")] == [True] * 4
    assert [is_yes(text, {}) for text in ("out-of-stock", "0", "0.0", "sold out")] == [False] * 4
    for text in ("perhaps", "-1", ""):
        with pytest.raises(RejectedWord, match="neither yes nor no"):
            is_yes(text, {})
    assert moment_of("2026-12-24 01:00", "Europe/Berlin") == moment_of("2026-12-24T00:00Z")
