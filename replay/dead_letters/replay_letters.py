"""Sends dead letters to `events` again, each once, if they are valid events now.

A letter that would be rejected again is not sent, so that no letter circulates forever. Keys stay. A batch
is committed, with the ends of `events`, before it is sent; after a crash the next replay reads `events`
from those ends and finds by header which letters of the batch arrived.
Tested by tests/integration/test_dead_letters.py.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer

from model.errors import NextclickError
from replay.dead_letters.replayed import ReplayedLetters, Sending
from stream.event_decoder import OWN_EVENTS, EventDecoder
from stream.events import RejectedEvent, check_time, message_time_ms
from stream.kafka.consumers import groupless_consumer
from stream.kafka.dead_letter_reader import Letter, letters
from stream.kafka.partition_reader import read_range, topic_bounds, unreadable
from stream.logs import escaped
from stream.settings import Settings

BATCH_LETTERS = 500
FLUSH_TIMEOUT_S = 150.0
LETTER_HEADER, ORIGIN_HEADER = "dead_letter", "origin"
CUT = "cut"
Place = tuple[int, int]


@dataclass
class LetterReport:
    """Counts of a replay: `sent` letters (or, in a dry run, valid ones), and `still_bad` by reason."""

    sent: int = 0
    done_before: int = 0
    repeated: int = 0
    given_up: int = 0
    still_bad: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Outgoing:
    letter: Letter
    key: bytes | None
    value: bytes
    event_time_ms: int


def shown_text(value: bytes | None) -> str:
    """Bytes as text, with invalid UTF-8 and control characters escaped.

    >>> shown_text(b"a\\xff")
    'a\\\\xff'
    """
    return escaped((value or b"").decode(errors="backslashreplace"))


def read_corrections(path: Path) -> dict[Place, tuple[str, str]]:
    """Key and value of each letter in a file of `nextclick dlq show --json`, by (partition, offset).

    Raises NextclickError when the file cannot be read as one.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["letters"]
        return {
            (int(row["partition"]), int(row["offset"])): (str(row["key"]), str(row["value"])) for row in found
        }
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise NextclickError(
            f"{path} has no corrected letters: {type(error).__name__}: {error}",
            "Nothing was sent.",
            "Write it with `nextclick dlq show --json`, and edit keys and values in it.",
        ) from error


def replay_letters(
    settings: Settings,
    *,
    reasons: Sequence[str] = (),
    corrections: Mapping[Place, tuple[str, str]] | None = None,
    dry_run: bool = False,
    give_up: bool = False,
    decoder: EventDecoder = OWN_EVENTS,
    now_s: Callable[[], float] = time.time,
) -> LetterReport:
    """Send every letter of these reasons (all, if none is given) that is valid now or after correction.

    `give_up` marks letters that are still invalid as done. Raises NextclickError when the brokers do not
    answer or refuse an event; letters sent until then are remembered.
    """
    report = LetterReport()
    found = list(letters(settings))
    replayed = ReplayedLetters(settings)
    try:
        replayed.load(found)
        _resume(settings, replayed)
        origins = {letter.origin for letter in found if replayed.is_done(letter)}
        ready: list[_Outgoing] = []
        for letter in found:
            if reasons and letter.reason not in reasons:
                continue
            if replayed.is_done(letter):
                report.done_before += 1
                continue
            if letter.origin in origins:
                # The same event was written twice: the worker was killed after the first letter.
                report.repeated += 1
                replayed.of(letter.partition).mark_done([letter.offset])
                continue
            try:
                event = _ready(letter, (corrections or {}).get(letter.place), settings, now_s(), decoder)
            except RejectedEvent as rejected:
                report.still_bad[rejected.reason] += 1
                if give_up:
                    report.given_up += 1
                    replayed.of(letter.partition).mark_done([letter.offset])
                continue
            origins.add(letter.origin)
            ready.append(event)
        report.sent = len(ready)
        if not dry_run:
            _send(settings, replayed, ready)
    finally:
        replayed.close()
    return report


