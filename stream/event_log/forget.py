"""Removes what is kept of a person: by events of kind `forget`, which workers obey, and from archives.

The events stand in the log itself, so that whatever reads it again (a restart, a recovery, a window)
comes upon them, too, and brings nobody back.

Tested by tests/unit/stream/event_log/test_forget.py and tests/integration/test_forget.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from model.errors import NextclickError
from stream.event_decoder import OWN_EVENTS, EventDecoder
from stream.event_log.archive_folder import ArchiveFolder, Part
from stream.event_log.archive_part import unwritable
from stream.event_log.archive_reader import opened
from stream.event_log.columns import RECORD_COLUMNS
from stream.event_log.kafka_reader import KafkaEvents
from stream.events import FORGET, Event, encode_event
from stream.kafka.connection import ANSWER_TIMEOUT_S, remedy_for
from stream.kafka.consumers import outside_consumer
from stream.settings import Settings

DEADLINE_S = 30.0
BATCH_ROWS = 65_536
POLL_S = 0.2
UNFINISHED = ".forgetting"


@dataclass(frozen=True)
class Person:
    """Sessions, and the user who had them, None where only the sessions are known."""

    sessions: frozenset[str]
    user_id: str | None = None

    def rows(self, table: pa.Table) -> pa.ChunkedArray:
        """A mask of the records that are the person's: by session, by user, or by the record's own key."""
        texts = pa.array(sorted(self.sessions), pa.large_string())
        found = pc.is_in(table["session_id"].cast(pa.large_string()), texts)
        if "raw_key" in table.schema.names:
            keys = pa.array([text.encode() for text in sorted(self.sessions)], pa.large_binary())
            found = pc.or_(found, pc.is_in(table["raw_key"].cast(pa.large_binary()), keys))
        if self.user_id is not None:
            found = pc.or_(found, pc.fill_null(pc.equal(table["user_id"], self.user_id), False))
        return found


def sessions_of(settings: Settings, user_id: str, decoder: EventDecoder = OWN_EVENTS) -> set[str]:
    """The sessions with an event of the user in the log, which is read whole. Raises NextclickError."""
    found: set[str] = set()
    wanted = Person(frozenset(), user_id)
    with closing(KafkaEvents(settings, decoder)) as log:
        for table in log.read(log.bounds(), lambda table: table.filter(wanted.rows(table))):
            found.update(table["session_id"].to_pylist())
    return found


def forgotten_sessions(
    settings: Settings, sessions: Collection[str], decoder: EventDecoder = OWN_EVENTS
) -> dict[str, tuple[int, int]]:
    """Of these sessions, those whose newest record in the log says that they are forgotten, and its place.

    Reads the log whole; raises NextclickError.
    """
    newest: dict[str, tuple[tuple[int, int], bool]] = {}
    wanted = Person(frozenset(sessions))
    with closing(KafkaEvents(settings, decoder)) as log:
        for table in log.read(log.bounds(), lambda table: table.filter(wanted.rows(table))):
            rows = table.select(["session_id", "partition", "offset", "kind"]).to_pylist()
            newest |= {r["session_id"]: ((r["partition"], r["offset"]), r["kind"] == FORGET) for r in rows}
    return {session: place for session, (place, is_forgotten) in newest.items() if is_forgotten}


def send_forget(settings: Settings, sessions: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Say in the events topic that sessions are forgotten. Returns partition and offset of each event.

    Raises NextclickError when one is not acknowledged; it may be said again.
    """
    placed: dict[str, tuple[int, int]] = {}
    refused: list[KafkaError] = []
    producer = Producer(
        {**settings.producer_config(), "message.timeout.ms": int(DEADLINE_S * 1000), "log_level": 0}
    )

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            refused.append(error)
        else:
            placed[(message.key() or b"").decode()] = (message.partition() or 0, message.offset() or 0)

    now_ms = time.time_ns() // 1_000_000
    wanted = sorted(set(sessions))
    for session_id in wanted:
        value = encode_event(Event(session_id, now_ms, "", FORGET))
        while True:
            try:
                producer.produce(
                    settings.events_topic, value, session_id.encode(), timestamp=now_ms, on_delivery=delivered
                )
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    producer.flush(DEADLINE_S + 1)
    if len(placed) < len(wanted):
        why = refused[0].str() if refused else f"no answer in {DEADLINE_S:.0f} s"
        raise NextclickError(
            f"{settings.events_topic} took {len(placed)} of {len(wanted)} events of forgetting: {why}",
            "What was not said is obeyed nowhere; nothing was removed from an archive.",
            remedy_for(refused[0], "Look at the brokers, then run the command again.")
            if refused
            else "Look at the brokers, then run the command again.",
        )
    return placed


