from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.clock import Pace
from replay.demo import BROKER_PARTITIONS, EmbeddedBroker
from replay.order import in_event_time_order, is_in_order
from replay.producer import events_of
from replay.run import between, replay_files
from replay.synthetic import markov_shoppers
from stream.events import decode_event, encode_event
from stream.settings import Settings


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


def test_at_speed_60_a_minute_of_events_takes_a_second() -> None:
    wall = Wall()
    pace = Pace(60, now_s=lambda: wall.now_s, wait_s=wall.wait)
    for minute in range(4):
        pace.wait_for(1_000_000 + minute * 60_000)
    assert wall.now_s == pytest.approx(103.0)


def test_a_replay_that_fell_behind_catches_up_without_waiting() -> None:
    wall = Wall()
    pace = Pace(1, now_s=lambda: wall.now_s, wait_s=wall.wait)
    pace.wait_for(0)
    wall.now_s += 10
    pace.wait_for(5_000)
    assert wall.now_s == 110
    pace.wait_for(12_000)
    assert wall.now_s == 112


@pytest.mark.parametrize("speed", [0, -1, float("nan"), float("inf")])
def test_a_speed_is_a_number_above_zero(speed: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Pace(speed)


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
    report = replay_files(settings, [path], on_error="skip", memory_bytes=1)
    assert report.rejects == {"timestamp_ms is no number": 1}
    assert (report.first_event_time_ms, report.last_event_time_ms, report.sure) == (3, 5, 2)
