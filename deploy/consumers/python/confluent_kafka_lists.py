"""Follows nextclick's lists with confluent-kafka: a JSON line for each list that is news to its session.

usage: python confluent_kafka_lists.py BROKERS TOPIC GROUP      needs: pip install confluent-kafka

Lists come at least once, so again after a restart of a worker or of this program. A session is no
news when its newest list is as new: `event_id` is partition and offset of the list's event.
What keeps the lists (a table, a cache) has to compare in the same way, since memory ends with the process.
"""

import json
import signal
import sys
from collections import OrderedDict

from confluent_kafka import Consumer, KafkaException

SESSIONS = 100_000  # remembered; older ones are forgotten


class Newest:
    """The event of each session's newest list, as partition and offset."""

    def __init__(self) -> None:
        self._events: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def take(self, session_id: str, event_id: str) -> bool:
        """Whether a list is newer than all before it of its session."""
        partition, offset = map(int, event_id.split("-"))
        before = self._events.get(session_id)
        if before is not None and before[0] == partition and before[1] >= offset:
            return False
        self._events[session_id] = (partition, offset)
        self._events.move_to_end(session_id)
        if len(self._events) > SESSIONS:
            self._events.popitem(last=False)
        return True


def main(brokers: str, topic: str, group: str) -> None:
    """Read until SIGTERM or Ctrl-C."""
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    newest = Newest()
    consumer.subscribe([topic])
    try:
        while not stopping:
            records = consumer.consume(500, timeout=0.5)
            for record in records:
                error = record.error()
                if error is not None:
                    if error.retriable():
                        continue
                    raise KafkaException(error)
                shown = json.loads(record.value() or b"")
                if newest.take(shown["session_id"], shown["event_id"]):
                    headers = dict(record.headers() or [])
                    print(
                        json.dumps(
                            {
                                "session_id": shown["session_id"],
                                "event_id": shown["event_id"],
                                "model": headers["model"].decode(),
                                # Absent when the model stepped: else why the list is another, such as POP's.
                                "fallback": headers["fallback"].decode() if "fallback" in headers else None,
                                "items": shown["items"],
                            }
                        )
                    )
            if records:
                # Only now is it done: what a crash interrupts is read again.
                sys.stdout.flush()
                consumer.commit(asynchronous=False)
    finally:
        consumer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
