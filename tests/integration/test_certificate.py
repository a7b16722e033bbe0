import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner

import nextclick
from model.errors import NextclickError
from replay.certificates.certificate import EVENTS, LISTS, Certificate, read_certificate, start_certificate
from replay.certificates.verify import Verification, verify
from replay.datasets.event_files import EventFiles
from replay.sending.encoding import events_of
from replay.sending.replay import replay_frames
from replay.sending.replay_files import ReplayStorage, replay_files
from replay.sending.timeline import ReplayRange
from stream.events import encode_event
from stream.kafka.topic_reader import TopicReader
from stream.settings import Settings
from tests.harness.markov_shoppers import SyntheticLog

pytestmark = pytest.mark.kafka
MakeSettings = Callable[..., Settings]


def check(settings: Settings, path: Path, topic: str | None = None) -> Verification:
    return verify(settings, read_certificate(path, EVENTS, topic), path)


def records_of(settings: Settings, partition: int) -> list[tuple[bytes, int, bytes]]:
    consumer = Consumer({**settings.kafka_config(), "group.id": "reader", "enable.auto.commit": False})
    place = TopicPartition(settings.events_topic, partition, 0)
    _, high = consumer.get_watermark_offsets(place, timeout=60)
    consumer.assign([place])
    found: list[tuple[bytes, int, bytes]] = []
    while len(found) < high:
        for message in consumer.consume(1000, timeout=1.0):
            found.append((message.key() or b"", message.timestamp()[1], message.value() or b""))
    consumer.close()
    return found


def columns_of(frame: pd.DataFrame) -> tuple[list[bytes], list[int], list[bytes]]:
    events = list(events_of(frame))
    return (
        [event.session_id.encode() for event in events],
        [event.event_time_ms for event in events],
        [encode_event(event) for event in events],
    )


def send(settings: Settings, partition: int, records: list[tuple[bytes, int, bytes]]) -> None:
    producer = Producer(settings.producer_config())
    for key, time_ms, value in records:
        producer.produce(settings.events_topic, value, key, partition, timestamp=time_ms)
    assert producer.flush(120) == 0


@pytest.fixture
def sent(make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path) -> tuple[Settings, Path]:
    """Two replays one behind the other; the second one is certified."""
    settings = make_settings(partitions=3)
    half = len(shoppers.frame) // 2
    replay_frames(settings, [shoppers.frame[:half]])
    replay_frames(settings, [shoppers.frame[half:]], certificate=tmp_path / "sent.json")
    return settings, tmp_path / "sent.json"


