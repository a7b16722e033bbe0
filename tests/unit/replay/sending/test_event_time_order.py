import resource
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import NextclickError
from replay.datasets.event_files import EventFiles
from replay.end_to_end.demo import BROKER_PARTITIONS, EmbeddedBroker
from replay.sending.encoding import events_of
from replay.sending.event_time_order import in_event_time_order, is_in_order
from replay.sending.pace import Lateness, Pace
from replay.sending.replay_files import ReplayStorage, replay_files
from replay.sending.sorted_runs import SortedRuns
from replay.sending.timeline import between
from stream.events import decode_event, encode_event
from stream.settings import Settings
from tests.harness.markov_shoppers import markov_shoppers


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 12), max_size=12), max_size=12),
    st.sampled_from([0, 300, 2_000, 1 << 20]),
    st.integers(1, 7),
)
def test_the_order_is_that_of_a_stable_sort(chunks: list[list[int]], memory: int, block_rows: int) -> None:
    rows = [(time_ms, number) for number, time_ms in enumerate(t for chunk in chunks for t in chunk)]
    frames, at = [], 0
    for chunk in chunks:
        part = rows[at : at + len(chunk)]
        frames.append(
            pd.DataFrame({"event_time_ms": [r[0] for r in part], "row": [r[1] for r in part]}, dtype="int64")
        )
        at += len(chunk)
    ordered = list(in_event_time_order(lambda: frames, memory_bytes=memory, block_rows=block_rows))
    found = [tuple(row) for frame in ordered for row in frame.itertuples(index=False)]
    assert found == sorted(rows, key=lambda row: row[0])


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=9), min_size=1, max_size=9),
    st.integers(2, 4),
    st.integers(1, 5),
)
def test_runs_too_many_for_one_merge_are_merged_in_groups_and_stay_stable(
    times: list[list[int]], merged_at_once: int, block_rows: int
) -> None:
    with TemporaryDirectory() as folder:
        runs = SortedRuns(Path(folder), 0, merged_at_once)
        for number, part in enumerate(times):
            frame = pd.DataFrame({"event_time_ms": sorted(part)})
            # Blocks of one row, so that equal times are spread over many of them.
            runs.write(frame.assign(row=range(number * 10, number * 10 + len(part))), size=1 << 30)
        found = [tuple(row) for frame in runs.merged(block_rows) for row in frame.to_numpy().tolist()]
    rows = [(t, number * 10 + at) for number, part in enumerate(times) for at, t in enumerate(sorted(part))]
    assert found == sorted(rows, key=lambda row: row[0])


