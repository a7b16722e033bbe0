from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any, TypeVar

import pandas as pd
import pytest
import typer

from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.splits import LogSplit, split_sessions
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.training.replicas import Replicas
from replay.commands.log_files import LogFiles
from replay.commands.read_split import SplitChoice, read_split
from stream.event_log.columns import Record
from stream.event_log.logged_events import LoggedEvents
from stream.events import Event, encode_event
from stream.settings import Settings
from tests.harness.archives import Log, write_archive

T = TypeVar("T")
LATER = [Path("later.csv")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "random"}, "temporal, shuffled, shuffled-users or user, not 'random'"),
        ({"split": "shuffled", "test_files": LATER}, "leave --test"),
        ({"split": "user", "test_from": "2017-10-03"}, "leave --test"),
    ],
)
def test_options_that_contradict_the_split_are_misuse(options: dict[str, Any], message: str) -> None:
    with pytest.raises(typer.BadParameter, match=message):
        SplitChoice(**options)


def test_a_split_by_user_knows_no_gap_and_reads_into_memory() -> None:
    by_user = SplitChoice("user")
    by_user.check(None)
    by_user.check(0.0)
    with pytest.raises(typer.BadParameter, match="no --session-gap-s"):
        by_user.check(1800.0)
    with pytest.raises(typer.BadParameter, match="--memory-map out"):
        by_user.check(None, memory_map=True)
    SplitChoice("temporal", LATER).check(1800.0, memory_map=True)


def test_a_log_is_read_with_stop_or_skip_alone() -> None:
    with pytest.raises(typer.BadParameter, match="stop or skip, not 'dlq'"):
        LogFiles(LATER, on_error="dlq")


def written(path: Path, sessions: range) -> Path:
    """A file of sessions of two events, each a minute after the one before."""
    rows = [
        f"s{n}\ti{(n + place) % 3}\t{1_400_000_000 + n * 60 + place}" for n in sessions for place in range(2)
    ]
    path.write_text("\n".join(["SessionId\tItemId\tTime", *rows]) + "\n")
    return path


@pytest.mark.parametrize("on_disk", [False, True])
def test_sessions_of_the_test_files_that_were_learned_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], on_disk: bool
) -> None:
    training = written(tmp_path / "training.txt", range(20, 40))
    overlapping = written(tmp_path / "overlapping.txt", range(35, 45))
    folder = tmp_path / "mapped" if on_disk else None
    if folder:
        folder.mkdir()
    parts = read_split(LogFiles([training]), SplitChoice(test_files=[overlapping]), 1800, folder=folder)
    assert parts.test.session_ids.tolist() == [f"s{n}" for n in range(40, 45)]
    assert "5 of 10 test sessions are in the training files: left out" in capsys.readouterr().err
    with pytest.raises(NextclickError, match="all 20 sessions of the test files are in the training files"):
        read_split(LogFiles([training]), SplitChoice(test_files=[training]), 1800)


