from collections import Counter
from pathlib import Path

import pytest

from model.errors import NextclickError
from replay.datasets import event_files as files
from replay.datasets.detection import detect
from replay.datasets.event_files import EventFiles
from tests.harness.packed import taken_before_the_cut, write

RATINGS = "1::1193::5::978300760\n1::661::3::978302109\n2::1193::4.5::978298413\n"
RATINGS_CSV = "userId,movieId,rating,timestamp\n1,2,3.5,1112486027\n1,29,3.5,1112484676\n"
# As in the 1M release: Latin-1.
MOVIES = (
    b"1193::One Flew Over the Cuckoo's Nest (1975)::Drama\n"
    + "661::Misérables, Les (1995)::Drama|Musical\n".encode("latin-1")
    + b'7::"Quoted": A Title (1999)::(no genres listed)\n'
)
MOVIES_CSV = (
    "movieId,title,genres\n"
    '2,"American President, The (1995)",Comedy|Drama|Romance\n'
    '29,"City of Lost Children, The (Cité des enfants perdus, La) (1995)",Adventure|Sci-Fi\n'
    "30,Nobody Rated This (1995),(no genres listed)\n"
)


@pytest.mark.parametrize("suffix", [".dat", ".dat.gz", ".dat.xz", ".dat.zip"])
def test_ratings_are_views_of_the_user_in_order_of_time(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"ratings{suffix}", RATINGS)
    assert detect(path) == "movielens"
    frame = EventFiles([path]).load()
    assert frame["event_time_ms"].tolist() == [978298413000, 978300760000, 978302109000]
    assert frame.to_dict("records")[0] == {
        "session_id": "2",
        "item_id": "1193",
        "event_time_ms": 978298413000,
        "kind": "view",
        "user_id": "2",
    }


@pytest.mark.parametrize("movies_first", [True, False])
def test_movies_are_known_by_their_content_and_joined(tmp_path: Path, movies_first: bool) -> None:
    paths = [write(tmp_path / "a.dat", RATINGS), write(tmp_path / "b.dat", MOVIES)]
    frame = EventFiles(paths[::-1] if movies_first else paths).load()
    assert frame["title"].tolist() == [
        "One Flew Over the Cuckoo's Nest (1975)",
        "One Flew Over the Cuckoo's Nest (1975)",
        "Misérables, Les (1995)",
    ]
    assert frame["category"].tolist() == ["Drama", "Drama", "Drama|Musical"]


def test_movies_in_utf8_are_read_as_such(tmp_path: Path) -> None:
    paths = [write(tmp_path / "r.dat", RATINGS), write(tmp_path / "m.dat", MOVIES.decode("latin-1"))]
    assert EventFiles(paths).load()["title"].tolist()[-1] == "Misérables, Les (1995)"


def test_the_csv_releases_are_read_with_their_quoted_titles(tmp_path: Path) -> None:
    paths = [write(tmp_path / "ratings.csv", RATINGS_CSV), write(tmp_path / "movies.csv", MOVIES_CSV)]
    frame = EventFiles(paths).load()
    assert frame["item_id"].tolist() == ["29", "2"]
    assert frame["title"].tolist()[1] == "American President, The (1995)"
    assert frame["category"].tolist() == ["Adventure|Sci-Fi", "Comedy|Drama|Romance"]


def test_a_movie_that_is_not_described_has_no_title(tmp_path: Path) -> None:
    paths = [write(tmp_path / "r.dat", RATINGS), write(tmp_path / "m.dat", MOVIES.split(b"\n")[0])]
    assert EventFiles(paths).load()["title"].isna().tolist() == [False, False, True]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\n\n"),
        lambda text: text.rstrip("\n"),
        lambda text: text.replace("\n", "\r\n").rstrip("\n"),
    ],
)
@pytest.mark.parametrize("text", [RATINGS, RATINGS_CSV])
def test_line_ends_marks_and_blank_lines_do_not_matter(tmp_path: Path, text: str, change: object) -> None:
    assert callable(change)
    plain = EventFiles([write(tmp_path / "a", text)]).load()
    assert EventFiles([write(tmp_path / "b", change(text))]).load().equals(plain)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("3::12::5", "wrong number of fields, 3 instead of 4"),
        ("3::12::5::978300760::1", "wrong number of fields, 5 instead of 4"),
        ("3::12::5::soon", "Timestamp is no number"),
        ("3::12::good::978300760", "Rating is no number"),
        ("::12::5::978300760", "UserID is empty"),
        ("3::::5::978300760", "MovieID is empty"),
        ("3::12::5::978300760000", "event time is outside 1970 to 2100"),
        ("9" * 257 + "::12::5::978300760", "session_id is longer than 256 characters"),
    ],
)
def test_a_broken_line_is_named_or_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, reason: str
) -> None:
    monkeypatch.setattr(files, "BLOCK_BYTES", 600)
    path = write(tmp_path / "ratings.dat", RATINGS * 20 + "\n\r\n" + line + "\n" + RATINGS)
    with pytest.raises(NextclickError) as caught:
        list(EventFiles([path]).read())
    assert f"{path}, line 63: {reason}" in caught.value.what
    assert line[:100] in caught.value.what
    rejects: Counter[str] = Counter()
    frame = EventFiles([path], on_error="skip").load(rejects)
    assert (len(frame), rejects) == (63, {reason.split(",")[0]: 1})


def test_a_broken_line_of_metadata_is_named_or_counted(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "r.dat", RATINGS),
        write(tmp_path / "m.dat", MOVIES + b"8::Lost\n661::Again (1995)::Drama\n"),
    ]
    with pytest.raises(NextclickError, match=r"m\.dat, line 4: wrong number of fields"):
        EventFiles(paths).load()
    rejects: Counter[str] = Counter()
    log = EventFiles(paths, on_error="skip").open()
    assert log.load(rejects)["title"].tolist()[-1] == "Misérables, Les (1995)"
    assert rejects == {"metadata: wrong number of fields": 1, "metadata: repeated item": 1}
    rejects.clear()
    assert len(log.load(rejects)) == 3
    assert rejects.total() == 2, "read again, counted again"


def test_metadata_without_their_events_are_an_error(tmp_path: Path) -> None:
    movies = write(tmp_path / "m.dat", MOVIES)
    clicks = write(tmp_path / "c.csv", "timestamp_ms,session_id,user_id,item_id\n1,2,3,4\n")
    for paths in ([movies], [clicks, movies]):
        with pytest.raises(NextclickError, match="holds metadata") as caught:
            EventFiles(paths).load()
        assert str(movies) in caught.value.what


@pytest.mark.parametrize("line", ["15::4973::excellent!::1215184630", "1::F::1::10::48067"])
def test_the_other_files_of_a_release_are_not_taken_for_events(tmp_path: Path, line: str) -> None:
    with pytest.raises(NextclickError, match="format is unknown"):
        detect(write(tmp_path / "t.dat", line + "\n"))


def test_metadata_join_also_where_the_format_is_named(tmp_path: Path) -> None:
    paths = [write(tmp_path / "r.dat", RATINGS), write(tmp_path / "m.dat", MOVIES)]
    assert "title" in EventFiles(paths, format="movielens").load()


def test_of_a_cut_off_file_the_ratings_before_the_cut_can_be_taken(tmp_path: Path) -> None:
    text = "".join(f"{n}::{n * 7919}::5::{978300760 + n}\r\n" for n in range(20_000))
    path = write(tmp_path / "r.dat.gz", text)
    frame = taken_before_the_cut(path, 20_000)
    assert frame["item_id"].tolist() == [str(n * 7919) for n in range(len(frame))]
