"""Logs with everything that a log can hold, plainly read: what windows and archives are held against."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event as Flag
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from stream.event_log.archive_folder import ArchiveFolder
from stream.event_log.archive_part import OpenPart
from stream.event_log.archive_reader import records
from stream.event_log.archiver import Archiver, ArchiveReport
from stream.event_log.columns import Record
from stream.event_log.window import EventWindow
from stream.events import Event, RejectedEvent, decode_event, encode_event
from stream.settings import Settings
from tests.harness.fork_server import popen

Log = dict[int, list[Record]]
START_MS = 1_506_826_800_000


@dataclass
class PlainWindow:
    """A window, read the slow way: rows of (time, partition, offset, session, item, kind, price)."""

    rows: list[tuple[object, ...]] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)


def plain_window(
    log: Log, ranges: dict[int, tuple[int, int]], from_ms: int, until_ms: int, latest_ms: int
) -> PlainWindow:
    """The rule, one record at a time."""
    window = PlainWindow()
    for number, kept in log.items():
        first, end = ranges.get(number, (0, 0))
        for record in kept:
            if not first <= record.offset < end:
                continue
            try:
                event = decode_event(record.value, record.key)
                if event.event_time_ms > latest_ms:
                    raise RejectedEvent("future")
            except RejectedEvent as rejected:
                window.rejected[rejected.reason] += 1
                continue
            if from_ms <= event.event_time_ms < until_ms:
                place = (event.event_time_ms, number, record.offset)
                window.rows.append((*place, event.session_id, event.item_id, event.kind, event.price))
    window.rows.sort(key=lambda row: row[:3])
    return window


def rows_of(window: EventWindow) -> list[tuple[object, ...]]:
    """A window's rows in the form of PlainWindow's."""
    frame = window.frame
    prices = frame["price"].astype(object).where(frame["price"].notna(), None) if "price" in frame else None
    columns = ("event_time_ms", "partition", "offset", "session_id", "item_id", "kind")
    rows = zip(*(frame[name].tolist() for name in columns), strict=True)
    return [(*row, None if prices is None else prices.iloc[i]) for i, row in enumerate(rows)]


def first_at(log: Log, time_ms: int) -> dict[int, int]:
    """Partition → the first offset with a message time from `time_ms` on, else the end."""
    found = {}
    for number, kept in log.items():
        young = [r.offset for r in kept if r.timestamp_ms is not None and r.timestamp_ms >= time_ms]
        found[number] = young[0] if young else (kept[-1].offset + 1 if kept else 0)
    return found


def write_archive(folder: Path, log: Log, rotate: int, group: int) -> None:
    """An archive of `log` without Kafka: parts of `rotate` records, row groups of `group`."""
    archive = ArchiveFolder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for number, kept in log.items():
        archive.open_partition(number)
        for start in range(0, len(kept), rotate):
            chosen = kept[start : start + rotate]
            part = OpenPart(archive, number, archive.end(number) or 0, 0.0)
            for i, record in enumerate(chosen):
                part.add(record)
                if i % group == group - 1:
                    part.write_group()
            part.publish()


def archived(folder: Path) -> Log:
    """Every record of an archive, byte for byte."""
    archive = ArchiveFolder(folder)
    return {
        number: [record for part in archive.parts(number) for record in records(part)]
        for number in archive.partitions()
    }


def produce(settings: Settings, log: list[tuple[int, bytes | None, bytes | None, int]]) -> None:
    """Put (partition, key, value, message time) into the events topic, as they are."""
    producer = Producer({**settings.producer_config(), "linger.ms": 5})
    refused: list[KafkaError] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            refused.append(error)

    for number, key, value, timestamp_ms in log:
        producer.produce(
            settings.events_topic, value, key, partition=number, timestamp=timestamp_ms, on_delivery=delivered
        )
        producer.poll(0)
    assert producer.flush(60) == 0
    assert not refused, refused[0]


def logged(settings: Settings) -> Log:
    """Every record of the events topic, plainly read."""
    consumer = Consumer({**settings.kafka_config(), "group.id": "reader", "enable.auto.commit": False})
    found: Log = {}
    for number in range(settings.partitions):
        place = TopicPartition(settings.events_topic, number)
        low, high = consumer.get_watermark_offsets(place, timeout=60)
        kept = found.setdefault(number, [])
        consumer.assign([TopicPartition(settings.events_topic, number, low)])
        while high > low and (not kept or kept[-1].offset + 1 < high):
            for message in consumer.consume(1_000, timeout=1.0):
                assert message.error() is None, message.error()
                offset = message.offset()
                assert offset is not None
                kept.append(Record(offset, message.key(), message.value(), message.timestamp()[1]))
    consumer.close()
    return found


def a_log_with_everything(records: int, seed: int = 3) -> list[tuple[int, bytes | None, bytes | None, int]]:
    """Late events, equal times, session ends, columns, poison, foreign keys, a wrong clock."""
    chance = random.Random(seed)
    log: list[tuple[int, bytes | None, bytes | None, int]] = []
    for n in range(records):
        number = n % 2
        time_ms = START_MS + n // 3 * 1_000 - chance.choice([0, 0, 0, 0, 90_000])
        session = f"session-{n % 40}"
        kind: Any = chance.choice(["view", "view", "cart", "session_end"])
        event = Event(
            session, max(time_ms, START_MS), f"item-{n % 13}", kind, price=n / 4 if n % 5 == 0 else None
        )
        key: bytes | None = session.encode()
        value: bytes | None = encode_event(event)
        if n % 97 == 5:
            key = b"another"
        elif n % 97 == 6:
            value = chance.choice([None, b"", b"{", b"\xff\xfe", b'{"item_id": 4}'])
        elif n % 97 == 7:
            wrong = Event(session, int((time.time() + 10 * 86_400) * 1000) + n, "item")
            # Brokers refuse a message time that is ahead of theirs.
            value = encode_event(wrong)
        elif n % 97 == 8:
            value, key = encode_event(event) + b" ", None
        log.append((number, key, value, event.event_time_ms))
    return log


def archive_all(settings: Settings, folder: Path, **options: Any) -> ArchiveReport:
    """What `nextclick archive --until-end` does."""
    options = {"rotate_events": 700, "rotate_s": 1_000.0, **options}
    return Archiver(settings, ArchiveFolder(folder), **options).run(Flag(), until_end=True)


def remove_before(settings: Settings, offsets: dict[int, int]) -> None:
    """Have retention pass."""
    admin = AdminClient(settings.kafka_config())
    places = [TopicPartition(settings.events_topic, number, offset) for number, offset in offsets.items()]
    for future in admin.delete_records(places).values():
        future.result(timeout=120)


class ArchiverProcess:
    """`nextclick archive` as a process of its own, its log in a file."""

    def __init__(self, settings: Settings, folder: Path, *arguments: str, **environment: str) -> None:
        self._log = folder.parent / f"{settings.worker_id}-archiver.log"
        with self._log.open("ab") as log:
            self.process = popen(
                [sys.executable, "-m", "nextclick", "archive", "--folder", str(folder), *arguments],
                env={**os.environ, **settings.environment(), **environment},
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )

    def __enter__(self) -> ArchiverProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def send(self, number: signal.Signals) -> None:
        """Signal it."""
        self.process.send_signal(number)

    def ended(self, timeout_s: float = 120) -> int:
        """Its exit code, when it has ended."""
        return self.process.wait(timeout_s)

    def log(self) -> str:
        """What it and those of its name before it have written."""
        return self._log.read_text(errors="replace")


def wait_for(condition: Callable[[], bool], process: ArchiverProcess, timeout_s: float = 120) -> None:
    """Return when `condition` holds; the process must live until then."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert process.process.poll() is None, process.log()
        assert time.monotonic() < deadline, process.log()
        time.sleep(0.01)