def test_whole_users_are_drawn_by_chance_whatever_their_number_of_events(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    rows = ["timestamp_ms,session_id,user_id,item_id"]
    rows += [f"{1_700_000_000_000 + 60_000 * n},s{n},u{n // 2},i{n % 3}" for n in range(40)]
    log.write_text("\n".join(rows) + "\n")
    choice = SplitChoice("shuffled-users", test_fraction=0.2)
    assert choice.by_user
    training, test, _ = read_split(LogFiles([log]), choice, None)
    assert (len(training), len(test)) == (16, 4)
    assert set(training.lengths) == set(test.lengths) == {2}, "sessions of one event, users of two"
    assert not set(training.session_ids) & set(test.session_ids)
    with pytest.raises(typer.BadParameter, match="shuffled-users no --session-gap-s"):
        choice.check(1800.0)


class Threads(Replicas):
    """Replicas that are threads of this process."""

    def __init__(self, rank: int, said: list[Any], barrier: Barrier) -> None:
        super().__init__(rank, barrier.parties)
        self._said, self._barrier = said, barrier

    def told_by(self, rank: int, value: T) -> T:
        if rank == self.rank:
            self._said[0] = value
        self._barrier.wait(120)
        told: T = self._said[0]
        self._barrier.wait(120)
        return told


def an_archive(folder: Path, partitions: int) -> pd.DataFrame:
    """Sessions in partitions, one of which has records that are no events. Returns them in order of time."""
    log: Log = {number: [] for number in range(partitions)}
    rows = []
    for n in range(120):
        number, time_ms = n * 7 % partitions, 1_500_000_000_000 + n // 3 * 1_000
        event = Event(f"p{number}-{n // 20}", time_ms, f"i{n % 11}", title=f"Item {n % 11}")
        log[number].append(Record(len(log[number]), event.session_id.encode(), encode_event(event), time_ms))
        rows.append((time_ms, number, event.session_id, event.item_id, event.title))
    log[0] += [Record(len(log[0]) + more, b"s", b"{", 1_500_000_000_000) for more in range(20)]
    write_archive(folder, log, rotate=10, group=5)
    frame = pd.DataFrame(rows, columns=["event_time_ms", "partition", "session_id", "item_id", "title"])
    return frame.sort_values(["event_time_ms", "partition"], kind="stable", ignore_index=True)


def assert_same(found: LogSplit, expected: LogSplit) -> None:
    assert found.vocabulary.to_json() == expected.vocabulary.to_json()
    for part, other in ((found.training, expected.training), (found.test, expected.test)):
        for name in ("offsets", "items", "times_ms"):
            assert getattr(part, name).tolist() == getattr(other, name).tolist(), name


@pytest.mark.parametrize("partitions", [1, 3, 4])
def test_each_process_reads_its_own_partitions_and_all_have_the_whole_log(
    tmp_path: Path, partitions: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = an_archive(tmp_path, partitions)
    rule = SessionRule(1800)
    vocabulary = Vocabulary.from_frame(frame)
    expected = split_sessions(Sessions.from_frame(frame, vocabulary, rule), vocabulary, test_fraction=0.3)
    choice = SplitChoice(test_fraction=0.3)
    alone = LogFiles([tmp_path])
    # Half of the records of one partition are none, which is judged of all partitions together.
    assert_same(read_split(alone, choice, 1800), expected)
    assert "left out 20: not_json" in capsys.readouterr().err
    barrier, said = Barrier(2), [None]
    read: dict[int, list[int]] = {0: [], 1: []}
    partition = LoggedEvents.partition

    def split_by(rank: int) -> LogSplit:
        shared = replace(alone, replicas=Threads(rank, said, barrier))
        (logged,) = shared.event_files().logged

        def noted(number: int) -> LoggedEvents:
            read[rank].append(number)
            return partition(logged, number)

        monkeypatch.setattr(logged, "partition", noted)
        return read_split(shared, choice, 1800)

    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(split_by, (0, 1)):
            assert_same(found, expected)
    assert read == {rank: list(range(rank, partitions, 2)) for rank in (0, 1)}
    assert capsys.readouterr().err.count("left out 20: not_json") == 1, "the first process says it"


def test_processes_read_a_growing_archive_up_to_the_same_end(tmp_path: Path) -> None:
    an_archive(tmp_path, 2)
    first = LoggedEvents(Settings(min_event_time_ms=0), archive=tmp_path)
    more = [
        Record(n, b"late", encode_event(Event("late", 1_500_000_999_000, "i1")), 5) for n in range(90, 99)
    ]
    write_archive(tmp_path, {1: more}, rotate=9, group=3)
    later = LoggedEvents(Settings(min_event_time_ms=0), archive=tmp_path)
    assert later.offsets != first.offsets
    later.hold_to(first.bounds)
    assert later.offsets == first.offsets
    assert later.bounds == first.bounds
    with pytest.raises(NextclickError, match="made anew meanwhile"):
        later.hold_to(replace(first.bounds, topic_id="another"))


def test_a_log_of_which_nothing_can_be_read_is_refused_as_a_whole(tmp_path: Path) -> None:
    broken = {number: [Record(n, b"s", b"{", 5) for n in range(30)] for number in range(2)}
    write_archive(tmp_path, broken, rotate=30, group=30)
    with pytest.raises(NextclickError, match="0 of 60 records"):
        read_split(LogFiles([tmp_path]), SplitChoice(), 1800)
