"""Keeps every session's newest list in Redis, where the pages of a shop read it.

usage: python redis_lists.py BROKERS TOPIC GROUP REDIS_URL [TTL_SECONDS [EVENTS]]
needs: pip install confluent-kafka redis; Redis 4 or newer

A session's list is the field `list` of the hash `nextclick:list:SESSION`: the JSON of its record. With TOPIC
nextclick-placements it is that of the hash `nextclick:placement:NAME:SESSION`, for each placement. The hash
goes TTL_SECONDS after the newest list (default: a day). Lists come at least once and are committed when
Redis has them. The newest wins: its place in the topic is compared in Redis, in one step with the writing,
so neither a repeat, nor a restart, nor several of these programs put an older list over a newer one. Places
are those of the topic EVENTS (default: events): made anew, it has another id, and begins anew; start this
program again then. The list of a forgotten session is removed at once; its
place stays until the hash goes, so that no older list comes back.

Ends with an error when Redis is away for a minute: start it again, it goes on with what was not committed.
"""

import json
import signal
import sys

import redis
from confluent_kafka import Consumer, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

PREFIX = "nextclick:list:"
# The name of a placement has no colon.
PLACEMENT_PREFIX = "nextclick:placement:"
DAY_S = 86_400
# Keys: the session's hash. Arguments: topic id, partition, offset, seconds to live, the list or nothing.
KEEP = """
local kept = redis.call('HMGET', KEYS[1], 'topic', 'partition', 'offset')
if kept[1] == ARGV[1] and kept[2] == ARGV[2] and tonumber(kept[3]) >= tonumber(ARGV[3]) then
  return 0
end
redis.call('HSET', KEYS[1], 'topic', ARGV[1], 'partition', ARGV[2], 'offset', ARGV[3], 'list', ARGV[5])
if ARGV[5] == '' then
  redis.call('HDEL', KEYS[1], 'list')
end
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
"""


class NewestLists:
    """The newest list of each session, in Redis."""

    def __init__(self, url: str, topic_id: str, ttl_s: int = DAY_S) -> None:
        away = [redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError]
        patience = Retry(ExponentialBackoff(cap=2, base=0.05), 35)
        self._redis = redis.Redis.from_url(
            url, retry=patience, retry_on_error=away, socket_timeout=10, socket_connect_timeout=10
        )
        self._topic_id, self._ttl_s = topic_id, ttl_s

    def keep(self, values: list[bytes]) -> tuple[int, int]:
        """Keep the lists that are news. Returns how many were, and how many records are no lists."""
        pipeline = self._redis.pipeline(transaction=False)
        unreadable = 0
        for value in values:
            try:
                shown = json.loads(value)
                session_id = shown["session_id"]
                partition, offset = map(int, shown["event_id"].split("-"))
                content = value if shown["items"] else b""
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                unreadable += 1
                print(f"left out, since it is no list: {error!r}", file=sys.stderr)
                continue
            placement = shown.get("placement")
            prefix = f"{PLACEMENT_PREFIX}{placement}:" if placement else PREFIX
            key = f"{prefix}{session_id}"
            pipeline.eval(KEEP, 1, key, self._topic_id, partition, offset, self._ttl_s, content)
        return sum(pipeline.execute()), unreadable


def topic_id_of(brokers: str, topic: str) -> str:
    """The id that tells a topic from an earlier one of its name."""
    admin = AdminClient({"bootstrap.servers": brokers})
    described = admin.describe_topics(TopicCollection([topic]))
    return str(described[topic].result(timeout=30).topic_id)


def main(
    brokers: str, topic: str, group: str, url: str, ttl_s: str = str(DAY_S), events: str = "events"
) -> None:
    """Read until SIGTERM or Ctrl-C."""
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    newest = NewestLists(url, topic_id_of(brokers, events), int(ttl_s))
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic])
    try:
        while not stopping:
            values = []
            for record in consumer.consume(500, timeout=0.5):
                error = record.error()
                if error is None:
                    values.append(record.value() or b"")
                elif not error.retriable():
                    raise KafkaException(error)
            if values:
                newest.keep(values)
                # Only now is it done: what a crash interrupts is read again.
                consumer.commit(asynchronous=False)
    finally:
        consumer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
