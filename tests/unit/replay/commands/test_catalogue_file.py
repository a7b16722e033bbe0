import gzip
from pathlib import Path

import pytest

from model.errors import NextclickError
from replay.commands.catalogue_file import catalogue_file
from replay.item_files.item_mapping import parse_item_columns
from replay.item_files.item_rows import RowsRead
from stream.catalogue.item_word import ItemWord
from tests.harness.commands import run, run_json


def read(tmp_path: Path, text: str, columns: str | None = None) -> tuple[dict[str, ItemWord], RowsRead]:
    path = tmp_path / "catalogue.csv"
    path.write_text(text, encoding="utf-8")
    rows = RowsRead()
    return dict(catalogue_file(path, columns).words(rows)), rows


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
        ("", None, "is empty"),
    ],
)
def test_a_table_without_the_columns_is_refused(tmp_path: Path, text: str, columns: str, why: str) -> None:
    with pytest.raises(NextclickError, match=why):
        read(tmp_path, text, columns)


@pytest.mark.parametrize("text", ["title", "colour=x", "attributes.=x", "item=a,item=b", "title="])
def test_columns_that_name_nothing_are_refused(text: str) -> None:
    with pytest.raises(NextclickError, match="--columns"):
        parse_item_columns(text)


def test_a_file_that_is_cut_off_or_no_text_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress(b"id,title\n" + b"".join(b"%d,mug\n" % n for n in range(20_000)))
    for name, data, why in (
        ("cut.csv.gz", packed[:-9], "cut off or damaged"),
        ("latin.csv", b"id,title\n1,caf\xe9\n", "cannot be read to its end"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(NextclickError, match=why):
            list(catalogue_file(tmp_path / name).words(RowsRead()))


def test_a_guess_is_shown_and_written_for_the_next_command(tmp_path: Path) -> None:
    table, mapping = tmp_path / "feed.tsv", tmp_path / "items.toml"
    table.write_text("sku\tname\tavailability\n1\tMug\tyes\n\tBowl\tno\n")
    shown = run("items", "guess", table, "--output", mapping)
    assert shown.exit_code == 0, shown.exception
    said = "".join(shown.stdout.split())
    assert said.endswith(f"next:nextclickitemsload{table}--log{mapping}")
    assert dict(catalogue_file(table, mapping=mapping).words(RowsRead())) == {"1": ItemWord("Mug")}
    assert "there already" in str(run("items", "guess", table, "--output", mapping).exception)
    found = run_json("items", "guess", table, "--output", mapping, "--overwrite")
    assert found["words"] == [{"item": "1", "word": {"title": "Mug"}}]
    assert found["left_out"] == {"key": 1} and found["mapping"]["columns"]["item"] == "sku"
    (tmp_path / "none.csv").write_text("sku,price\n1,free\n")
    nothing = run("items", "guess", tmp_path / "none.csv", "--output", tmp_path / "none.toml")
    assert "no row says anything of an item" in str(nothing.exception)
    assert not (tmp_path / "none.toml").exists()
