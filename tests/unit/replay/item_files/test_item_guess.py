"""What is what in a shop's file of items is guessed by names and values, and refused where it is not sure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model.errors import NextclickError
from replay.item_files.item_guess import guess_items
from replay.item_files.item_mapping import parse_item_columns
from stream.file_shape import FileShape


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "items"
    path.write_text(text, "utf-8")
    return path


def test_a_feed_of_products_is_known_by_its_names(tmp_path: Path) -> None:
    feed = written(
        tmp_path,
        "id\ttitle\tlink\timage_link\tavailability\tprice\tproduct_type\tgtin\n"
        "a1\tMug\thttps://s/1\thttps://s/1.jpg\tin_stock\t15.00 USD\tHome > Mugs\t77\n"
        "a2\tBowl\thttps://s/2\thttps://s/2.jpg\tout_of_stock\t7.50 USD\tHome > Bowls\t78\n",
    )
    found = guess_items(feed, parse_item_columns(""))
    assert found.mapping.columns == {
        "item": "id", "title": "title", "price": "price", "category": "product_type",
        "available": "availability", "image": "image_link", "url": "link",
    }  # fmt: skip
    assert found.evidence["available"] == "availability, by its name, such as in_stock"
    assert found.notes == [
        "gtin may be the item too: its ids are those of the events",
        "not read: gtin; attributes.NAME=COLUMN keeps one",
    ]


def test_decimal_commas_dates_and_counts_of_pieces_are_seen_in_the_values(tmp_path: Path) -> None:
    table = written(
        tmp_path,
        "Artikelnr;Bezeichnung;Preis (EUR);Bestand;lieferbar_ab\n"
        "77;Tasse;1.299,50;3;24.12.2026\n78;Schale;7,00;0;01.02.2027\n",
    )
    mapping = guess_items(table, parse_item_columns("")).mapping
    assert mapping.columns == {
        "item": "Artikelnr", "title": "Bezeichnung", "price": "Preis (EUR)", "available": "Bestand",
        "available_from": "lieferbar_ab",
    }  # fmt: skip
    assert (mapping.time_unit, mapping.files) == ("%d.%m.%Y", FileShape("", ";", True, "", ","))


@pytest.mark.parametrize(
    ("text", "why", "answer"),
    [
        ("asin,product_id\nB1,1\nB2,2\n", "several columns may be the item", "item=product_id"),
        ("state,availability,sku\n1,yes,1\n1,preorder,2\n", "whether preorder", "availability:preorder=no"),
        ('sku,price\n1,"1,299"\n2,"2,500"\n', "for decimals or thousands", "decimal=comma"),
        ("sku,available_from\n1,02/03/2026\n2,04/05/2026\n", "can be read in 2 ways", "available_from:%"),
        ("colour,size\nred,1\nred,2\n", "none of its columns is item_id, item, id, sku", "item=size"),
    ],
)
def test_what_is_not_sure_is_refused_with_the_words_that_say_it(
    tmp_path: Path, text: str, why: str, answer: str
) -> None:
    with pytest.raises(NextclickError, match=why) as caught:
        guess_items(written(tmp_path, text), parse_item_columns(""))
    assert answer in caught.value.remedy and "--columns" in caught.value.remedy


def test_what_is_said_settles_a_doubt(tmp_path: Path) -> None:
    table = written(tmp_path, "asin,product_id,availability\nB1,1,yes\nB2,2,preorder\n")
    said = parse_item_columns("item=asin,available=availability:preorder=yes")
    found = guess_items(table, said)
    assert found.mapping.columns == {"item": "asin", "available": "availability"}
    assert found.mapping.values == {"preorder": "yes"}
    assert found.notes[0] == "product_id may be the item too: its ids are those of the events"
    assert guess_items(table, parse_item_columns("item=1,available=3")).mapping.columns["item"] == "asin"
    with pytest.raises(NextclickError, match="it has no column asim") as caught:
        guess_items(table, parse_item_columns("item=asim"))
    assert "asin?" in caught.value.remedy


def test_a_column_whose_values_say_neither_yes_nor_no_is_something_else(tmp_path: Path) -> None:
    found = guess_items(written(tmp_path, "sku,stock\n1,Berlin\n2,Paris\n"), parse_item_columns(""))
    assert "available" not in found.mapping.columns
    assert "stock is not taken for available" in found.notes[0]


def test_records_are_items_and_their_lists_are_not_rows(tmp_path: Path) -> None:
    lines = [{"sku": n, "name": f"n{n}", "category": ["home", "mugs"], "tags": ["a", "b"]} for n in (1, 2)]
    found = guess_items(written(tmp_path, "\n".join(map(json.dumps, lines))), parse_item_columns(""))
    assert found.mapping.columns == {"item": "sku", "title": "name", "category": "category"}
    document = {"shop": "x", "products": [{"id": n, "title": "t", "size": {"id": 7}} for n in (1, 2)]}
    found = guess_items(written(tmp_path, json.dumps(document, indent=1)), parse_item_columns(""))
    assert found.mapping.columns == {"item": "products[].id", "title": "products[].title"}


def test_ids_that_repeat_are_noted(tmp_path: Path) -> None:
    found = guess_items(written(tmp_path, "sku,name\n1,a\n1,b\n2,c\n"), parse_item_columns(""))
    assert found.notes == ["1 of 3 rows looked at repeat an id: its last row counts"]
