import bz2
import gzip
import lzma
import zipfile
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from model.errors import NextclickError
from replay.datasets import event_files as files
from replay.datasets.event_files import EventFiles
from replay.reading.packed_files import WholeLines, open_file
from stream.events import MAX_EVENT_TIME_MS, Event, decode_event, encode_event

HEADER = "timestamp_ms,session_id,user_id,item_id\n"
CLICK = "1506826800026,11,59,234853\n"
RETAIL = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
KAGGLE = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n"


def many(count: int) -> str:
    return HEADER + "".join(f"{1506826800026 + n},{n * 7919},{n},{n * 31}\n" for n in range(count))


def read(path: Path, on_error: str = "stop") -> tuple[pd.DataFrame, Counter[str]]:
    rejects: Counter[str] = Counter()
    return pd.concat(list(EventFiles([path], on_error=on_error).read(rejects))), rejects


def error_of(path: Path) -> str:
    with pytest.raises(NextclickError) as caught:
        list(EventFiles([path]).read())
    assert str(path) in caught.value.what
    return caught.value.what


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few lines, so that a small file has many."""
    monkeypatch.setattr(files, "BLOCK_BYTES", 400)


def test_the_line_is_that_of_the_file_over_blank_lines_and_values_of_several_lines(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    sale = "1,22961,{},1,2010-12-01 09:41:00,1.45,,UK\n"
    bad = "1,22962,X,many,2010-12-01 09:41:00,1.45,,UK\n"
    path.write_text(RETAIL + "\n" + sale.format('"two\nlines"') + "\n\n" + bad)
    assert "line 7: Quantity is no number" in error_of(path)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    ("bad", "reason"), [("soon,1,2,3\n", "no number"), ("150,1\n", "wrong number of fie")]
)
def test_the_line_is_right_in_a_later_block(tmp_path: Path, bad: str, reason: str) -> None:
    path = tmp_path / "c.csv"
    path.write_text(HEADER + CLICK * 100 + bad + CLICK)
    assert f"line 102: {reason}" in error_of(path).replace("timestamp_ms is ", "")
    frame, rejects = read(path, "skip")
    assert len(frame) == 101
    assert rejects.total() == 1


@pytest.mark.parametrize("time", ["-5", str(MAX_EVENT_TIME_MS + 1), "1506826800026000", "1e300"])
def test_a_time_outside_the_schema_is_a_broken_line(tmp_path: Path, time: str) -> None:
    path = tmp_path / "c.csv"
    path.write_text(HEADER + CLICK + f"{time},1,2,3\n")
    assert "line 3: event time is outside 1970 to 2100" in error_of(path)
    frame, rejects = read(path, "skip")
    assert (len(frame), rejects) == (1, {"event time is outside 1970 to 2100": 1})


@pytest.mark.parametrize("time", ["inf", "nan", "", "0x1F", "2017-10-01"])
def test_a_time_that_is_no_number_is_a_broken_line(tmp_path: Path, time: str) -> None:
    path = tmp_path / "c.csv"
    path.write_text(HEADER + f"{time},1,2,3\n")
    assert "line 2: timestamp_ms is no number" in error_of(path)


def test_bytes_that_are_not_utf8_cost_only_their_line(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_bytes((HEADER + CLICK).encode() + b"1506826800026,\xa3\xff,1,2\n" + CLICK.encode())
    assert "line 3: not UTF-8" in error_of(path)
    frame, rejects = read(path, "skip")
    assert (len(frame), rejects) == (2, {"not UTF-8": 1})


def test_what_is_read_is_what_the_topic_takes(tmp_path: Path) -> None:
    longest, longer = "9" * 256, "9" * 257
    path = tmp_path / "c.csv"
    path.write_text(HEADER + f"{MAX_EVENT_TIME_MS},{longest},{longest},{longest}\n")
    frame, _ = read(path)
    (row,) = frame.to_dict("records")
    event = Event(**{str(name): value for name, value in row.items()})
    assert decode_event(encode_event(event), longest.encode()) == event
    for line in (f"1,{longer},2,3\n", f"1,2,{longer},3\n", f"1,2,3,{longer}\n"):
        path.write_text(HEADER + CLICK + line)
        assert "line 3" in error_of(path)
        assert read(path, "skip")[1].total() == 1


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_of_a_cut_off_archive_the_lines_before_the_cut_can_be_taken(tmp_path: Path, pack: object) -> None:
    assert callable(pack)
    text = many(20_000)
    packed = pack(text.encode())
    path = tmp_path / "c.csv"
    path.write_bytes(packed[: len(packed) // 2])
    what = error_of(path)
    frame, rejects = read(path, "skip")
    assert rejects == {"file is cut off": 1}
    assert 1_000 < len(frame) < 20_000
    assert f"line {len(frame) + 2}: the file is cut off" in what
    path.write_text(text)
    whole, _ = read(path)
    assert frame.reset_index(drop=True).equals(whole.iloc[: len(frame)].reset_index(drop=True))


@pytest.mark.parametrize("size", [1, 7, 40, 1 << 20])
@pytest.mark.parametrize("text", ["", "a", "a\n", "abc\ndefghijklmnop\n\nq", "\n\n\n"])
def test_whole_lines_give_the_file_back(tmp_path: Path, size: int, text: str) -> None:
    path = tmp_path / "t"
    path.write_text(text)
    with open_file(path) as file:
        lines = WholeLines(file)
        parts = list(iter(lambda: lines.read(size), b""))
    assert b"".join(parts).decode() == text
    assert all(len(part) <= size for part in parts)
    assert lines.lines == text.count("\n")
    assert lines.cut_off is None


@pytest.mark.usefixtures("small_blocks")
def test_repeats_are_found_across_the_borders_of_blocks(tmp_path: Path) -> None:
    retail, kaggle = tmp_path / "r.csv", tmp_path / "k.csv"
    sale = "{},22961,X,1,2010-12-01 09:41:00,1.45,,UK\n"
    retail.write_text(RETAIL + sale.format(1) * 50 + sale.format(2) * 50)
    frame, rejects = read(retail)
    assert frame["session_id"].tolist() == ["1", "2"]
    assert rejects == {"repeated line of a basket": 98}
    view = "2019-10-01 00:00:00 UTC,view,{},1,,acme,35.79,9,s1\n"
    kaggle.write_text(KAGGLE + (view.format(1) + view.format(2)) * 30)
    frame, rejects = read(kaggle)
    assert frame["item_id"].tolist() == ["1", "2"]
    assert rejects == {"duplicate": 58}


def test_a_line_that_is_no_sale_does_not_hide_the_sale_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    line = "1,22961,X,{},2010-12-01 09:41:00,1.45,,UK\n"
    path.write_text(RETAIL + line.format(-1) + line.format(2) + line.format(3))
    frame, rejects = read(path)
    assert len(frame) == 1
    assert rejects == {"no sale": 1, "repeated line of a basket": 1}


def test_how_a_file_is_packed_is_known_by_its_content(tmp_path: Path) -> None:
    for name, content in (("c.gz", lzma.compress(many(3).encode())), ("c.xz", many(3).encode())):
        path = tmp_path / name
        path.write_bytes(content)
        assert len(read(path)[0]) == 3


def test_no_basket_of_online_retail_holds_an_item_twice(shared_data: Path) -> None:
    rejects: Counter[str] = Counter()
    frame = EventFiles([shared_data / "online_retail" / "online_retail.csv.xz"]).load(rejects)
    assert len(frame) + rejects.total() == 541_909
    assert not frame.duplicated(["session_id", "item_id"]).any()
    assert set(rejects) == {"return", "no product", "no sale", "repeated line of a basket"}
    assert not frame["item_id"].isin(["POST", "M", "DOT", "BANK CHARGES"]).any()


def test_globo_is_read_in_order_and_whole(shared_data: Path) -> None:
    chunks = EventFiles([shared_data / "globo" / "clicks.csv.xz"]).read()
    first = next(chunks)
    assert first["event_time_ms"].is_monotonic_increasing
    assert len(first) < 1_000_000, "a chunk, not the file"
    assert len(first) + sum(len(chunk) for chunk in chunks) == 2_988_181


def test_of_a_damaged_archive_the_lines_before_the_damage_can_be_taken(tmp_path: Path) -> None:
    packed = bytearray(bz2.compress(many(100_000).encode(), 1))
    packed[len(packed) * 3 // 4] ^= 0xFF
    path = tmp_path / "c.csv.bz2"
    path.write_bytes(packed)
    assert "the file is cut off or damaged here" in error_of(path)
    frame, rejects = read(path, "skip")
    assert rejects == {"file is cut off": 1}
    assert 1_000 < len(frame) < 100_000


def test_an_archive_that_ends_in_its_first_line_is_told_where_columns_are_named(tmp_path: Path) -> None:
    path = tmp_path / "c.csv.gz"
    path.write_bytes(gzip.compress(HEADER.encode())[:20])
    with pytest.raises(NextclickError, match="line 1: the file is cut off or damaged here"):
        list(EventFiles([path], columns="session=session_id,item=item_id,time=timestamp_ms").read())


def test_a_zip_of_a_method_that_is_not_known_is_told(tmp_path: Path) -> None:
    path = tmp_path / "c.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("c.csv", many(9))
    packed = bytearray(path.read_bytes())
    # Deflate64, where the local and the central header say Deflate.
    for place in (8, packed.index(b"PK\x01\x02") + 10):
        assert packed[place] == zipfile.ZIP_DEFLATED
        packed[place] = 9
    path.write_bytes(packed)
    with pytest.raises(NextclickError, match="packed in a way that is not known here"):
        list(EventFiles([path]).read())
