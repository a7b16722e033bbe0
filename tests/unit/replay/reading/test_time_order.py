import gzip
from collections.abc import Sequence
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.errors import NextclickError
from replay.datasets import event_files as event_files
from replay.datasets.detection import detect
from replay.datasets.event_files import EventFiles, EventReader
from replay.end_to_end.demo import BROKER_PARTITIONS, EmbeddedBroker
from replay.sending.event_time_order import is_in_order
from replay.sending.replay_files import ReplayStorage, replay_files
from stream.settings import Settings

HEADER = "timestamp_ms,session_id,user_id,item_id\n"
FIRST_MS = 1_506_826_800_026


def globo(path: Path, times: Sequence[object]) -> Path:
    path.write_text(HEADER + "".join(f"{time},s{n % 3},1,{n}\n" for n, time in enumerate(times)))
    return path


def tell(*paths: Path) -> bool:
    return EventFiles(paths, on_error="skip").open().times_ascend()


KAGGLE = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session"
SECONDS = ["2019-10-31 23:59:59 UTC", "2019-11-01 00:00:00 UTC", "2019-11-01 00:00:00 UTC"]
MOMENTS = ["2014-04-07T10:51:09.277Z", "2014-04-07T10:51:09.277Z", "2014-04-07T10:51:10.000Z"]
MILLISECONDS = ["1433221332117", "1433221999827", "1433224214164"]
TRIVAGO = (
    "user_id,session_id,timestamp,step,action_type,reference,"
    "platform,city,device,current_filters,impressions,prices"
)


@pytest.mark.parametrize(
    ("name", "header", "row", "times"),
    [
        ("mkechinov", KAGGLE, "{time},view,{n},2,,,1.5,3,a", SECONDS),
        ("rsc15-raw", "", "1,{time},{n},0", MOMENTS),
        ("rsc15-buys", "", "1,{time},{n},10,1", MOMENTS),
        ("globo", HEADER.strip(), "{time},1,1,{n}", MILLISECONDS),
        (
            "retailrocket",
            "timestamp,visitorid,event,itemid,transactionid",
            "{time},1,view,{n},",
            MILLISECONDS,
        ),
        (
            "trivago",
            TRIVAGO,
            "u,s,{time},{n},clickout item,{n},AU,X,mobile,,,",
            ["1541037460", "1541037461", "1541037461"],
        ),
    ],
)
def test_each_format_tells_by_its_texts(
    tmp_path: Path, name: str, header: str, row: str, times: list[str]
) -> None:
    def written(texts: list[str]) -> EventReader:
        lines = [header] * bool(header) + [row.format(time=text, n=n) for n, text in enumerate(texts)]
        (tmp_path / "log").write_text("\n".join(lines) + "\n")
        return EventFiles([tmp_path / "log"], format=name, on_error="skip").open()

    assert written(times).times_ascend()
    assert detect(tmp_path / "log") == name
    assert is_in_order(written(times).read())
    assert not written(times[::-1]).times_ascend()
    assert not is_in_order(written(times[::-1]).read())
    for odd in (times[0].replace("1", "x", 1), times[0] + "0", times[0][:-1], ""):
        assert not written([odd, *times]).times_ascend(), odd


TIMES = st.one_of(
    st.integers(FIRST_MS, FIRST_MS + 5),
    st.sampled_from(
        ["", "soon", "1e12", "-1506826800026", "+1506826800027", "999999999999", "0" * 13, "1\n2"]
    ),
)


