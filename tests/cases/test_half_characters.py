"""Bytes that are no text cost their line, which is named, and nothing else."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

from model.errors import NextclickError
from replay.datasets import event_files
from replay.datasets.event_files import EventFiles

COLUMNS = "session=session_id,item=item_id,time=at"
GOOD = b"".join(b"s%d,i%d,1396861497,x\n" % (n, n) for n in range(20))
HEADER = b"session_id,item_id,at,note\n"


@pytest.fixture(params=[400, 1 << 20])
def unraised(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What a library could not raise, and would print; with blocks of several sizes."""
    found: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", found.append)
    monkeypatch.setattr(event_files, "BLOCK_BYTES", request.param)
    return found


@pytest.mark.parametrize("value", [b"two\nlines", b"plain"])
@pytest.mark.parametrize(
    "wrong",
    [b"s,i,1396861497,x,\xc3", b"s,i\xc3", b"\xff", b"s,i,1396861497,\xe2\x82,y", b's,"i\xe9"\xe9,1,2,"3"'],
)
def test_half_a_character_in_a_row_of_a_wrong_length_is_named_and_nothing_is_printed(
    tmp_path: Path, wrong: bytes, value: bytes, unraised: list[object]
) -> None:
    path = tmp_path / "half.csv"
    quoted = b's,q,1396861497,"' + value + b'"\n'
    path.write_bytes(HEADER + GOOD + quoted + wrong + b"\n" + GOOD)
    line = path.read_bytes().split(b"\n").index(wrong) + 1
    rejects: Counter[str] = Counter()
    reader = EventFiles([path], columns=COLUMNS, on_error="dlq").open()
    lines: list[tuple[int, str, bytes]] = []
    reader.reject_line = lambda path, line, reason, text: lines.append((line, reason, text))
    assert sum(len(frame) for frame in reader.read(rejects)) == 41
    assert rejects == {"wrong number of fields": 1}
    assert lines == [(line, "wrong number of fields", wrong)]
    assert reader.accounts[str(path)]["lost"] == 0
    with pytest.raises(NextclickError, match=f"line {line}: wrong number of fields"):
        EventFiles([path], columns=COLUMNS).load()
    assert unraised == []


def test_a_whole_row_of_another_encoding_keeps_its_bytes(tmp_path: Path, unraised: list[object]) -> None:
    path = tmp_path / "latin.csv"
    path.write_bytes(HEADER + GOOD + b"s,caf\xe9,1396861497,x\n" + b"s,\xe9\n" + GOOD)
    said = EventFiles([path], columns=f"{COLUMNS},encoding=latin-1", on_error="skip").load()
    assert "caf\xe9" in said["item_id"].tolist()
    rejects: Counter[str] = Counter()
    assert len(EventFiles([path], columns=COLUMNS, on_error="skip").load(rejects)) == 40
    assert rejects == {"not UTF-8": 1, "wrong number of fields": 1}
    assert unraised == []


def test_a_format_without_quotes_has_no_half_characters_either(
    tmp_path: Path, unraised: list[object]
) -> None:
    path = tmp_path / "ratings.dat"
    path.write_bytes(b"1::2::3::978300760\n" * 30 + b"1::2\xc3\n" + b"1::2::3::978300760\n" * 3)
    rejects: Counter[str] = Counter()
    EventFiles([path], on_error="skip").load(rejects)
    assert rejects["wrong number of fields"] == 1
    assert unraised == []
