"""All events of an archive, partition after partition, and what is said of what it lacks."""

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from model.errors import NextclickError
from stream.event_log.archive_folder import is_archive
from stream.event_log.columns import Record
from stream.event_log.logged_events import LoggedEvents
from stream.event_log.window import read_window
from stream.events import Event, encode_event
from stream.settings import Settings
from tests.harness.archives import Log, write_archive

SETTINGS = Settings(min_event_time_ms=0)


def record(offset: int, session: str, time_ms: int, *, price: float | None = None) -> Record:
    event = Event(session, time_ms, f"item-{offset % 7}", price=price)
    return Record(offset, session.encode(), encode_event(event), time_ms)


def a_log(*, broken: int = 0) -> Log:
    """Two partitions, each in order of time; the first begins with records that are no events."""
    first = [Record(offset, b"s", b"{", 5) for offset in range(broken)]
    first += [record(offset, f"a{offset % 9}", 10 * offset) for offset in range(broken, broken + 40)]
    return {0: first, 1: [record(offset, f"b{offset % 5}", 10 * offset, price=2.5) for offset in range(30)]}


def test_the_events_are_those_of_a_window(tmp_path: Path) -> None:
    write_archive(tmp_path, a_log(broken=4), rotate=12, group=5)
    assert is_archive(tmp_path)
    logged, rejects = LoggedEvents(SETTINGS, archive=tmp_path), Counter[str]()
    frames = list(logged.read(rejects))
    # Partition after partition: a's sessions, then b's.
    sessions = pd.concat(frames)["session_id"].str[0].tolist()
    assert sessions == ["a"] * 40 + ["b"] * 30
    window = read_window(SETTINGS, archive=tmp_path)
    order = ["event_time_ms", "session_id", "item_id"]
    columns = [*order, "kind", "price"]
    own = pd.concat(frames).sort_values(order, ignore_index=True)[columns]
    pd.testing.assert_frame_equal(own, window.frame.sort_values(order, ignore_index=True)[columns])
    assert rejects == window.rejected == {"not_json": 4}
    assert (logged.offsets, logged.account.records, logged.account.events) == (window.offsets, 74, 70)
    assert logged.notes() == []
    # Every reading is the same.
    assert sum(map(len, logged.read(Counter()))) == 70


def test_nothing_is_learned_of_a_forgotten_session_nor_from_a_dismissal(tmp_path: Path) -> None:
    log = a_log()
    for kind, session in (("dismiss", "b1"), ("forget", "b2")):
        event = Event(session, 900, "item-1" if kind == "dismiss" else "", kind)  # type: ignore[arg-type]
        log[1].append(Record(len(log[1]), session.encode(), encode_event(event), 900))
    log[1].append(record(32, "b2", 1_000))
    write_archive(tmp_path, log, rotate=8, group=3)
    logged, rejects = LoggedEvents(SETTINGS, archive=tmp_path), Counter[str]()
    frame = pd.concat(logged.read(rejects))
    # What came after the forgetting is of a new visit.
    assert frame[frame["session_id"] == "b2"]["event_time_ms"].tolist() == [1_000]
    assert set(frame["kind"]) == {"view"}
    assert rejects == {"dismissed or forgotten": 8}
    assert logged.account.records == 73 == len(frame) + 8
    window = read_window(SETTINGS, archive=tmp_path)
    assert sorted(frame["event_time_ms"]) == sorted(window.frame["event_time_ms"])


def test_what_the_log_lacks_is_said(tmp_path: Path) -> None:
    log = a_log()
    # Retention removed the first ten; transactions left two offsets without a record.
    log = {0: log[0][10:20] + log[0][22:], 3: log[1]}
    write_archive(tmp_path, log, rotate=10, group=5)
    part = tmp_path / "partition=0"
    renamed = sorted(part.glob("*.parquet"))
    renamed[0].rename(part / renamed[0].name.replace("0" * 20, f"{10:020}", 1))
    logged = LoggedEvents(SETTINGS, archive=tmp_path)
    list(logged.read(Counter()))
    begins, absent, holes = logged.notes()
    assert "partition 0 at 10" in begins
    assert "no partition 1, 2" in absent
    assert holes.startswith("2 of 60 offsets")


def test_a_log_that_is_mostly_no_events_is_refused_unless_it_is_allowed(tmp_path: Path) -> None:
    write_archive(tmp_path, a_log(broken=80), rotate=50, group=50)
    logged = LoggedEvents(SETTINGS, archive=tmp_path)
    with pytest.raises(NextclickError, match=r"70 of 150 records.*not_json 80"):
        list(logged.read(Counter()))
    assert sum(map(len, logged.read(Counter(), most_rejected=0.9))) == 70


def test_an_archive_without_records_is_refused(tmp_path: Path) -> None:
    write_archive(tmp_path, {0: []}, rotate=5, group=5)
    with pytest.raises(NextclickError, match="has no records"):
        list(LoggedEvents(SETTINGS, archive=tmp_path).read(Counter()))


def test_other_folders_are_no_archive(tmp_path: Path) -> None:
    (tmp_path / "partition=0").mkdir()
    (tmp_path / "partition=0" / "part-0.parquet").touch()
    (tmp_path / "topic.json").write_text("{}")
    assert not is_archive(tmp_path)
    assert not is_archive(tmp_path / "topic.json")


def test_the_facts_have_no_time_ahead_of_the_clock(tmp_path: Path) -> None:
    write_archive(tmp_path, a_log(), rotate=50, group=50)
    facts = LoggedEvents(SETTINGS, archive=tmp_path).facts(1 << 50)
    assert facts["newest_event_time_ms"] == 1 << 50 > facts["last_event_time_ms"]
    assert facts["offsets"] == {"0": [0, 40], "1": [0, 30]}
    assert facts["source"] == str(tmp_path)
