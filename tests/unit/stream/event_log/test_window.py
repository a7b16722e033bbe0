import tempfile
import time
from pathlib import Path
from unittest import mock

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from replay.end_to_end.demo import BROKER_PARTITIONS, EmbeddedBroker
from stream.event_log.archive_folder import ArchiveFolder
from stream.event_log.archive_part import OpenPart
from stream.event_log.columns import Record, event_columns, record_columns, record_of
from stream.event_log.window import LOG_END, read_window
from stream.events import Event, Kind, encode_event
from stream.ingest.mapped_decoder import MappedDecoder
from stream.log_mapping import LogMapping
from stream.settings import Settings
from tests.harness.archives import Log, archived, first_at, plain_window, produce, rows_of, write_archive

# Their times are small numbers, to be read.
SETTINGS = Settings(min_event_time_ms=0)
FOREVER_MS = 1 << 60
FUTURE_MS = 4_000_000_000_000
POISON = (None, b"", b"{", b'{"session_id":"s","event_time_ms":1}', b'{"session_id":"s"}')

ids = st.sampled_from(["a", "b", "ü", "session-4"])
events = st.builds(
    Event,
    session_id=ids,
    event_time_ms=st.integers(0, 40) | st.just(FUTURE_MS),
    item_id=st.sampled_from(["1", "2", "3"]),
    kind=st.sampled_from(["view", "cart", "session_end"]),
    price=st.none() | st.floats(0, 9),
)


@st.composite
def record_lists(draw: st.DrawFn) -> list[Record]:
    """Records of a partition: late ones, equal times, holes between offsets, poison, unusual bytes."""
    found: list[Record] = []
    offset = 0
    for _ in range(draw(st.integers(0, 30))):
        event = draw(events)
        value: bytes | None = encode_event(event)
        key: bytes | None = event.session_id.encode()
        time_ms: int | None = event.event_time_ms
        shape = draw(st.integers(0, 9))
        if shape == 0:
            value, time_ms = draw(st.sampled_from(POISON)), draw(st.integers(0, 40))
        elif shape == 1:
            value = msgspec.json.format(value or b"") + b"\n"
        elif shape == 2:
            key = draw(st.none() | st.just(b"other"))
        elif shape == 3:
            offset += draw(st.integers(1, 3))
        found.append(Record(offset, key, value, time_ms))
        offset += 1
    return found


logs = st.lists(record_lists(), min_size=1, max_size=3).map(lambda lists: dict(enumerate(lists)))


@given(record_lists())
def test_a_record_comes_back_from_its_columns_byte_for_byte(records: list[Record]) -> None:
    assert [record_of(row) for row in record_columns(3, records).to_pylist()] == records


def test_what_a_mapping_leaves_out_is_counted_apart_from_what_cannot_be_read(tmp_path: Path) -> None:
    mapping = LogMapping({"session": "s", "item": "i", "time": "t", "kind": "k"}, {"look": "view"})
    values = [b'{"s":1,"i":2,"t":5,"k":"look"}', b'{"s":1,"i":2,"t":6,"k":"scroll"}', b'{"s":1,"t":7}', b"{"]
    archive = ArchiveFolder(tmp_path)
    archive.open_partition(0)
    part = OpenPart(archive, 0, 0, 0.0, MappedDecoder(mapping))
    for offset, value in enumerate(values):
        part.add(Record(offset, None, value, 5))
    part.publish()
    window = read_window(SETTINGS, archive=tmp_path)
    assert len(window.frame) == 1
    assert window.rejected == {"not_json": 1}
    assert window.left_out == {"other_kind": 1, "no_item": 1}


def test_usual_records_take_no_raw_bytes() -> None:
    event = Event("s", 5, "i", price=1.5)
    # As a replay sends it, whose kind is not the very object of the default.
    replayed = Event("s", 6, "i", "-view"[1:])  # type: ignore[arg-type]
    assert b"kind" in encode_event(replayed)
    records = [Record(0, b"s", encode_event(event), 5), Record(1, b"s", encode_event(replayed), 6)]
    table = record_columns(0, records)
    assert table["raw_value"].null_count == table["raw_key"].null_count == 2
    assert [record_of(row) for row in table.to_pylist()] == records


