"""Faults of brokers and topics: killed, the models topic made anew, offsets set forward by hand."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from deploy.drill.fault import Fault, Step, nothing_heals
from deploy.drill.stage import Stage
from stream.kafka.consumers import offset_bounds, outside_consumer
from stream.kafka.topics import ensure_topics, partition_counts


@contextmanager
def broker_killed(stage: Stage) -> Iterator[Step]:
    """SIGKILL of the only broker; it is started again once the alert has fired."""
    stage.kafka("kill")
    try:
        yield nothing_heals
    finally:
        # What a killed broker has to recover may take longer than one start waits for.
        stage.group.wait(lambda: stage.kafka("start") and stage.kafka("status"), "the broker to answer")


@contextmanager
def models_topic_anew(stage: Stage) -> Iterator[Step]:
    """Delete and make the topic; then a promotion must reach every worker, and say that it has."""
    version = stage.group.train(seed=2, promote=False)
    admin = AdminClient(stage.settings.kafka_config())
    topic = stage.settings.models_topic
    admin.delete_topics([topic])[topic].result(60)
    stage.group.wait(lambda: topic not in partition_counts(admin, stage.settings), "the topic to be gone")
    ensure_topics(stage.settings)
    stage.strike()
    with stage.command("promote", "promote", version) as process:
        yield lambda: process.poll() == 0


@contextmanager
def offsets_forward(stage: Stage) -> Iterator[Step]:
    """With all workers stopped, set the group's offsets to the end of the log; then start them."""
    stage.group.stop()
    settings = stage.settings
    numbers = range(settings.partitions)
    consumer = outside_consumer(settings, settings.group_id, {})
    try:
        first = {n: offset_bounds(consumer, TopicPartition(settings.events_topic, n))[1] for n in numbers}

        def ends() -> list[TopicPartition]:
            places = [TopicPartition(settings.events_topic, n) for n in numbers]
            return [TopicPartition(p.topic, p.partition, offset_bounds(consumer, p)[1]) for p in places]

        stage.group.wait(
            lambda: all(place.offset > first[place.partition] for place in ends()), "events to be skipped"
        )
        stage.group.wait(lambda: _committed(consumer, ends()), "the group to be empty")
    finally:
        consumer.close()
    stage.group.start()
    stage.strike()
    yield nothing_heals


def _committed(consumer: Consumer, places: list[TopicPartition]) -> bool:
    """Commit for a group without members; whether it was taken. While members are left it is refused."""
    try:
        consumer.commit(offsets=places, asynchronous=False)
    except KafkaException as error:
        if error.args[0].code() not in (KafkaError.UNKNOWN_MEMBER_ID, KafkaError.REBALANCE_IN_PROGRESS):
            raise
        time.sleep(1)
        return False
    return True


BROKER_FAULTS = [
    Fault("broker", "broker killed", ("NextclickBrokersUnreachable",), 120, broker_killed, needs_broker=True),
    Fault("models-topic", "models topic made anew, then a promotion", (), 60, models_topic_anew),
    Fault("offsets", "offsets set forward", ("NextclickEventsSkipped",), 120, offsets_forward, loses=True),
]
