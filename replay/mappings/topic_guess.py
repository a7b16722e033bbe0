"""What is what in a topic of any shape, by a sample of its records: our own events, a payload that has a
name, or JSON of which a mapping is guessed.

Beside its values a record has a key and a time: they stand in where the values name no session, or no
time. A topic can be read where it lies only where the key is the session.

Tested by tests/unit/replay/mappings/test_topic_guess.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from model.errors import NextclickError
from replay.mappings.guess import Guess, guess_mapping
from replay.mappings.log_sample import LogSample, records_sample
from replay.mappings.said_columns import said_mapping
from stream.event_decoder import OWN_EVENTS, EventDecoder, SchemaAwayError
from stream.event_log.columns import Record
from stream.events import LEFT_OUT_REASONS, Event, RejectedEvent
from stream.ingest.event_times import EPOCH, MILLISECOND
from stream.ingest.mapped_decoder import KEY, TIMESTAMP, MappedDecoder
from stream.ingest.named_mappings import NAMES, mapping_by
from stream.ingest.registry_schemas import SchemaRegistry

# The share of sampled records by which a topic is of a known shape.
LEAST_KNOWN = 0.9
# The records of a key, on average, from which on it may be a session's.
LEAST_OF_A_KEY = 1.2


@dataclass
class Decoded:
    """What a decoder makes of sampled records."""

    events: list[Event] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)

    @property
    def known(self) -> float:
        """The share of the records that are read: events, and what is left out."""
        read = len(self.events) + self.left_out.total()
        return read / max(1, read + self.rejected.total())


def decoded(records: Sequence[Record], decoder: EventDecoder) -> Decoded:
    """The records as a worker would read them.

    >>> decoded([Record(0, b"s", b'{"session_id":"s","event_time_ms":5,"item_id":"i"}')], OWN_EVENTS).known
    1.0
    """
    found = Decoded()
    for record in records:
        try:
            found.events.append(decoder.decode(record.value, record.key, record.timestamp_ms, record.headers))
        except RejectedEvent as rejected:
            is_left_out = rejected.reason in LEFT_OUT_REASONS
            (found.left_out if is_left_out else found.rejected)[rejected.reason] += 1
    return found


def known_shape(records: Sequence[Record], registry: SchemaRegistry | None = None) -> str | None:
    """ "" for our own events, the name of a mapping for a payload that has one; None for any other."""
    if decoded(records, OWN_EVENTS).known >= LEAST_KNOWN:
        return ""
    for name in NAMES:
        found = decoded(records, MappedDecoder(mapping_by(name), registry))
        # Kinds alone are in other payloads too: there must be events.
        if found.events and found.known >= LEAST_KNOWN:
            return name
    return None


def objects_of(records: Sequence[Record], read: Callable[[bytes], Any]) -> list[dict[str, Any]]:
    """The records as objects, with their key and their time. Raises NextclickError where few are objects."""
    objects: list[dict[str, Any]] = []
    for record in records:
        if not record.value:
            continue
        try:
            value = read(record.value)
        except (msgspec.DecodeError, UnicodeError, RecursionError, RejectedEvent, SchemaAwayError):
            continue
        if isinstance(value, dict):
            key = (record.key or b"").decode("utf-8", "replace")
            time_ms = record.timestamp_ms
            try:
                at = "" if time_ms is None else (EPOCH + time_ms * MILLISECOND).isoformat()
            except OverflowError:
                # Not milliseconds, and no time that can be written down.
                at = ""
            objects.append({KEY: key, TIMESTAMP: at, **value})
    if 2 * len(objects) < len(records):
        raise _no_objects(records)
    return objects


def _no_objects(records: Sequence[Record]) -> NextclickError:
    first = next((record.value for record in records if record.value), b"")
    if first[:1] == b"\0" and len(first) > 5:
        return NextclickError(
            f"the records begin with a zero byte and the schema id {int.from_bytes(first[1:5], 'big')}",
            "They are in the format of a schema registry (Avro, Protobuf or JSON Schema), without which they "
            "cannot be read; or it does not know their schema.",
            "Name it: NEXTCLICK_SCHEMA_REGISTRY_URL=https://registry:8081, and, in nextclick's checkout, "
            "pip install '.[registry]'.",
        )
    return NextclickError(
        f"most records are no JSON objects; the first is {first[:80]!r}",
        "Only JSON, and records of a schema registry, can be read as events.",
        "Name another topic, or write its records as JSON.",
    )


def guess_topic(objects: Sequence[dict[str, Any]], said: str) -> Guess:
    """The mapping of a topic by its objects; what is said holds.

    >>> rows = [{KEY: f"s{n % 4}", TIMESTAMP: f"2024-03-05T12:{n:02}:00Z", "sku": f"p{n % 7}"}
    ...     for n in range(40)]
    >>> guess_topic(rows, "").mapping.columns
    {'session': '@key', 'item': 'sku', 'time': '@timestamp'}
    """
    whole = records_sample("json-lines", objects)
    told = {part.partition("=")[0].strip(): part.partition("=")[2].strip() for part in said.split(",")}
    guess = guess_mapping(_offered(whole, said), said_mapping(said))
    added: dict[str, str] = {}
    for doubt in guess.doubts:
        if doubt.role == "session" and "sessions" not in told and "session" not in told:
            found = _session_by_key(whole)
            if found is not None:
                added["session"], guess.evidence["session"] = found
        if doubt.role == "time" and "time" not in told and not _has_times(guess):
            added["time"], guess.evidence["time"] = TIMESTAMP, f"{TIMESTAMP}, the records' own time"
    if added:
        text = ",".join(filter(None, [said, *(f"{role}={column}" for role, column in added.items())]))
        evidence = {role: guess.evidence[role] for role in added}
        guess = guess_mapping(_offered(whole, text), said_mapping(text))
        guess.evidence.update(evidence)
    return guess


def _has_times(guess: Guess) -> bool:
    """Whether columns of times were found, among which a person has to choose."""
    return any(d.role == "time" and "no column" not in d.why for d in guess.doubts)


def _offered(sample: LogSample, said: str) -> LogSample:
    """The sample without the key and the time of records, unless they are said."""
    return sample.without(*(column for column in (KEY, TIMESTAMP) if column not in said))


def _session_by_key(sample: LogSample) -> tuple[str, str] | None:
    """The column that is the records' key, or the key itself, with the evidence; None without keys."""
    keys = sample.values(KEY)
    distinct = len(set(keys))
    if not all(keys) or distinct < 2 or len(keys) < LEAST_OF_A_KEY * distinct:
        return None
    counted = f"{len(keys):,} records have {distinct:,} keys, such as {keys[0]}"
    for column in sample.without(KEY, TIMESTAMP).columns:
        if sample.values(column) == keys:
            return str(column), f"{column}, it is the records' key: {counted}"
    return KEY, f"{KEY}, the records' key: {counted}"


def check_key_is_session(found: Decoded, records: Sequence[Record], command: str) -> None:
    """Raises NextclickError where the key of the records is not their session.

    `command` maps the topic into one that is keyed so.
    """
    mismatched, keyless = found.rejected["key_mismatch"], sum(record.key is None for record in records)
    if 2 * max(mismatched, keyless) <= len(records):
        return
    why = f"{mismatched:,} have another key" if mismatched >= keyless else f"{keyless:,} have no key"
    raise NextclickError(
        f"the topic is not keyed by the session: of {len(records):,} sampled records {why}",
        "A session's events would be spread over partitions and workers. The mapping is written.",
        f"Map it into a topic of nextclick's own, which is keyed so: {command}",
    )
