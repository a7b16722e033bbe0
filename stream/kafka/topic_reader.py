"""Reads any topic between offsets, partition by partition, in order, without a group.

Returns the records as Kafka has them; decodes nothing and commits nothing.

Tested by tests/integration/test_certificate.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType

from confluent_kafka import KafkaException, Message, TopicPartition

from model.errors import NextclickError
from stream.kafka.connection import ANSWER_TIMEOUT_S
from stream.kafka.consumers import groupless_consumer, offset_bounds
from stream.kafka.partition_reader import PartitionReader, Ranges
from stream.settings import Settings


class TopicReader:
    """One topic as it is now; a context that holds the connection."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self.topic = topic
        self._address = settings.bootstrap_servers
        self._consumer = groupless_consumer(
            settings,
            "read",
            {
                # What goes wrong is raised.
                "log_level": 0,
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                "queued.min.messages": 50_000,
                "queued.max.messages.kbytes": 32_768,
            },
        )

    def __enter__(self) -> TopicReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close()

    def bounds(self) -> list[tuple[int, int]]:
        """By partition: the log's first offset and the one after its last.

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
            offset_bounds(self._consumer, TopicPartition(self.topic, number))
            for number in range(len(found.partitions))
        ]

    def read(self, partition: int, first: int, end: int) -> Iterator[list[Message]]:
        """The records with first <= offset < end, in batches; both lie within the log.

        Raises NextclickError when they cannot be read, or nothing comes for two minutes.
        """
        reader = PartitionReader(self._consumer, self.topic, self._unread)
        return reader.read({partition: (first, end)})

    def _unread(self, why: str, left: Ranges) -> NextclickError:
        ((partition, (offset, _)),) = left.items()
        return NextclickError(
            f"{self.topic}, partition {partition} could not be read from offset {offset} on: {why}",
            "What stands there is not known.",
            "Look at the brokers, then try again.",
        )
