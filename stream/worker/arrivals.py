"""Step 1 of a wave: records become arrivals, with a reason where they are no events.

Tested by tests/unit/stream/worker/test_source.py and tests/faults/test_events.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from confluent_kafka import Message

from stream.event_decoder import EventDecoder, event_of, origin_of
from stream.events import LeftOutRecord, RejectedEvent, check_time
from stream.sessions.watermark import Watermark
from stream.settings import Settings
from stream.wave.waves import Arrival
from stream.worker.producer_faults import ProducerFaults


class ArrivalMaker:
    """Decodes the records of one batch after another, and adds producers' faults to `faults`."""

    def __init__(
        self,
        settings: Settings,
        decoder: EventDecoder,
        faults: ProducerFaults,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._decoder = decoder
        self._faults = faults
        self._wall_s = wall_s
        self._ahead_ms = int(settings.max_future_s * 1000)
        self._earliest_ms = settings.min_event_time_ms
        self._newest_wall_ms = 0
        self._received_ns = 0

    def begin_batch(self) -> None:
        """Take the time at which the records that come now were received."""
        self._received_ns = time.monotonic_ns()
        # Never backwards: a clock that is set back must not make the present look like the future.
        self._newest_wall_ms = max(self._newest_wall_ms, int(self._wall_s() * 1000))

    def arrival(self, message: Message, before: Watermark) -> Arrival:
        """The arrival of a record; `before` is its partition's watermark."""
        number, offset = message.partition() or 0, message.offset() or 0
        try:
            event = event_of(self._decoder, message)
            check_time(event, self._earliest_ms, max(self._newest_wall_ms, before.ms) + self._ahead_ms)
        except LeftOutRecord as left_out:
            return Arrival(number, offset, None, before, self._received_ns, left_out.reason)
        except RejectedEvent as rejected:
            self._faults.add_rejected(number, offset, rejected.reason)
            key, value, origin = message.key(), message.value(), origin_of(self._decoder, message)
            return Arrival(
                number, offset, None, before, self._received_ns, rejected.reason, key, value, origin
            )
        self._faults.add_event(number, offset, event.session_id, message.key())
        return Arrival(number, offset, event, before, self._received_ns)
