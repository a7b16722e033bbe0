"""Follows nextclick's lists with aiokafka: a JSON line for each list that is news to its session.

usage: python aiokafka_lists.py BROKERS TOPIC GROUP      needs: pip install aiokafka cramjam (lists are lz4)

Lists come at least once, so again after a restart of a worker or of this program. A session is no
news when its newest list is as new: `event_id` is partition and offset of the list's event.
What keeps the lists (a table, a cache) has to compare in the same way, since memory ends with the process.
"""

import asyncio
import json
import signal
import sys
from collections import OrderedDict

from aiokafka import AIOKafkaConsumer

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


async def main(brokers: str, topic: str, group: str) -> None:
    """Read until SIGTERM or Ctrl-C."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=brokers,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    newest = Newest()
    await consumer.start()
    try:
        while not stopping.is_set():
            batches = await consumer.getmany(timeout_ms=500, max_records=500)
            for record in (record for records in batches.values() for record in records):
                shown = json.loads(record.value)
                if newest.take(shown["session_id"], shown["event_id"]):
                    headers = dict(record.headers)
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
            if batches:
                # Only now is it done: what a crash interrupts is read again.
                sys.stdout.flush()
                await consumer.commit()
    finally:
        await consumer.stop()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
