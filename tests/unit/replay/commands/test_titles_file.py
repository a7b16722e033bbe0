import gzip
from pathlib import Path

import pytest
import typer

from model.config import ModelConfig
from model.errors import NextclickError
from replay.commands.titles_file import read_titles, titles_for

TEXT = """price,item_id,title
1.5,a1,Red cup
,00042,"Cup, blue
and tall"
3,empty,
4,,Nobody's
5,a1, Red cup (new)
6,NA,null
"""


def test_a_catalogue_is_titles_by_id_as_they_are_written(tmp_path: Path) -> None:
    plain, packed = tmp_path / "c.csv", tmp_path / "c.bin"
    plain.write_text(TEXT)
    packed.write_bytes(gzip.compress(TEXT.encode()))
    expected = {"a1": "Red cup (new)", "00042": "Cup, blue\nand tall", "NA": "null"}
    assert read_titles(plain) == expected
    assert read_titles(packed) == expected


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"title\ncup\ncup\n", "none of its columns is item_id"),
        (b"item_id\n1\n", "no column title"),
        (b"item_id,title\n1,cup,extra,more\n2,\xff\xfe\n", "UTF-8"),
        (gzip.compress(TEXT.encode(), mtime=0)[:40], "cut off or damaged"),
    ],
)
def test_what_is_no_catalogue_is_named_with_its_reason(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "c.csv"
    path.write_bytes(content)
    with pytest.raises(NextclickError, match=what) as caught:
        read_titles(path)
    assert str(path) in caught.value.what


def test_a_catalogue_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NextclickError, match=r"absent\.csv cannot be opened"):
        read_titles(tmp_path / "absent.csv")


def test_a_catalogue_of_other_names_is_read_and_its_columns_are_said_by_an_option_of_their_own(
    tmp_path: Path,
) -> None:
    path, mapping = tmp_path / "c.tsv", tmp_path / "items.toml"
    path.write_text("asin\tproduct_id\tName\nB1\t1\tcup\nB2\t2\t\n")
    mapping.write_text("[columns]\nitem = 'product_id'\ntitle = 3\nprice = 'asin'\n")
    assert read_titles(path, "item=asin") == {"B1": "cup"}
    assert read_titles(path, str(mapping)) == {"1": "cup"}
    with pytest.raises(NextclickError, match="several columns may be the item") as caught:
        read_titles(path)
    assert "--catalogue-columns item=product_id" in caught.value.remedy
    with pytest.raises(NextclickError, match="no column title"):
        path.write_text("sku\tcolour\n1\tred\n")
        read_titles(path)


def test_columns_of_no_catalogue_are_refused() -> None:
    with pytest.raises(typer.BadParameter, match="none is named"):
        titles_for(ModelConfig(network="text-gru"), None, "item=sku")
    assert titles_for(ModelConfig(network="text-gru"), None) == {}
