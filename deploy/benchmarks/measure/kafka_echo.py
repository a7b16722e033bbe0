"""The smallest possible worker: for each record it consumes it produces one of the size of a list.

Its time from event to list is the cost of Kafka alone, the floor of the latency benchmark. It batches in
neither direction, does not linger, and waits for all replicas as the worker does for its lists.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from confluent_kafka import Consumer, Producer, TopicPartition

from stream.settings import Settings

POLL_S = 0.1


def main() -> int:
    """Answer every record until SIGTERM; "ready" on stdout once it reads from the end of the topic."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0],
        epilog="example: kafka_echo.py --bootstrap-servers 127.0.0.1:9092 --events-topic events "
        "--recommendations-topic echoes --partitions 4 --list-bytes 700",
    )
    parser.add_argument("--bootstrap-servers", required=True)
    parser.add_argument("--events-topic", required=True)
    parser.add_argument("--recommendations-topic", required=True)
    parser.add_argument("--partitions", type=int, required=True)
    parser.add_argument("--list-bytes", type=int, required=True, help="size of an answer")
    arguments = parser.parse_args()
    settings = Settings(bootstrap_servers=arguments.bootstrap_servers, worker_id="kafka-echo")
    consumer = Consumer(
        {
            **settings.kafka_config(),
            "group.id": arguments.events_topic,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    producer = Producer({**settings.producer_config(), "linger.ms": 0})
    tps = [TopicPartition(arguments.events_topic, number, 0) for number in range(arguments.partitions)]
    for tp in tps:
        tp.offset = consumer.get_watermark_offsets(tp)[1]
    consumer.assign(tps)
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopping.append(number))
    padding = "x" * max(0, arguments.list_bytes - 40)
    print("ready", flush=True)
    while not stopping:
        message = consumer.poll(POLL_S)
        producer.poll(0)
        if message is None or message.error() is not None:
            continue
        value = f'{{"event_id":"{message.partition()}-{message.offset()}","padding":"{padding}"}}'
        producer.produce(arguments.recommendations_topic, value.encode(), message.key())
    producer.flush(POLL_S)
    consumer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