def test_a_disk_that_is_full_while_sorting_is_an_error_and_leaves_no_runs(tmp_path: Path) -> None:
    chunks = [pd.DataFrame({"event_time_ms": np.random.default_rng(n).permutation(20_000)}) for n in range(4)]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_192, hard))
    try:
        with pytest.raises(NextclickError, match="sorting ran out of room"):
            list(in_event_time_order(lambda: chunks, memory_bytes=1, folder=tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


def test_the_runs_leave_nothing_on_the_disk(tmp_path: Path) -> None:
    frames = [pd.DataFrame({"event_time_ms": [3, 1]}), pd.DataFrame({"event_time_ms": [2]})]
    blocks = in_event_time_order(lambda: frames, memory_bytes=1, folder=tmp_path)
    assert [t for block in blocks for t in block["event_time_ms"]] == [1, 2, 3]
    assert not list(tmp_path.iterdir())


class Wall:
    """A clock that moves only by being waited on."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def wait(self, seconds: float) -> None:
        self.now_s += seconds


def pace_on(wall: Wall, speed: float | None = None, **options: float) -> Pace:
    return Pace(speed, now_s=lambda: wall.now_s, wait_s=wall.wait, **options)


def sent_at(wall: Wall, pace: Pace, times_ms: list[int]) -> list[float]:
    found = []
    for due_s in pace.schedule(times_ms):
        pace.wait_until(due_s)
        found.append(round(wall.now_s - 100, 9))
    return found


def test_at_speed_60_a_minute_of_events_takes_a_second() -> None:
    wall = Wall()
    pace = pace_on(wall, 60)
    assert sent_at(wall, pace, [1_000_000, 1_060_000]) == [0.0, 1.0]
    assert sent_at(wall, pace, [1_120_000, 1_180_000]) == [2.0, 3.0]


def test_at_a_rate_the_times_of_the_events_do_not_matter() -> None:
    wall = Wall()
    pace = pace_on(wall, rate=4)
    assert sent_at(wall, pace, [0, 7_000_000, 7_000_000]) == [0.0, 0.25, 0.5]
    assert sent_at(wall, pace, [9_000_000]) == [0.75]


def test_a_replay_that_fell_behind_catches_up_without_waiting_and_leaves_nothing_out() -> None:
    wall = Wall()
    pace = pace_on(wall, 1)
    first, second, third = pace.schedule([0, 5_000, 12_000])
    pace.wait_until(first)
    wall.now_s += 10
    pace.wait_until(second)
    assert wall.now_s == 110
    assert pace.elapsed_s() - second == 5
    pace.wait_until(third)
    assert wall.now_s == 112


def test_a_pause_puts_everything_off() -> None:
    wall = Wall()
    pace = pace_on(wall, 1)
    due_s = pace.schedule([0, 2_000])
    wall.now_s += 60
    pace.postpone(60)
    pace.wait_until(due_s[1])
    assert wall.now_s == 162


def ms(text: str, zone: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@pytest.mark.parametrize(
    ("zone", "begin", "end", "hours"),
    [
        # Clocks go forward, and back; neither hour is missing, or there twice, in event time.
        ("Europe/Berlin", "2025-03-30T01:30", "2025-03-30T03:30", 1),
        ("Europe/Berlin", "2025-10-26T01:30", "2025-10-26T03:30", 3),
        ("America/New_York", "2024-11-03T00:00", "2024-11-04T00:00", 25),
        ("UTC", "2024-02-28T12:00", "2024-03-01T12:00", 48),
        ("UTC", "2023-02-28T12:00", "2023-03-01T12:00", 24),
        # The last minute of 2016 had a 61st second, which epoch time does not count.
        ("UTC", "2016-12-31T23:30", "2017-01-01T00:30", 1),
    ],
)
def test_the_pace_is_of_elapsed_time_over_changes_of_clocks_and_leap_days(
    zone: str, begin: str, end: str, hours: int
) -> None:
    pace = pace_on(Wall(), 3600)
    assert pace.schedule([ms(begin, zone), ms(end, zone)]).tolist() == [0.0, hours]


@given(st.lists(st.floats(0, 500), min_size=1, max_size=300), st.sampled_from([0.5, 0.99, 1.0]))
def test_quantiles_of_lateness_are_two_percent_too_large_at_most(late: list[float], share: float) -> None:
    lateness = Lateness()
    for part in (late[:7], late[7:]):
        lateness.add(np.array(part))
    exact = sorted(late)[int(np.ceil(share * len(late))) - 1]
    assert exact <= lateness.quantile_s(share) <= max(1e-5, exact * 1.021)


@pytest.mark.parametrize("speed", [0, -1, float("nan"), float("inf")])
def test_a_speed_is_a_number_above_zero(speed: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Pace(speed)
    with pytest.raises(ValueError, match="above 0"):
        Pace(rate=speed)


def test_rows_become_events_without_their_missing_fields() -> None:
    frame = pd.DataFrame(
        {
            "session_id": ["a", "b"],
            "item_id": ["1", "2"],
            "event_time_ms": [5, 6],
            "kind": ["view", "cart"],
            "price": [1.5, float("nan")],
            "brand": [None, "acme"],
        }
    )
    first, second = (decode_event(encode_event(event)) for event in events_of(frame))
    assert (first.price, first.brand, first.kind) == (1.5, None, "view")
    assert (second.price, second.brand, second.kind) == (None, "acme", "cart")


def test_from_and_until_take_a_half_open_range() -> None:
    frame = pd.DataFrame({"event_time_ms": [1, 2, 3, 4]})
    (part,) = between([frame], 2, 4)
    assert part["event_time_ms"].tolist() == [2, 3]


def test_the_shoppers_best_list_is_what_their_log_does_most() -> None:
    log = markov_shoppers(sessions=3000, items=20, noise=0.0, seed=4)
    frame = log.frame
    assert frame["event_time_ms"].is_monotonic_increasing
    following = frame.groupby("session_id")["item_id"].shift(-1)
    after = following[(frame["item_id"] == "i3") & following.notna()].value_counts()
    assert after.index[0] == f"i{log.successors[3, 0]}"
    assert set(after.index) <= {f"i{item}" for item in log.successors[3]}
    again = markov_shoppers(sessions=3000, items=20, noise=0.0, seed=4)
    assert again.frame.equals(frame)


def test_a_log_in_order_that_is_larger_than_memory_is_passed_on_as_it_is_read(tmp_path: Path) -> None:
    chunks = [pd.DataFrame({"event_time_ms": times}) for times in ([1, 2], [2, 2], [3], [7, 9])]
    reads: list[int] = []

    def read() -> Iterator[pd.DataFrame]:
        reads.append(0)
        for chunk in chunks:
            reads[-1] += 1
            yield chunk

    ordered = in_event_time_order(read, memory_bytes=1, folder=tmp_path / "no such folder")
    assert next(ordered) is chunks[0]
    assert reads[-1] == 1, "nothing behind the first chunk has been read for passing on"
    assert [id(chunk) for chunk in ordered] == [id(chunk) for chunk in chunks[1:]]


@pytest.mark.parametrize(
    ("times", "ordered"),
    [([[1, 2], [2, 3]], True), ([[1, 2], [], [1]], False), ([[2, 1]], False), ([], True), ([[]], True)],
)
def test_order_is_told_within_chunks_and_between_them(times: list[list[int]], ordered: bool) -> None:
    frames = [pd.DataFrame({"event_time_ms": pd.Series(part, dtype="int64")}) for part in times]
    assert is_in_order(frames) == ordered


def test_rejected_lines_are_counted_once_however_often_the_log_is_read(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text("timestamp_ms,session_id,user_id,item_id\n5,a,1,2\nsoon,a,1,2\n3,a,1,2\n")
    broker = EmbeddedBroker()
    settings = Settings(bootstrap_servers=broker.address, partitions=BROKER_PARTITIONS)
    broker.make_topics(settings)
    report = replay_files(
        settings, EventFiles([path], on_error="skip"), storage=ReplayStorage(memory_bytes=1)
    )
    assert report.rejects == {"timestamp_ms is no number": 1}
    assert (report.first_event_time_ms, report.last_event_time_ms, report.acknowledged) == (3, 5, 2)


def test_events_of_earlier_times_are_due_with_those_before_them() -> None:
    wall = Wall()
    pace = pace_on(wall, 1)
    assert sent_at(wall, pace, [1_000, 3_000, 2_000, 4_000]) == [0.0, 2.0, 2.0, 3.0]
    assert sent_at(wall, pace, [3_500, 5_000]) == [3.0, 4.0]
    assert pace.schedule([1_000, 1_500, 6_000]).tolist() == [4.0, 4.0, 5.0]


@pytest.mark.parametrize("merged_at_once", [2, 9])
def test_a_column_that_some_runs_have_not_is_null_there(tmp_path: Path, merged_at_once: int) -> None:
    runs = SortedRuns(tmp_path, 0, merged_at_once)
    for number in range(8):
        frame = pd.DataFrame({"event_time_ms": [number, number + 8], "session_id": [f"s{number}"] * 2})
        if number >= 5:
            frame["brand"] = ["b", None]
        # Blocks of one row, so that some rows are merged among such as have no brand.
        runs.write(frame, 1 << 20)
    found = pd.concat(list(runs.merged(3)), ignore_index=True)
    assert found["event_time_ms"].tolist() == list(range(16))
    assert found["session_id"].tolist() == [f"s{number % 8}" for number in range(16)]
    assert found["brand"].notna().tolist() == [number in (5, 6, 7) for number in range(16)]
