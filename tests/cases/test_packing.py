"""Files packed as they are published: zstd, old line ends, zips with more than the log."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from model.errors import NextclickError
from replay.datasets.event_files import EventFiles
from replay.reading.account import FileAccount
from replay.reading.containers.archives import tar_member

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


def tarred(parts: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in parts.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def clicks_in(parts: int) -> dict[str, bytes]:
    """The clicks as files of an export, each with its header, beside what is no part."""
    lines = CLICKS.decode().splitlines(keepends=True)[1:]
    found = {f"export/part-{n}.csv": (HEADER + "".join(lines[n::parts])).encode() for n in range(parts)}
    return {"export/_SUCCESS": b"", **found, "export/._part-0.csv": b"\0\0"}


PACKS = [bytes, gzip.compress, bz2.compress, lzma.compress, lambda data: packed(data, "zstd")]


@pytest.mark.parametrize("pack", PACKS)
def test_a_tar_of_parts_is_a_log_packed_or_not(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "export.tar"
    parts = clicks_in(3)
    parts["export/part-1.csv.gz"] = gzip.compress(parts.pop("export/part-1.csv"))
    path.write_bytes(pack(tarred(parts)))
    rejects: Counter[str] = Counter()
    reader = EventFiles([path]).open()
    frame = pd.concat(reader.read(rejects))
    assert (len(frame), rejects) == (5000, Counter())
    assert sorted(frame["event_time_ms"]) == [1506826800026 + n for n in range(5000)]
    assert [Path(one).name for one in reader.formats] == ["part-0.csv", "part-2.csv", "part-1.csv.gz"]


class Counted(io.FileIO):
    """A file that counts the bytes that are read of it."""

    read_bytes = 0

    def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override]
        count = super().readinto(buffer)
        self.read_bytes += count or 0
        return count


def test_of_an_unpacked_tar_the_parts_before_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "export.tar"
    path.write_bytes(tarred({"part-0.csv": bytes(8 << 20), "part-1.csv": CLICKS}))
    file = Counted(path)
    with tar_member(path, io.BufferedReader(file), "part-1.csv") as member:
        assert member.read() == CLICKS
    assert file.read_bytes < len(CLICKS) + (1 << 20)


def test_a_tar_that_is_cut_off_says_so_and_keeps_the_lines_before(tmp_path: Path) -> None:
    path = tmp_path / "export.tar"
    path.write_bytes(tarred(clicks_in(2))[:-30_000])
    with pytest.raises(NextclickError, match="the file is cut off or damaged here"):
        count(path)
    found, rejects = count(path, "skip")
    assert 2500 < found < 5000
    assert rejects == {"file is cut off": 1}


def test_a_tar_with_two_files_of_one_name_or_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "export.tar"
    path.write_bytes(tarred({"a/clicks.csv": CLICKS, "b/clicks.csv": CLICKS}))
    with pytest.raises(NextclickError, match=r"holds 2 files named clicks\.csv"):
        count(path)
    path.write_bytes(tarred({"._clicks.csv": b""}))
    with pytest.raises(NextclickError, match="holds 0 files"):
        count(path)
    path.write_bytes(CLICKS)
    with pytest.raises(NextclickError, match="cannot be opened"):
        count(path / "clicks.csv")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_utf_16_that_says_so_is_text(tmp_path: Path, encoding: str, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "export.csv"
    text = "\ufeff" + CLICKS.decode().replace(",u,", ",ü\U0001f600,").replace("\n", "\r\n")
    path.write_bytes(pack(text.encode(encoding)))
    rejects: Counter[str] = Counter()
    frame = pd.concat(EventFiles([path]).open().read(rejects))
    assert (len(frame), rejects) == (5000, Counter())
    assert frame["user_id"].unique().tolist() == ["ü\U0001f600"]
    # Half a character at the end.
    path.write_bytes(pack(text.encode(encoding)[:-1]))
    with pytest.raises(NextclickError, match="UTF-16 ends within a character"):
        count(path)
