import gzip
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pandas as pd
import pytest
from confluent_kafka import Consumer, TopicPartition
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from model.errors import NextclickError
from replay.datasets.event_files import EventFiles
from replay.end_to_end.demo import BROKER_PARTITIONS, EmbeddedBroker
from replay.sending.pause import PauseKeys
from replay.sending.replay import Replay, SendOptions
from replay.sending.replay_files import ReplayStorage, _counted, replay_files
from replay.sending.replay_report import ReplayReport
from replay.sending.timeline import Part, ReplayRange, Timeline, span_of
from stream.events import Event, decode_event
from stream.settings import Settings

GLOBO = "timestamp_ms,session_id,user_id,item_id\n"


def log(times: list[int], sizes: int = 2) -> list[pd.DataFrame]:
    frame = pd.DataFrame({"session_id": [f"s{t % 3}" for t in times], "event_time_ms": times})
    return [frame.iloc[start : start + sizes] for start in range(0, len(frame), sizes)]


def rows(timeline: Timeline, loop: int, row: int, count: int) -> list[tuple[int, int, str, int]]:
    found: list[tuple[int, int, str, int]] = []
    for part in timeline.parts(loop, row):
        for at, (session, time_ms) in enumerate(part.frame.itertuples(index=False)):
            found.append((part.loop, part.row + at, session, time_ms))
        if len(found) >= count:
            break
    return found[:count]


@hypothesis_settings(deadline=None)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=9), st.integers(1, 4), st.integers(0, 25))
def test_a_loop_can_be_entered_at_any_row_and_never_goes_back_in_time(
    times: list[int], sizes: int, begin: int
) -> None:
    frames = log(sorted(times), sizes)
    first, last = span_of(frames) or (0, 0)
    timeline = Timeline(lambda: frames, shift_ms=7, period_ms=last - first + 1000)
    whole = rows(timeline, 0, 0, 40)
    assert [time_ms for *_, time_ms in whole] == sorted(time_ms for *_, time_ms in whole)
    assert {session.count("~") for loop, _, session, _ in whole if loop} <= {1}
    by_session = {session: loop for loop, _, session, _ in whole}
    assert all(by_session[session] == loop for loop, _, session, _ in whole), "sessions of loops are distinct"
    loop, row = divmod(begin, len(times))
    assert rows(timeline, loop, row, 10) == whole[begin : begin + 10]


def test_a_log_moved_out_of_the_range_of_event_times_is_an_error() -> None:
    with pytest.raises(NextclickError, match="outside 1970 to 2100"):
        list(Timeline(lambda: log([1, 2]), shift_ms=-2).parts())


@pytest.fixture
def settings() -> Settings:
    broker = EmbeddedBroker()
    found = Settings(bootstrap_servers=broker.address, partitions=BROKER_PARTITIONS)
    broker.make_topics(found)
    # The broker lives as long as something holds it.
    object.__setattr__(found, "broker", broker)
    return found


def records(settings: Settings, topic: str, count: int) -> list[tuple[Event | bytes, dict[str, bytes]]]:
    consumer = Consumer({**settings.kafka_config(), "group.id": "reader", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, n, 0) for n in range(BROKER_PARTITIONS)])
    found: list[tuple[Event | bytes, dict[str, bytes]]] = []
    while len(found) < count:
        for message in consumer.consume(100, timeout=0.5):
            headers = dict(cast("list[tuple[str, bytes]]", message.headers() or []))
            value = message.value() or b""
            found.append((value if headers else decode_event(value, message.key()), headers))
    consumer.close()
    return found


def test_a_shifted_log_ends_now_and_a_loop_goes_on_behind_it(tmp_path: Path, settings: Settings) -> None:
    path = tmp_path / "c.csv"
    path.write_text(GLOBO + "9000,b,1,3\n5000,a,1,2\n")
    before_ms = int(time.time() * 1000)
    report = replay_files(settings, EventFiles([path]), part=ReplayRange(shift_now=True, loop=True, limit=5))
    events = [event for event, _ in records(settings, settings.events_topic, 5)]
    found = sorted((e.event_time_ms, e.session_id) for e in events if isinstance(e, Event))
    assert before_ms <= found[1][0] <= int(time.time() * 1000)
    assert [t - found[0][0] for t, _ in found] == [0, 4000, 5000, 9000, 10_000]
    assert [session for _, session in found] == ["a", "b", "a~1", "b~1", "a~2"]
    assert (report.acknowledged, report.loop) == (5, 2)


def test_lines_that_cannot_be_read_go_once_to_the_dead_letters_as_they_stand(
    tmp_path: Path, settings: Settings
) -> None:
    path = tmp_path / "c.csv.gz"
    lines = [GLOBO, "9000,b,1,3\n", 'soon,"a",1,2\n', "7,a\n", "5000,a,1,2\n"]
    path.write_bytes(gzip.compress("".join(lines).encode()))
    # So little memory that the log is read three times.
    report = replay_files(settings, EventFiles([path], on_error="dlq"), storage=ReplayStorage(memory_bytes=1))
    assert (report.acknowledged, report.dead_letters) == (2, 2)
    assert report.rejects == {"timestamp_ms is no number": 1, "wrong number of fields": 1}
    found = sorted(
        (int(headers["line"]), headers["reason"].decode(), headers["file"].decode(), value)
        for value, headers in records(settings, settings.dlq_topic, 2)
    )
    assert found == [
        (3, "timestamp_ms is no number", str(path), b'soon,"a",1,2'),
        (4, "wrong number of fields", str(path), b"7,a"),
    ]


def test_what_an_earlier_reading_left_out_is_not_counted_with_a_later_one() -> None:
    counts: list[dict[str, int]] = []
    rejects = {"duplicate": 3}

    def frames() -> Iterator[pd.DataFrame]:
        rejects.clear()
        yield from log([1, 2])
        rejects["no session"] = 1
        yield from log([3, 4])

    list(_counted(frames(), rejects, lambda found: counts.append(dict(found))))
    assert counts == [{}, {"no session": 1}, {"no session": 1}]


def events(count: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "session_id": [f"s{n}" for n in range(count)],
            "item_id": "i",
            "event_time_ms": [1_000 * n for n in range(count)],
            "kind": "view",
        }
    )


def test_a_paused_replay_sends_nothing_and_is_not_late_for_it(settings: Settings) -> None:
    keys = PauseKeys()
    sent_while_paused: list[int] = []
    hours_s = 0.0

    def progress(report: ReplayReport) -> None:
        nonlocal hours_s
        if report.paused:
            sent_while_paused.append(report.sent)
            hours_s += 3600
            if len(sent_while_paused) == 5:
                keys.toggle()
        elif report.sent and not sent_while_paused:
            keys.toggle()

    options = SendOptions(rate=100, pause_keys=keys, progress=progress)
    replay = Replay(settings, options, now_s=lambda: time.monotonic() + hours_s)
    report = replay.run([Part(events(60))])
    assert report.acknowledged == 60
    assert len(sent_while_paused) == 5
    assert len(set(sent_while_paused)) == 1
    assert 5 * 3600 <= report.paused_s < 6 * 3600
    assert report.max_behind_s < 3600
