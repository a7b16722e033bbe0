"""Reads the records of any topic between offsets, partition by partition, in order, without a group.

Knows records as Kafka gives them; decodes nothing and commits nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import TracebackType

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from model.errors import NextclickError
from stream.kafka.connection import ANSWER_TIMEOUT_S
from stream.kafka.consumers import log_offsets
from stream.kafka.retries import PASSING, PATIENCE_S
from stream.settings import Settings

BATCH_RECORDS = 10_000


class TopicReader:
    """One topic as it is now; a context that holds the connection."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self.topic = topic
        self._address = settings.bootstrap_servers
        self._consumer = Consumer(
            {
                **settings.kafka_config(),
                # Never joined and never committed to; librdkafka wants a name.
                "group.id": f"{settings.group_id}-read",
                # What goes wrong is raised.
                "log_level": 0,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                "queued.min.messages": 50_000,
                "queued.max.messages.kbytes": 32_768,
            }
        )

    def __enter__(self) -> TopicReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close()

    def bounds(self) -> list[tuple[int, int]]:
        """By partition: the log's first offset and the one behind its last.

        Raises NextclickError without a broker or a topic.
        """
        try:
            found = self._consumer.list_topics(self.topic, timeout=ANSWER_TIMEOUT_S).topics[self.topic]
        except KafkaException as error:
            raise NextclickError(
                f"no Kafka broker answered at {self._address}: {error.args[0].str()}",
                "No record was read.",
                "Start Kafka (`deploy/kafka.sh start`) or name its address: "
                "--bootstrap-servers or NEXTCLICK_BOOTSTRAP_SERVERS.",
            ) from None
        if found.error is not None:
            raise NextclickError(
                f"the topic {self.topic} cannot be read: {found.error.str()}",
                "No record was read.",
                "Check its name, and that this is the broker that has it.",
            )
        return [
            log_offsets(self._consumer, TopicPartition(self.topic, number))
            for number in range(len(found.partitions))
        ]

    def read(self, partition: int, first: int, end: int) -> Iterator[list[Message]]:
        """The records with first <= offset < end, in batches; both lie within the log.

        Raises NextclickError when they cannot be read, or nothing comes for two minutes.
        """
        if first >= end:
            return
        self._consumer.assign([TopicPartition(self.topic, partition, first)])
        latest_s, position = time.monotonic(), first
        while position < end:
            # No more than there is to come: librdkafka waits for a batch to fill.
            batch = self._consumer.consume(min(BATCH_RECORDS, end - position), timeout=0.5)
            taken: list[Message] = []
            ended = False
            for message in batch:
                error = message.error()
                if error is None:
                    taken.append(message)
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                    # Offsets behind the last record may hold none.
                    ended = (message.offset() or 0) >= end
                elif error.fatal() or error.code() not in PASSING:
                    raise self._unread(partition, position, error.str())
            if taken:
                latest_s, position = time.monotonic(), (taken[-1].offset() or 0) + 1
                yield [message for message in taken if (message.offset() or 0) < end]
            if ended:
                break
            if time.monotonic() - latest_s > PATIENCE_S:
                raise self._unread(partition, position, f"nothing came for {PATIENCE_S:.0f} s")
        self._consumer.unassign()

    def _unread(self, partition: int, offset: int, why: str) -> NextclickError:
        return NextclickError(
            f"{self.topic}, partition {partition} could not be read from offset {offset} on: {why}",
            "What stands there is not known.",
            "Look at the brokers, then try again.",
        )
