"""How records of the events topic become events: a contract, and the decoder of the project's own JSON.

The worker, recovery, archives, windows, sessions in the log and dead letters all read one topic, so all
are given the same decoder. stream/ingest makes the decoders of topics of one's own.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from stream.events import Event, RejectedEvent, decode_event
from stream.logs import happening

# Between two questions for a schema that the registry does not give.
SCHEMA_WAIT_S = 1.0
# A reader that has waited in vain does not wait again so soon.
GIVEN_UP_S = 60.0
logger = logging.getLogger(__name__)
Headers = Sequence[tuple[str, Any]]


class SchemaAwayError(Exception):
    """The schema of a record is not known and the registry does not give it now: the record has to wait."""

    def __init__(self, schema_id: int, why: str) -> None:
        super().__init__(f"schema {schema_id}: {why}")
        self.schema_id = schema_id
        self.why = why


class EventDecoder(Protocol):
    """Makes the event of a record.

    `reads_record` says whether it needs a record's time and headers; without them they need not be asked
    for, which the worker would do for every record. `session_gap_s` is the silence that ends a session of
    these records, 0: none does; None where their sessions are their own.
    """

    reads_record: bool
    session_gap_s: float | None

    def decode(
        self,
        value: bytes | None,
        key: bytes | None = None,
        timestamp_ms: int | None = None,
        headers: Headers = (),
    ) -> Event:
        """The event. Raises RejectedEvent with its reason, LeftOutRecord for a record that is none.

        Raises SchemaAwayError where the schema of the record is not known now.
        """


class RecordMessage(Protocol):
    """What a decoder reads of a message of confluent-kafka."""

    def key(self) -> Any: ...  # noqa: D102 - confluent-kafka's own
    def value(self) -> Any: ...  # noqa: D102
    def timestamp(self) -> tuple[int, int]: ...  # noqa: D102
    def headers(self) -> Any: ...  # noqa: D102


class OwnEvents:
    """Decodes the project's own JSON.

    >>> OwnEvents().decode(b'{"session_id":"s","event_time_ms":5,"item_id":"i"}', b"s").item_id
    'i'
    """

    reads_record = False

    def __init__(self, session_gap_s: float | None = None) -> None:
        """`session_gap_s` is of events that were mapped into this topic from logs of users."""
        self.session_gap_s = session_gap_s

    def decode(
        self,
        value: bytes | None,
        key: bytes | None = None,
        timestamp_ms: int | None = None,
        headers: Headers = (),
    ) -> Event:
        """The event. Raises RejectedEvent with its reason."""
        return decode_event(value, key)


# Headers of a dead letter: the record's time in milliseconds, and its headers, named so.
TIMESTAMP, OF_RECORD = "timestamp_ms", "record."
OWN_EVENTS = OwnEvents()


def event_of(decoder: EventDecoder, message: RecordMessage) -> Event:
    """The event of a message. Raises RejectedEvent."""
    if decoder.reads_record:
        kind, timestamp_ms = message.timestamp()
        # Kind 0: the record has no time.
        known_ms = timestamp_ms if kind else None
        return decoder.decode(message.value(), message.key(), known_ms, message.headers() or ())
    return decoder.decode(message.value(), message.key())


def origin_of(decoder: EventDecoder, message: RecordMessage) -> Headers:
    """The headers by which a dead letter keeps a record's time and headers, where the decoder reads them."""
    return kept_of(message) if decoder.reads_record else ()


def kept_of(message: RecordMessage) -> Headers:
    """The headers by which a dead letter keeps a record's time and headers."""
    kind, timestamp_ms = message.timestamp()
    known = [(TIMESTAMP, b"%d" % timestamp_ms)] if kind else []
    return [*known, *((OF_RECORD + name, value) for name, value in message.headers() or ())]


class PatientDecoder:
    """A decoder that waits for schemas: for readers that have nothing else to do meanwhile.

    It waits for `most_s` at most, and then, for GIVEN_UP_S, no more: records of schemas that are not known
    are rejected as `no_schema`.
    """

    def __init__(
        self,
        decoder: EventDecoder,
        sleep: Callable[[float], None] = time.sleep,
        *,
        most_s: float = math.inf,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._decoder = decoder
        self._sleep = sleep
        self._most_s = self._left_s = most_s
        self._now_s = now_s
        self._given_up_s = -math.inf
        self.reads_record = decoder.reads_record
        self.session_gap_s = decoder.session_gap_s

    def decode(
        self,
        value: bytes | None,
        key: bytes | None = None,
        timestamp_ms: int | None = None,
        headers: Headers = (),
    ) -> Event:
        """The event. Raises RejectedEvent with its reason."""
        is_logged = False
        while True:
            try:
                event = self._decoder.decode(value, key, timestamp_ms, headers)
            except SchemaAwayError as away:
                self._spend(away)
                if not is_logged:
                    logger.warning(
                        "reading waits: schema %d is not known: %s",
                        away.schema_id,
                        away.why,
                        extra=happening("schema_awaited", schema=away.schema_id, error=away.why),
                    )
                is_logged = True
                self._sleep(SCHEMA_WAIT_S)
            else:
                if is_logged:
                    # It came: the next one may be waited for as long.
                    self._left_s = self._most_s
                return event

    def _spend(self, away: SchemaAwayError) -> None:
        """Take one wait from what is left. Raises RejectedEvent where nothing is."""
        if self._left_s <= 0:
            if self._now_s() - self._given_up_s < GIVEN_UP_S:
                raise RejectedEvent("no_schema")
            self._left_s = self._most_s
        self._left_s -= SCHEMA_WAIT_S
        if self._left_s <= 0:
            self._given_up_s = self._now_s()
            logger.warning(
                "waited for %.0f s: schema %d is not known: %s; records of such schemas are left out here",
                self._most_s,
                away.schema_id,
                away.why,
                extra=happening("schema_given_up", schema=away.schema_id, error=away.why),
            )
            raise RejectedEvent("no_schema")


def patient(decoder: EventDecoder, most_s: float = math.inf) -> EventDecoder:
    """The decoder, waiting for schemas where it needs some, for `most_s` at most."""
    return (
        decoder if isinstance(decoder, OwnEvents | PatientDecoder) else PatientDecoder(decoder, most_s=most_s)
    )
