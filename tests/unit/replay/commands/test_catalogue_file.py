import gzip
from pathlib import Path

import pytest

from model.errors import NextclickError
from replay.commands.catalogue_file import RowsRead, parse_columns, read_catalogue
from stream.catalogue.item_word import ItemWord


def read(tmp_path: Path, text: str, columns: str | None = None) -> tuple[dict[str, ItemWord], RowsRead]:
    path = tmp_path / "catalogue.csv"
    path.write_text(text, encoding="utf-8")
    rows = RowsRead()
    return dict(read_catalogue(path, parse_columns(columns), rows)), rows


def test_a_table_with_the_usual_names_is_read_without_a_word_about_columns(tmp_path: Path) -> None:
    words, rows = read(
        tmp_path,
        "\ufeffitem_id;title;price;available;category;available_from;attributes.colour;warehouse\n"
        '1;"White; mug";12.50;yes;home > mugs;2026-12-24;white;Berlin\n'
        "2;;;out of stock;;;;\n"
        "\n"
        "3;Bowl;;;bowls;1700000000000;;\n",
    )
    assert words == {
        "1": ItemWord(
            "White; mug", None, ["home", "mugs"], 12.5, True, 1_798_070_400_000, None, {"colour": "white"}
        ),
        "2": ItemWord(available=False),
        "3": ItemWord("Bowl", None, "bowls", available_from_ms=1_700_000_000_000),
    }
    assert (rows.words, rows.left_out) == (3, {})


def test_columns_of_other_names_are_named(tmp_path: Path) -> None:
    words, _ = read(tmp_path, "sku,name,farbe\n7,Mug,blau\n", "item=sku,title=name,attributes.colour=farbe")
    assert words == {"7": ItemWord("Mug", attributes={"colour": "blau"})}


def test_rows_that_say_nothing_are_counted_by_reason_with_their_first_line(tmp_path: Path) -> None:
    words, rows = read(
        tmp_path,
        "id,price,available,category,available_until\n"
        ",1,,,\n"
        "a,cheap,,,\n"
        "b,-1,,,\n"
        "c,nan,,,\n"
        "d,1,perhaps,,\n"
        "e,1,,x/y/x,\n"
        "f,1,,,tomorrow\n"
        "g,1\n"
        "h,2,,,\n",
    )
    assert list(words) == ["h"]
    assert rows.left_out == {"key": 1, "price": 3, "available": 1, "category": 1, "times": 1, "columns": 1}
    assert rows.first["price"] == "line 3: price: 'cheap' is no number"
    assert rows.first["columns"] == "line 9: columns: 2 values, 5 columns"


@pytest.mark.parametrize(
    ("text", "columns", "why"),
    [
        ("name\nmug\n", None, "none of its columns is item_id, item, id, sku: name"),
        ("id\n1\n", "title=name", "it has no column name"),
        ("id\n1\n", "attributes.colour=farbe", "it has no column farbe"),
        ("", None, "none of its columns"),
    ],
)
def test_a_table_without_the_columns_is_refused(tmp_path: Path, text: str, columns: str, why: str) -> None:
    with pytest.raises(NextclickError, match=why):
        read(tmp_path, text, columns)


@pytest.mark.parametrize("text", ["title", "colour=x", "attributes.=x", "item=a,item=b", "title="])
def test_columns_that_name_nothing_are_refused(text: str) -> None:
    with pytest.raises(NextclickError, match="--columns"):
        parse_columns(text)


def test_a_file_that_is_cut_off_or_no_text_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress(b"id,title\n" + b"".join(b"%d,mug\n" % n for n in range(20_000)))
    for name, data in (("cut.csv.gz", packed[:-9]), ("latin.csv", b"id,title\n1,caf\xe9\n")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(NextclickError, match="cannot be read to its end"):
            list(read_catalogue(tmp_path / name, {}, RowsRead()))
