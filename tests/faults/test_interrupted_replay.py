import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pandas as pd
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from model.errors import NextclickError
from replay.certificates.certificate import EVENTS as EVENTS_KIND
from replay.certificates.certificate import read_certificate
from replay.certificates.verify import verify
from replay.datasets import event_files as files
from replay.datasets.event_files import EventFiles
from replay.sending.encoding import EncodedEvents, encode
from replay.sending.replay_files import ReplayStorage, replay_files
from replay.sending.timeline import WHOLE_LOG, ReplayRange
from stream.kafka.topics import ensure_topics
from stream.settings import Settings
from tests.conftest import ROOT
from tests.harness.serving import MakeSettings

pytestmark = pytest.mark.kafka

EVENTS = 160_000
PROGRAM = """
import sys
from pathlib import Path
from replay.datasets.event_files import EventFiles
from replay.sending import resume
from replay.sending.replay import SendOptions
from replay.sending.replay_files import ReplayStorage, replay_files
from stream.settings import load_settings
resume.CHECKPOINT_EVENTS, resume.CHECKPOINT_EVERY_S = 30_000, 1e9
def show(report):
    print(report.acknowledged, report.found, flush=True)
files, checkpoint, sent = [Path(sys.argv[1])], Path(sys.argv[2]), Path(sys.argv[3])
report = replay_files(
    load_settings(),
    EventFiles(files),
    SendOptions(rate=60_000.0, progress=show),
    storage=ReplayStorage(checkpoint=checkpoint, certificate=sent),
)
print("finished", report.found, report.others, report.resumed_after, flush=True)
"""


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every session has several events, some of them equal in all but their place, many at one time."""
    path = tmp_path_factory.mktemp("log") / "clicks.csv"
    rows = range(EVENTS)
    frame = pd.DataFrame(
        {
            "timestamp_ms": [1_500_000_000_000 + row // 7 * 10 for row in rows],
            "session_id": [f"s{row * 7919 % 9_001}" for row in rows],
            "user_id": [f"u{row % 50}" for row in rows],
            "item_id": [f"i{row % 3}" for row in rows],
        }
    )
    frame.sample(frac=1.0, random_state=1).to_csv(path, index=False)
    return path


def expected(path: Path) -> dict[bytes, list[bytes]]:
    frame = pd.read_csv(path, dtype=str)
    frame["event_time_ms"] = frame.pop("timestamp_ms").astype("int64")
    frame["kind"] = "view"
    events = EncodedEvents.of(encode(frame.sort_values("event_time_ms", kind="stable", ignore_index=True)))
    by_key: dict[bytes, list[bytes]] = defaultdict(list)
    for key, value, _ in events.records():
        by_key[key].append(value)
    return by_key


def topic_by_key(settings: Settings) -> dict[bytes, list[bytes]]:
    consumer = Consumer({**settings.kafka_config(), "group.id": "reader", "enable.auto.commit": False})
    places = [TopicPartition(settings.events_topic, n, 0) for n in range(settings.partitions)]
    ends = {place.partition: consumer.get_watermark_offsets(place)[1] for place in places}
    consumer.assign(places)
    by_key: dict[bytes, list[bytes]] = defaultdict(list)
    left = sum(ends.values())
    while left:
        for message in consumer.consume(10_000, timeout=0.5):
            assert message.error() is None
            by_key[message.key() or b""].append(message.value() or b"")
            left -= 1
    consumer.close()
    return by_key


def start(settings: Settings, log: Path, checkpoint: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, **settings.environment(), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(log), str(checkpoint), str(checkpoint.with_name("sent.json"))],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_after_kills_at_any_moment_the_topic_equals_the_file_in_order_per_key(
    log: Path, tmp_path: Path, make_settings: MakeSettings
) -> None:
    settings, checkpoint = make_settings(), tmp_path / "replay.json"
    found = []
    # The third is killed behind a checkpoint of its own.
    for kill_at in (1, 9_000, 35_000, 5_000, 0):
        process = start(settings, log, checkpoint)
        assert process.stdout is not None
        with process, process.stdout as lines:
            for line in lines:
                said = line.split()
                if said[0] == "finished":
                    found.append(int(said[1]))
                    assert said[2] == "0"
                    assert int(said[3]) >= 30_000
                elif kill_at and int(said[0]) >= kill_at:
                    found.append(int(said[1]))
                    process.send_signal(signal.SIGKILL)
                    break
        assert process.returncode == (-signal.SIGKILL if kill_at else 0)
    assert len(found) == 5
    assert found[0] == 0
    assert min(found[1:]) > 0, "each had something to find behind the checkpoint"
    assert topic_by_key(settings) == expected(log)
    sent = tmp_path / "sent.json"
    verified = verify(settings, read_certificate(sent, EVENTS_KIND), sent)
    assert verified.holds and verified.records == EVENTS, "the last run certifies what all of them sent"
    kept = json.loads(checkpoint.read_text())["position"]
    assert kept["finished"]
    again = replay_files(settings, EventFiles([log]), storage=ReplayStorage(checkpoint=checkpoint))
    assert (again.sent, again.resumed_after) == (0, EVENTS)


def interrupted(settings: Settings, log: Path, checkpoint: Path) -> bytes:
    """A replay of 30,000 events, and what its checkpoint was after 10,000."""
    ensure_topics(settings)
    replay_files(
        settings,
        EventFiles([log]),
        part=ReplayRange(limit=10_000),
        storage=ReplayStorage(checkpoint=checkpoint),
    )
    earlier = checkpoint.read_bytes()
    replay_files(
        settings,
        EventFiles([log]),
        part=ReplayRange(limit=30_000),
        storage=ReplayStorage(checkpoint=checkpoint),
    )
    return earlier


def test_an_older_checkpoint_does_and_what_others_wrote_meanwhile_stays(
    log: Path, tmp_path: Path, make_settings: MakeSettings
) -> None:
    settings, checkpoint = make_settings(), tmp_path / "replay.json"
    earlier = interrupted(settings, log, checkpoint)
    stranger = Producer(settings.producer_config())
    stranger.produce(settings.events_topic, b'{"of":"another"}', b"s5")
    stranger.produce(settings.events_topic, b'{"of":"another"}', b"a stranger")
    assert not stranger.flush(30)
    checkpoint.write_bytes(earlier)
    report = replay_files(settings, EventFiles([log]), storage=ReplayStorage(checkpoint=checkpoint))
    assert (report.resumed_after, report.found, report.sent) == (10_000, 20_000, EVENTS - 30_000)
    assert report.others == 2
    wanted = expected(log)
    there = topic_by_key(settings)
    assert there.pop(b"a stranger") == [b'{"of":"another"}']
    there[b"s5"].remove(b'{"of":"another"}')
    assert there == wanted


def test_a_damaged_checkpoint_another_log_and_an_emptied_topic_are_errors_and_nothing_is_sent(
    log: Path, tmp_path: Path, make_settings: MakeSettings
) -> None:
    settings, checkpoint = make_settings(), tmp_path / "replay.json"
    interrupted(settings, log, checkpoint)
    whole = checkpoint.read_bytes()

    def refused(message: str, part: ReplayRange = WHOLE_LOG) -> None:
        with pytest.raises(NextclickError, match=message):
            replay_files(settings, EventFiles([log]), part=part, storage=ReplayStorage(checkpoint=checkpoint))
        assert sum(map(len, topic_by_key(settings).values())) == 30_000

    checkpoint.write_bytes(whole.replace(b'"row": 30000', b'"row": 20000'))
    refused("damaged")
    checkpoint.write_bytes(whole[: len(whole) // 2])
    refused("damaged")
    checkpoint.write_bytes(whole)
    refused("another replay: until_ms", ReplayRange(until_ms=1_600_000_000_000))
    other = make_settings()
    ensure_topics(other)
    with pytest.raises(NextclickError, match="another replay: topic"):
        replay_files(other, EventFiles([log]), storage=ReplayStorage(checkpoint=checkpoint))


def test_a_line_that_cannot_be_read_keeps_what_stands_before_it(
    tmp_path: Path, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "BLOCK_BYTES", 10_000)
    settings = make_settings()
    path, checkpoint = tmp_path / "clicks.csv", tmp_path / "checkpoint"
    lines = [f"{1_500_000_000_000 + n},s{n % 9},1,i{n}" for n in range(5_000)]
    lines.insert(4_000, "1500000004000,,1,i")
    path.write_text("\n".join(["timestamp_ms,session_id,user_id,item_id", *lines]) + "\n")
    with pytest.raises(NextclickError, match="line 4002: session_id is empty"):
        replay_files(
            settings, EventFiles([path]), storage=ReplayStorage(memory_bytes=1, checkpoint=checkpoint)
        )
    report = replay_files(
        settings,
        EventFiles([path], on_error="skip"),
        storage=ReplayStorage(memory_bytes=1, checkpoint=checkpoint),
    )
    # Nothing of the first part had to be looked for: its end was kept.
    assert report.resumed_after is not None
    assert 3_500 < report.resumed_after <= 4_000
    assert (report.found, report.others) == (0, 0)
    assert report.sent == report.acknowledged == 5_000 - report.resumed_after
    assert sum(map(len, topic_by_key(settings).values())) == 5_000