def test_a_certificate_holds_for_what_was_sent_and_its_hashes_are_what_it_says(
    sent: tuple[Settings, Path], shoppers: SyntheticLog
) -> None:
    settings, path = sent
    rows = shoppers.frame[len(shoppers.frame) // 2 :]
    certificate = read_certificate(path, EVENTS)
    assert certificate.records == len(rows)
    assert certificate.first_event_time_ms == rows["event_time_ms"].min()
    assert certificate.last_event_time_ms == rows["event_time_ms"].max()
    assert [part.first_offset > 0 for part in certificate.partitions] == [True] * 3
    # Told again without any of the code under test.
    total = 0
    for part in certificate.partitions:
        digests = [
            sha256(f"{time_ms} {len(key)} ".encode() + key + value).digest()
            for key, time_ms, value in records_of(settings, part.partition)[part.first_offset :]
        ]
        assert part.records == len(digests)
        assert part.sha256 == sha256(b"".join(digests)).hexdigest()
        total += sum(int.from_bytes(digest, "little") for digest in digests)
    assert certificate.multiset_sha256 == f"{total % 2**256:064x}"
    result = check(settings, path)
    assert result.holds
    assert result.same_multiset
    assert result.found == len(rows)
    assert (result.first_event_time_ms, result.last_event_time_ms) == (
        certificate.first_event_time_ms,
        certificate.last_event_time_ms,
    )


def test_a_change_in_the_topic_is_told_by_partition_and_offset(
    sent: tuple[Settings, Path], make_settings: MakeSettings
) -> None:
    settings, path = sent
    other = make_settings(partitions=3)
    for number in range(3):
        records = records_of(settings, number)
        if number == 1:
            place = read_certificate(path, EVENTS).partitions[1].first_offset + 30
            records[place] = (*records[place][:2], records[place][2].replace(b"item", b"Item"))
        send(other, number, records)
    (difference,) = check(other, path, other.events_topic).differences
    assert (difference.partition, difference.offset) == (1, place)
    assert "another record" in difference.what


def test_records_that_come_later_are_no_difference(sent: tuple[Settings, Path]) -> None:
    settings, path = sent
    send(settings, 1, [(b"later", 5, b"{}")] * 4)
    result = check(settings, path)
    assert result.holds
    assert result.behind == 4


def test_what_retention_has_deleted_is_told(sent: tuple[Settings, Path]) -> None:
    settings, path = sent
    first = read_certificate(path, EVENTS).partitions[2].first_offset
    admin = AdminClient(settings.kafka_config())
    places = [TopicPartition(settings.events_topic, 2, first + 10)]
    for future in admin.delete_records(places).values():
        future.result(timeout=120)
    (difference,) = check(settings, path).differences
    assert (difference.partition, difference.offset) == (2, first)
    assert str(first + 10) in difference.what


def test_a_replay_that_goes_on_has_the_certificate_of_the_whole(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path
) -> None:
    settings = make_settings(partitions=2)
    half = len(shoppers.frame) // 2
    replay_frames(settings, [shoppers.frame[:half]])
    # The second run passes over what stands there, gives it to the certifier, and sends the rest.
    certifier = start_certificate(settings, tmp_path / "sent.json")
    certifier.add_all(*columns_of(shoppers.frame[:half]))
    with TopicReader(settings, settings.events_topic) as reader:
        certifier.continue_at({number: high for number, (_, high) in enumerate(reader.bounds())})
    certifier.add_all(*columns_of(shoppers.frame[half:]))
    certificate = certifier.finish()
    assert [part.first_offset for part in certificate.partitions] == [0, 0]
    result = check(settings, tmp_path / "sent.json")
    assert not result.holds
    replay_frames(settings, [shoppers.frame[half:]])
    assert check(settings, tmp_path / "sent.json").holds


def test_the_command_tells_whether_the_topic_holds_what_was_certified(
    sent: tuple[Settings, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, path = sent
    monkeypatch.setenv("NEXTCLICK_BOOTSTRAP_SERVERS", settings.bootstrap_servers)
    shown = CliRunner().invoke(nextclick.app, ["verify", str(path), "--json"])
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["holds"] is True
    send(settings, 0, [(b"another", 5, b"{}")])
    with path.open() as file:
        content = json.load(file)
    content["partitions"][0]["first_offset"] += 1
    path.write_text(json.dumps(content))
    shown = CliRunner().invoke(nextclick.app, ["verify", str(path)])
    assert shown.exit_code == 1, shown.output
    assert f"partition 0, offset {content['partitions'][0]['first_offset']}: another record" in shown.stdout


def test_what_is_no_certificate_of_events_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lists.json"
    Certificate(LISTS, "recommendations", 0, None, None, "0", []).write(path)
    for wrong in (tmp_path / "nothing.json", path, Path(__file__)):
        with pytest.raises(NextclickError):
            read_certificate(wrong, EVENTS)


def test_made_up_shoppers_are_replayed_in_order_of_arrival(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(partitions=1)
    log = Path("synthetic:events=3000,items=50,rate=100,late=0.05,late_s=20,duplicates=0.02,seed=3")
    report = replay_files(
        settings, EventFiles([log]), storage=ReplayStorage(certificate=tmp_path / "sent.json")
    )
    assert report.sent == report.acknowledged == 3_000
    assert check(settings, tmp_path / "sent.json").holds
    times_ms = pd.Series([time_ms for _, time_ms, _ in records_of(settings, 0)])
    assert 30 < (times_ms.cummax() - times_ms > 1_000).sum() < 300


def test_an_empty_replay_is_certified(make_settings: MakeSettings, tmp_path: Path) -> None:
    settings = make_settings()
    empty = pd.DataFrame({"session_id": [], "item_id": [], "event_time_ms": [], "kind": []})
    replay_frames(settings, [empty], certificate=tmp_path / "sent.json")
    result = check(settings, tmp_path / "sent.json")
    assert result.holds
    assert result.found == 0


def test_a_certificate_that_a_finished_replay_has_not_written_is_made_up_for(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path
) -> None:
    settings = make_settings(partitions=2)
    log, path = tmp_path / "log.parquet", tmp_path / "sent.json"
    shoppers.frame.to_parquet(log)
    checkpoint = tmp_path / "replay.json"
    sent = replay_files(
        settings, EventFiles([log]), storage=ReplayStorage(checkpoint=checkpoint, certificate=path)
    ).sent
    assert sent == len(shoppers.frame)
    written = path.read_bytes()
    path.unlink()
    assert (
        replay_files(
            settings, EventFiles([log]), storage=ReplayStorage(checkpoint=checkpoint, certificate=path)
        ).sent
        == 0
    )
    assert path.read_bytes() == written
    assert check(settings, path).holds


def test_a_limit_below_what_is_sent_already_sends_nothing(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path
) -> None:
    settings = make_settings(partitions=1)
    log = tmp_path / "log.parquet"
    shoppers.frame.to_parquet(log)
    checkpoint = tmp_path / "replay.json"
    assert (
        replay_files(
            settings,
            EventFiles([log]),
            part=ReplayRange(limit=50),
            storage=ReplayStorage(checkpoint=checkpoint),
        ).sent
        == 50
    )
    assert (
        replay_files(
            settings,
            EventFiles([log]),
            part=ReplayRange(limit=20),
            storage=ReplayStorage(checkpoint=checkpoint),
        ).sent
        == 0
    )
    assert (
        replay_files(settings, EventFiles([log]), storage=ReplayStorage(checkpoint=checkpoint)).sent
        == len(shoppers.frame) - 50
    )


def test_an_event_of_the_time_0_is_certified_as_it_stands(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(partitions=1)
    log = tmp_path / "log.csv"
    log.write_text("timestamp_ms,session_id,user_id,item_id\n0,1,2,3\n5,1,2,4\n")
    replay_files(settings, EventFiles([log]), storage=ReplayStorage(certificate=tmp_path / "sent.json"))
    assert [time_ms for _, time_ms, _ in records_of(settings, 0)] == [1, 5]
    assert check(settings, tmp_path / "sent.json").holds