def _ready(
    letter: Letter,
    correction: tuple[str, str] | None,
    settings: Settings,
    now_s: float,
    decoder: EventDecoder,
) -> _Outgoing:
    """The record to send. Raises RejectedEvent when it would be rejected again."""
    key, value = letter.key, letter.value or b""
    if correction is not None and correction != (shown_text(key), shown_text(value)):
        key, value = correction[0].encode() or None, correction[1].encode()
    elif letter.is_cut:
        raise RejectedEvent(CUT)
    event = decoder.decode(value, key, letter.timestamp_ms, letter.headers)
    check_time(event, settings.min_event_time_ms, int((now_s + settings.max_future_s) * 1000))
    return _Outgoing(letter, key, value, event.event_time_ms)


def _send(settings: Settings, replayed: ReplayedLetters, ready: list[_Outgoing]) -> None:
    """Send in batches; the state is committed before and after each batch."""
    producer = Producer(settings.producer_config())
    errors: list[KafkaError] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            errors.append(error)

    for start in range(0, len(ready), BATCH_LETTERS):
        batch = ready[start : start + BATCH_LETTERS]
        ends = _ends(settings)
        by_partition: dict[int, list[int]] = {}
        for event in batch:
            by_partition.setdefault(event.letter.partition, []).append(event.letter.offset)
        for number, offsets in by_partition.items():
            replayed.of(number).sending = Sending(offsets, ends)
        replayed.save()
        for event in batch:
            letter = event.letter
            producer.produce(
                settings.events_topic,
                event.value,
                event.key,
                timestamp=message_time_ms(event.event_time_ms),
                headers=[
                    (LETTER_HEADER, _name(settings, letter.partition, letter.offset)),
                    (ORIGIN_HEADER, letter.origin.encode()),
                    *letter.headers,
                ],
                on_delivery=delivered,
            )
        left = producer.flush(FLUSH_TIMEOUT_S)
        if left or errors:
            raise NextclickError(
                f"dead letters were not delivered: {errors[0].str() if errors else 'no answer'}",
                "What was delivered is found out when they are replayed again; nothing is sent twice.",
                "Look at the brokers, then replay again.",
            )
        for number, offsets in by_partition.items():
            replayed.of(number).mark_done(offsets)
            replayed.of(number).sending = None
    replayed.save()


def _name(settings: Settings, partition: int, offset: int) -> bytes:
    return f"{settings.dlq_topic}-{partition}-{offset}".encode()


def _reader(settings: Settings) -> Consumer:
    config = {"enable.partition.eof": True, "auto.offset.reset": "earliest"}
    return groupless_consumer(settings, "dlq-replay-read", config)


def _ends(settings: Settings) -> dict[int, int]:
    consumer = _reader(settings)
    try:
        return {number: high for number, (_, high) in topic_bounds(consumer, settings.events_topic).items()}
    except KafkaException as error:
        raise unreadable(settings.events_topic, error.args[0].str()) from None
    finally:
        consumer.close()


def _resume(settings: Settings, replayed: ReplayedLetters) -> None:
    """Mark the letters of unfinished batches that are in `events` as done."""
    unfinished = replayed.unfinished()
    if not unfinished:
        return
    topic = settings.events_topic
    ends: dict[int, int] = {}
    for sending in unfinished.values():
        ends.update(sending.ends)
    arrived: set[bytes] = set()
    consumer = _reader(settings)
    try:
        for number, (low, high) in topic_bounds(consumer, topic).items():
            first = max(low, ends.get(number, 0))
            if first < high:
                for message in read_range(consumer, topic, number, first, high):
                    headers = dict(message.headers() or [])
                    name = headers.get(LETTER_HEADER)
                    if isinstance(name, bytes):
                        arrived.add(name)
    except KafkaException as error:
        raise unreadable(topic, error.args[0].str()) from None
    finally:
        consumer.close()
    for number, sending in unfinished.items():
        replayed.of(number).mark_done(o for o in sending.offsets if _name(settings, number, o) in arrived)
        replayed.of(number).sending = None