@given(st.lists(TIMES, max_size=12), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
def test_what_the_texts_tell_is_true_of_the_events(
    tmp_path: Path, times: list[object], in_order: bool
) -> None:
    if in_order:
        times = sorted(times, key=str)
    files = EventFiles([globo(tmp_path / "log.csv", times)], format="globo", on_error="skip").open()
    if files.times_ascend():
        assert is_in_order(files.read())
    clean = [time for time in times if isinstance(time, int)]
    if len(clean) == len(times):
        assert files.times_ascend() == (clean == sorted(clean))


def test_the_borders_of_blocks_and_of_files_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = [FIRST_MS + n for n in range(2_000)]
    whole = globo(tmp_path / "a.csv", times)
    monkeypatch.setattr(event_files, "BLOCK_BYTES", 1_000)
    assert tell(whole)
    for place in range(1, 2_000, 97):
        assert not tell(globo(tmp_path / "b.csv", [*times[:place], FIRST_MS + place - 2, *times[place:]]))
    later = globo(tmp_path / "c.csv", [FIRST_MS + 1_999, FIRST_MS + 2_000])
    empty = globo(tmp_path / "d.csv", [])
    assert tell(whole, empty, later)
    assert not tell(later, empty, whole)


def test_a_leap_second_that_falls_back_is_not_taken_for_order(tmp_path: Path) -> None:
    path = tmp_path / "log"
    rows = "{},view,1,2,,,1.5,3,a\n"
    path.write_text(
        f"{KAGGLE}\n{rows.format('2019-10-31 23:59:61 UTC')}{rows.format('2019-11-01 00:00:00 UTC')}"
    )
    assert not tell(path)
    path.write_text("1,2014-04-07T10:51:60.500Z,5,0\n1,2014-04-07T10:52:00.000Z,5,0\n")
    assert not tell(path)


def test_what_cannot_be_read_so_is_left_to_the_reading(tmp_path: Path) -> None:
    cut = tmp_path / "cut.csv.gz"
    text = HEADER + "".join(f"{FIRST_MS + n},s,1,{n * 7919}\n" for n in range(5_000))
    cut.write_bytes(gzip.compress(text.encode())[:-2_000])
    files = EventFiles([cut], on_error="skip").open()
    assert files.times_ascend() <= is_in_order(files.read())
    lines = tmp_path / "log.jsonl"
    lines.write_text('{"session_id":"a","item_id":"1","event_time_ms":1}\n')
    assert not tell(lines)
    fields = globo(tmp_path / "fields.csv", [FIRST_MS, f"{FIRST_MS},", FIRST_MS + 1])
    assert tell(fields)


def test_a_log_in_order_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_files, "BLOCK_BYTES", 1_000)
    broker = EmbeddedBroker()
    broker_settings = Settings(bootstrap_servers=broker.address, partitions=BROKER_PARTITIONS)
    broker.make_topics(broker_settings)
    # Beside this process, too.
    reads = tmp_path / "reads"
    read_one = EventReader._read_one

    def counted(self: EventReader, *arguments: object) -> object:
        with reads.open("a") as file:
            file.write("one\n")
        return read_one(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(EventReader, "_read_one", counted)
    path = globo(tmp_path / "log.csv", [FIRST_MS + n for n in range(500)])
    assert (
        replay_files(broker_settings, EventFiles([path]), storage=ReplayStorage(memory_bytes=1)).acknowledged
        == 500
    )
    # Once to gather what fits into memory, which is its first block, and once to send.
    assert reads.read_text() == "one\n" * 2
    # A text of another shape: the events are looked at, and the line is told before any is sent.
    path = globo(tmp_path / "log.csv", [*(FIRST_MS + n for n in range(500)), "soon"])
    with pytest.raises(NextclickError, match="line 502"):
        replay_files(broker_settings, EventFiles([path]), storage=ReplayStorage(memory_bytes=1))
    assert _in_topic(broker_settings) == 500


def _in_topic(settings: Settings) -> int:
    consumer = Consumer({**settings.kafka_config(), "group.id": "count"})
    try:
        ends = [
            consumer.get_watermark_offsets(TopicPartition(settings.events_topic, number), timeout=60)
            for number in range(settings.partitions)
        ]
    finally:
        consumer.close()
    return sum(high - low for low, high in ends)
