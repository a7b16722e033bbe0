import gzip
from pathlib import Path

import pytest

from model.errors import NextclickError
from replay.commands.titles_file import read_titles

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
        (b"", "No columns"),
        (b"id,title\n1,cup\n", "no column item_id"),
        (b"item_id\n1\n", "no column title"),
        (b"item_id,title\n1,cup,extra,more\n2,\xff\xfe\n", "decode"),
        (gzip.compress(TEXT.encode(), mtime=0)[:40], "ended before"),
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
