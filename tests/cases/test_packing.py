"""Files packed as they are published: zstd, old line ends, zips with more than the log."""

import gzip
import zipfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from model.errors import NextclickError
from replay.datasets.event_files import EventFiles
from replay.reading.account import FileAccount

HEADER = "timestamp_ms,session_id,user_id,item_id\n"
CLICKS = (HEADER + "".join(f"{1506826800026 + n},s{n % 500},u,{n}\n" for n in range(5000))).encode()
RATINGS = b"".join(b"%d::%d::4::978300760\n" % (n % 9 + 1, n + 1) for n in range(50))


def packed(data: bytes, codec: str) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(data)
    return bytes(sink.getvalue())


def count(path: Path, on_error: str = "stop", format: str | None = None) -> tuple[int, Counter[str]]:
    rejects: Counter[str] = Counter()
    reader = EventFiles([path], format=format, on_error=on_error).open()
    return sum(len(frame) for frame in reader.read(rejects)), rejects


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_zstd_and_lz4_are_read(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "c.csv"
    path.write_bytes(packed(CLICKS, codec))
    assert count(path) == (5000, Counter())
    path.write_bytes(packed(CLICKS, codec) + packed(CLICKS.partition(b"\n")[2], codec))
    assert count(path) == (10_000, Counter())


def test_of_a_zstd_file_that_is_cut_off_the_lines_before_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "c.csv.zst"
    data = packed(CLICKS[:-100_000], "zstd") + packed(CLICKS[-100_000:], "zstd")
    path.write_bytes(data[:-50])
    with pytest.raises(NextclickError, match="the file is cut off or damaged here"):
        count(path)
    found, rejects = count(path, "skip")
    # The codec gives pieces of 16 KB: the lines of one may be lost beside those after the cut.
    assert found > 500
    assert rejects == {"file is cut off": 1}


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lambda data: packed(data, "zstd")])
def test_lines_that_end_in_carriage_returns_are_lines(tmp_path: Path, pack: object) -> None:
    path = tmp_path / "mac.csv"
    path.write_bytes(pack(CLICKS.replace(b"\n", b"\r")))  # type: ignore[operator]
    assert count(path) == (5000, Counter())


def test_a_header_that_is_no_csv_is_an_error_and_no_traceback(tmp_path: Path) -> None:
    path = tmp_path / "cr.csv"
    path.write_bytes(b'a"b\rc,d\n1,2\n')
    with pytest.raises(NextclickError, match="the format is unknown"):
        count(path)
    with pytest.raises(NextclickError, match="has no column"):
        EventFiles([path], columns="session=s,item=i,time=t").open()


@pytest.mark.parametrize("format", [None, "movielens"])
def test_files_of_no_known_format_in_a_zip_are_named_and_left_out(tmp_path: Path, format: str | None) -> None:
    path = tmp_path / "ml.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ml/README", "SUMMARY\n")
        archive.writestr("ml/ratings.dat", RATINGS)
        archive.writestr("ml/movies.dat", b"1::Toy Story (1995)::Animation\n")
        archive.writestr("ml/users.dat", b"1::F::1::10::48067\n")
        archive.writestr("ml/empty", b"")
    found, rejects = count(path, format=format)
    assert found == 50
    left_out = {f"file of no known format: {path / name}" for name in ("README", "users.dat", "empty")}
    assert {reason for reason in rejects if "format" in reason} == left_out


def test_a_zip_of_which_nothing_is_known_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("README", "SUMMARY\n")
        archive.writestr("LICENSE", "None\n")
    with pytest.raises(NextclickError, match="the format is unknown"):
        count(path)


def test_a_packed_file_within_a_zip_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv.zst", packed(CLICKS, "zstd"))
        archive.writestr("b.csv.gz", gzip.compress(CLICKS))
    assert count(path) == (10_000, Counter())


def test_bytes_that_are_not_read_are_an_error() -> None:
    with pytest.raises(NextclickError, match="5 of its 10 bytes were read"):
        FileAccount(bytes=5, size=10).check(Path("c.csv"))
