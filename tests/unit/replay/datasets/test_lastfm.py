from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import NextclickError
from replay.datasets import event_files as files
from replay.datasets.detection import detect
from replay.datasets.event_files import EventFiles
from tests.harness.packed import write

ARTIST = "f1b1cf71-bd35-4e99-8624-24a6e15f133a"
TRACK = "8b5d7b4a-3f6e-4bcb-9c67-3e7a4b2c1d00"
LISTENS = (
    f"user_000001\t2009-05-04T23:08:57Z\t{ARTIST}\tDeep Dish\t\tFuck Me Im Famous (Pacha Ibiza)-09-28-2007\n"
    f'user_000001\t2009-05-04T13:54:10Z\t{ARTIST}\t坂本龍一\t{TRACK}\t"Composition 0919 (Live)\n'
    f"user_000001\t2009-05-04T13:52:04Z\t\tSigur Rós\t\tHoppípolla\n"
)


@pytest.mark.parametrize("suffix", [".tsv", ".tsv.gz", ".tsv.xz", ".tsv.bz2", ".tsv.zip"])
def test_listens_are_views_in_order_of_time(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"l{suffix}", LISTENS)
    assert detect(path) == "lastfm-1k"
    frame = EventFiles([path]).load()
    assert frame["event_time_ms"].is_monotonic_increasing
    assert frame["session_id"].tolist() == frame["user_id"].tolist() == ["user_000001"] * 3
    assert frame.to_dict("records")[1] == {
        "session_id": "user_000001",
        "item_id": TRACK,
        "event_time_ms": 1241445250000,
        "kind": "view",
        "user_id": "user_000001",
        "brand": "坂本龍一",
        "title": '坂本龍一 – "Composition 0919 (Live)',
    }


def test_a_track_without_an_id_is_known_by_its_artist_and_name(tmp_path: Path) -> None:
    frame = EventFiles([write(tmp_path / "l.tsv", LISTENS)]).load()
    assert frame["item_id"].tolist() == [
        "Sigur Rós – Hoppípolla",
        TRACK,
        "Deep Dish – Fuck Me Im Famous (Pacha Ibiza)-09-28-2007",
    ]


def test_long_names_stay_apart_and_within_the_schema(tmp_path: Path) -> None:
    line = "user_000002\t2009-05-04T13:52:04Z\t\tA\t\t{}\n"
    text = line.format("x" * 400 + "1") + line.format("x" * 400 + "2") + line.format("x" * 400 + "1")
    items = EventFiles([write(tmp_path / "l.tsv", text)]).load()["item_id"].tolist()
    assert items[0] == items[2] != items[1]
    assert max(len(item) for item in items) <= 256


NAMES = st.text(st.characters(exclude_characters="\t\n\r", exclude_categories=["Cs"]), max_size=12)


@settings(deadline=None, max_examples=40)
@given(
    rows=st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=30),
    block=st.sampled_from([300, 1_000, 1 << 20]),
)
def test_no_character_of_a_name_moves_a_field(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], block: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "names.tsv"
    first = f"user_000001\t2009-05-04T23:08:57Z\t\tArtist\t{TRACK}\tName\n"
    lines = [f"user_000002\t2009-05-04T13:52:04Z\t\t{a}\t{TRACK}\t{t}\n" for a, t in rows]
    path.write_bytes((first + "".join(lines)).encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "BLOCK_BYTES", block)
        titles = [title for frame in EventFiles([path]).read() for title in frame["title"].tolist()]
    assert titles[1:] == [f"{a} – {t}" for a, t in rows]


def test_a_carriage_return_within_a_name_is_a_blank(tmp_path: Path) -> None:
    plain = EventFiles([write(tmp_path / "plain.tsv", LISTENS)]).load()
    text = LISTENS.replace("Deep Dish", "Deep\rDish").replace("\n", "\r\n")
    for ending in (text, text.removesuffix("\n"), text.removesuffix("\r\n")):
        assert EventFiles([write(tmp_path / "l.tsv", ending)]).load().equals(plain)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("user_000001\t2009-05-04T13:52:04Z\t\tBroken", "wrong number of fields, 4 instead of 6"),
        ("user_000001\t2009-05-04T13:52:04Z\t\tA\t\tB\tC", "wrong number of fields, 7 instead of 6"),
        ("user_000001\t2009-05-04 13:52:04\t\tA\t\tB", "timestamp is no ISO time"),
        ("\t2009-05-04T13:52:04Z\t\tA\t\tB", "userid is empty"),
    ],
)
def test_a_broken_line_is_named_or_counted(tmp_path: Path, line: str, reason: str) -> None:
    path = write(tmp_path / "l.tsv", LISTENS + line + "\n" + LISTENS)
    with pytest.raises(NextclickError) as caught:
        list(EventFiles([path]).read())
    assert f"{path}, line 4: {reason}" in caught.value.what
    assert repr(line) in caught.value.what
    rejects: Counter[str] = Counter()
    assert len(EventFiles([path], on_error="skip").load(rejects)) == 6
    assert rejects == {reason.split(",")[0]: 1}


def test_bytes_that_are_no_text_cost_only_their_line(tmp_path: Path) -> None:
    bad = b"user_000001\t2009-05-04T13:52:04Z\t\t\xff\xfe\t\tB\n"
    path = write(tmp_path / "l.tsv", LISTENS.encode() + bad)
    with pytest.raises(NextclickError, match="line 4: not UTF-8"):
        list(EventFiles([path]).read())
    assert len(EventFiles([path], on_error="skip").load()) == 3


def test_a_listen_to_nothing_is_left_out(tmp_path: Path) -> None:
    rejects: Counter[str] = Counter()
    text = LISTENS + f"user_000001\t2009-05-04T13:52:04Z\t{ARTIST}\tDeep Dish\t\t\n"
    assert len(EventFiles([write(tmp_path / "l.tsv", text)]).load(rejects)) == 3
    assert rejects == {"no track": 1}