@examples(deadline=None, max_examples=40)
@given(logs, st.integers(1, 9), st.integers(1, 4), st.integers(0, 40), st.integers(1, 40))
def test_a_window_by_time_is_that_of_a_plain_reading(
    log: Log, rotate: int, group: int, from_ms: int, length_ms: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_archive(folder, log, rotate, group)
        assert archived(folder) == log
        window = read_window(SETTINGS, from_ms=from_ms, until_ms=from_ms + length_ms, archive=folder)
    latest_ms = int((time.time() + SETTINGS.max_future_s) * 1000)
    plain = plain_window(log, window.offsets, from_ms, from_ms + length_ms, latest_ms)
    assert rows_of(window) == plain.rows
    assert window.rejected == plain.rejected
    assert {number: first for number, (first, _) in window.offsets.items()} == first_at(log, from_ms)


@examples(deadline=None, max_examples=60)
@given(logs, st.integers(1, 40), st.none() | st.integers(1, 41))
def test_the_newest_events_are_those_of_a_plain_reading(log: Log, newest: int, until_ms: int | None) -> None:
    with tempfile.TemporaryDirectory() as name, mock.patch("stream.event_log.window.LEAST_BACK", 1):
        folder = Path(name)
        write_archive(folder, log, 7, 2)
        window = read_window(SETTINGS, newest_events=newest, until_ms=until_ms, archive=folder)
    latest_ms = int((time.time() + SETTINGS.max_future_s) * 1000)
    everything = {number: (0, kept[-1].offset + 1 if kept else 0) for number, kept in log.items()}
    plain = plain_window(log, everything, 0, until_ms or FOREVER_MS, latest_ms)
    assert rows_of(window) == plain.rows[-newest:]
    inside = plain_window(log, window.offsets, 0, until_ms or FOREVER_MS, latest_ms)
    assert window.rejected == inside.rejected
    if len(plain.rows) >= newest:
        oldest_ms = plain.rows[-newest][0]
        assert isinstance(oldest_ms, int)
        assert {number: first for number, (first, _) in window.offsets.items()} == first_at(log, oldest_ms)


def simple_log(events: int) -> Log:
    return {
        0: [Record(n, b"s", encode_event(Event("s", 1000 + n, f"i{n}")), 1000 + n) for n in range(events)]
    }


def test_the_newest_events_do_not_need_the_whole_archive(tmp_path: Path) -> None:
    write_archive(tmp_path, simple_log(6_000), rotate=500, group=100)
    for part in sorted((tmp_path / "partition=0").glob("*.parquet"))[:9]:
        whole = part.read_bytes()
        footer = int.from_bytes(whole[-8:-4], "little") + 8
        part.write_bytes(bytes(len(whole) - footer) + whole[-footer:])
    window = read_window(SETTINGS, newest_events=700, archive=tmp_path)
    assert window.offsets == {0: (5_300, 6_000)}
    assert window.frame["item_id"].tolist() == [f"i{n}" for n in range(5_300, 6_000)]


def test_the_next_window_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    log = simple_log(100)
    write_archive(tmp_path, {0: log[0][:60]}, rotate=20, group=7)
    before = read_window(SETTINGS, archive=tmp_path)
    write_archive(tmp_path, {0: log[0][60:]}, rotate=20, group=7)
    after = read_window(
        SETTINGS, offsets={n: (end, LOG_END) for n, (_, end) in before.offsets.items()}, archive=tmp_path
    )
    assert before.offsets == {0: (0, 60)}
    assert after.offsets == {0: (60, 100)}
    assert after.frame["item_id"].tolist() == [f"i{n}" for n in range(60, 100)]


@pytest.mark.parametrize("asked", [{0: (5, 101)}, {0: (101, LOG_END)}, {1: (0, 5)}, {0: (9, 7)}])
def test_offsets_that_are_not_there_are_an_error(tmp_path: Path, asked: dict[int, tuple[int, int]]) -> None:
    write_archive(tmp_path, simple_log(100), rotate=50, group=50)
    with pytest.raises(NextclickError, match="are asked for"):
        read_window(SETTINGS, offsets=asked, archive=tmp_path)


def test_a_window_becomes_sessions_which_its_session_ends_cut(tmp_path: Path) -> None:
    events = [
        Event("s", 1, "a"), Event("s", 2, "b"), Event("s", 3, kind="session_end"), Event("s", 4, "a"),
        Event("s", 5, "b", title="Bread"),
    ]  # fmt: skip
    records = [Record(n, b"s", encode_event(e), e.event_time_ms) for n, e in enumerate(events)]
    write_archive(tmp_path, {0: records}, rotate=2, group=2)
    frame = read_window(SETTINGS, archive=tmp_path).frame
    vocabulary = Vocabulary.from_frame(frame)
    assert vocabulary.item_ids.tolist() == ["a", "b"]
    assert vocabulary.titles == {"b": "Bread"}
    assert Sessions.from_frame(frame, vocabulary, SessionRule(None)).lengths.tolist() == [2, 2]
    assert "price" not in frame


def test_a_window_is_without_dismissals_and_has_as_many_events_as_are_wanted(tmp_path: Path) -> None:
    kinds: list[Kind] = ["view", "dismiss", "purchase", "dismiss", "view"]
    events = [Event("s", 10 + n, f"i{n}", kind) for n, kind in enumerate(kinds)]
    records = [Record(n, b"s", encode_event(event), event.event_time_ms) for n, event in enumerate(events)]
    write_archive(tmp_path, {0: records}, rotate=5, group=2)
    assert read_window(SETTINGS, archive=tmp_path).frame["item_id"].tolist() == ["i0", "i2", "i4"]
    newest = read_window(SETTINGS, archive=tmp_path, newest_events=2)
    assert newest.frame["item_id"].tolist() == ["i2", "i4"]
    assert not newest.rejected


def test_an_empty_window_has_its_columns(tmp_path: Path) -> None:
    write_archive(tmp_path, simple_log(3), rotate=2, group=2)
    window = read_window(SETTINGS, from_ms=5_000, archive=tmp_path)
    assert window.frame.empty
    assert {"session_id", "item_id", "event_time_ms", "kind"} <= set(window.frame)
    assert window.offsets == {0: (3, 3)}


def test_a_damaged_file_is_an_error_that_names_the_archive(tmp_path: Path) -> None:
    write_archive(tmp_path, simple_log(100), rotate=50, group=50)
    path = sorted((tmp_path / "partition=0").glob("*.parquet"))[1]
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(NextclickError, match="cannot be read"):
        read_window(SETTINGS, archive=tmp_path)


def test_the_columns_of_a_window_are_those_of_a_record_but_for_its_bytes() -> None:
    records = [Record(4, b"s", encode_event(Event("s", 9, "i", "cart", title="T")), 9), Record(5, b"", b"x")]
    names = event_columns(1, records).column_names
    assert event_columns(1, records).to_pylist() == record_columns(1, records).select(names).to_pylist()


def test_a_broker_that_finds_no_times_is_read_from_the_start() -> None:
    broker = EmbeddedBroker()
    settings = Settings(bootstrap_servers=broker.address, partitions=BROKER_PARTITIONS, min_event_time_ms=0)
    broker.make_topics(settings)
    produce(
        settings, [(n % 4, b"s", encode_event(Event("s", 1000 + n, f"i{n}")), 1000 + n) for n in range(80)]
    )
    assert read_window(settings, from_ms=1070).frame["item_id"].tolist() == [f"i{n}" for n in range(70, 80)]
    newest = read_window(settings, newest_events=5)
    assert newest.frame["item_id"].tolist() == [f"i{n}" for n in range(75, 80)]
    assert newest.offsets == dict.fromkeys(range(4), (0, 20))


def test_events_before_the_least_time_are_rejected_as_the_worker_rejects_them(tmp_path: Path) -> None:
    """A producer that sent seconds as milliseconds must not teach the next version."""
    seconds, milliseconds = 1_700_000_000, 1_700_000_000_000
    events = [Event("s", time_ms, f"i{n}") for n, time_ms in enumerate((seconds, milliseconds, seconds + 60))]
    log = [Record(n, b"s", encode_event(event), event.event_time_ms) for n, event in enumerate(events)]
    write_archive(tmp_path, {0: log}, rotate=10, group=10)
    window = read_window(Settings(), archive=tmp_path)
    assert window.frame["item_id"].tolist() == ["i1"]
    assert window.rejected == {"past": 2}
    assert len(read_window(SETTINGS, archive=tmp_path).frame) == 3