def obeyed_sessions(settings: Settings, placed: dict[str, tuple[int, int]], wait_s: float) -> Collection[str]:
    """The sessions whose forgetting the workers' group has made durable, after `wait_s` at the latest."""
    topic = settings.events_topic
    consumer = outside_consumer(settings, settings.group_id, {"log_level": 0})
    numbers = sorted({partition for partition, _ in placed.values()})
    deadline_s = time.monotonic() + wait_s
    try:
        while True:
            answers = consumer.committed(
                [TopicPartition(topic, number) for number in numbers], timeout=ANSWER_TIMEOUT_S
            )
            committed = {answer.partition: answer.offset for answer in answers}
            found = {s for s, (number, offset) in placed.items() if committed[number] > offset}
            if len(found) == len(placed) or time.monotonic() >= deadline_s:
                return found
            time.sleep(POLL_S)
    except KafkaException as error:
        raise NextclickError(
            f"the group {settings.group_id} cannot be asked: {error.args[0].str()}",
            "The sessions are said to be forgotten; whether the workers have obeyed is not known.",
            remedy_for(error.args[0], "Look at the brokers, then run the command again."),
        ) from None
    finally:
        consumer.close()


def remove_from_archive(
    archive: ArchiveFolder, person: Person, progress: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, Any]:
    """Write the parts of an archive that have records of the person again, without these.

    A part keeps its name, which says the offsets that it stands for. Each is replaced at once when its
    successor is whole and durable, so a kill leaves parts with the records and parts without, and the
    same call again does the rest. Returns how many records were removed, and of which files. Raises
    NextclickError.
    """
    files: dict[str, int] = {}
    with archive.rewriting():
        for left in archive.root.glob(f"partition=*/.*{UNFINISHED}"):
            left.unlink()
        parts = [part for number in archive.partitions() for part in archive.parts(number)]
        for done, part in enumerate(parts):
            progress(done, len(parts))
            if removed := _rewrite(archive, part, person):
                files[f"{part.path.parent.name}/{part.path.name}"] = removed
        progress(len(parts), len(parts))
    return {"folder": str(archive.root), "removed_records": sum(files.values()), "files": files}


def archived_sessions_of(archive: ArchiveFolder, user_id: str) -> set[str]:
    """The sessions with an event of the user in an archive. Raises NextclickError."""
    found: set[str] = set()
    wanted = Person(frozenset(), user_id)
    for part in (part for number in archive.partitions() for part in archive.parts(number)):
        with opened(part) as file:
            for batch in file.iter_batches(BATCH_ROWS, columns=["session_id", "user_id"]):
                table = pa.Table.from_batches([batch])
                found.update(table.filter(wanted.rows(table))["session_id"].to_pylist())
    return found


def behind(archive: ArchiveFolder, placed: dict[str, tuple[int, int]]) -> list[str]:
    """The sessions whose forgetting the archive has not reached: earlier events of them may still come."""
    ends = {number: archive.end(number) or 0 for number in {number for number, _ in placed.values()}}
    return sorted(session for session, (number, offset) in placed.items() if ends[number] <= offset)


def _rewrite(archive: ArchiveFolder, part: Part, person: Person) -> int:
    """Leave the person's records out of a part, but for those of the forgetting. Returns how many."""
    with opened(part) as file:
        chosen = ["session_id", "user_id", "kind", "raw_key"]
        removed = sum(
            pc.sum(_removed(pa.Table.from_batches([batch]), person)).as_py() or 0
            for batch in file.iter_batches(BATCH_ROWS, columns=chosen)
        )
        if not removed:
            return 0
        unfinished = part.path.with_name(f".{part.path.name}{UNFINISHED}")
        try:
            with pq.ParquetWriter(unfinished, RECORD_COLUMNS, compression="zstd") as writer:
                for batch in file.iter_batches(BATCH_ROWS, columns=RECORD_COLUMNS.names):
                    table = pa.Table.from_batches([batch]).cast(RECORD_COLUMNS)
                    writer.write_table(table.filter(pc.invert(_removed(table, person))))
            archive.replace(part, unfinished)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise unwritable(part.path, error) from None
    return int(removed)


def _removed(table: pa.Table, person: Person) -> pa.ChunkedArray:
    said = pc.fill_null(pc.equal(table["kind"], FORGET), False)
    return pc.and_not(pc.fill_null(person.rows(table), False), said)
