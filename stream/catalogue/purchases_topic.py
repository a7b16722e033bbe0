"""The topic `nextclick-purchases` for commands: what a user has bought is taken back.

Tested by tests/integration/test_purchases.py.
"""

from __future__ import annotations

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient

from model.errors import NextclickError
from stream.catalogue.purchases import RejectedPurchase, decode_purchase, encode_purchase
from stream.kafka.topic_reader import TopicReader
from stream.kafka.topics import partition_counts
from stream.settings import Settings

DEADLINE_S = 30.0


def forget_purchases(settings: Settings, user_id: str) -> int | None:
    """Take back all that a user has bought. Returns of how many items; None where there is no topic.

    Reads the topic whole. Raises NextclickError when it cannot be read or does not take it.
    """
    admin = AdminClient({**settings.kafka_config(), "log_level": 0})
    if not partition_counts(admin, settings).get(settings.purchases_topic):
        return None
    items = _bought_by(settings, user_id)
    producer = Producer(
        {**settings.producer_config(), "message.timeout.ms": int(DEADLINE_S * 1000), "log_level": 0}
    )
    refused: list[KafkaError] = []
    taken = 0

    def delivered(error: KafkaError | None, message: Message) -> None:
        nonlocal taken
        if error is None:
            taken += 1
        else:
            refused.append(error)

    for item_id in items:
        key, _ = encode_purchase(user_id, item_id, None)
        while not refused:
            try:
                producer.produce(settings.purchases_topic, None, key, on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.1)
            except KafkaException as error:
                refused.append(error.args[0])
        producer.poll(0)
    producer.flush(DEADLINE_S + 1)
    if taken < len(items):
        why = refused[0].str() if refused else f"no answer in {DEADLINE_S:.0f} s"
        raise NextclickError(
            f"{settings.purchases_topic} took back {taken} of {len(items)} purchases: {why}",
            "The others are still left out of the user's lists, and are still kept.",
            "Look at the brokers and at this client's rights, then run the command again.",
        )
    return len(items)


def _bought_by(settings: Settings, user_id: str) -> list[str]:
    """The items of the user of which a purchase stands in the topic."""
    found: dict[str, None] = {}
    with TopicReader(settings, settings.purchases_topic) as topic:
        for number, (first, end) in enumerate(topic.bounds()):
            for messages in topic.read(number, first, end) if first < end else ():
                for message in messages:
                    key, value = message.key(), message.value()
                    try:
                        pair, time_ms = decode_purchase(
                            key.encode() if isinstance(key, str) else key,
                            value.encode() if isinstance(value, str) else value,
                        )
                    except RejectedPurchase:
                        # Of no user: workers keep nothing of it.
                        continue
                    if pair.user_id != user_id:
                        continue
                    if time_ms is None:
                        found.pop(pair.item_id, None)
                    else:
                        found[pair.item_id] = None
    return list(found)
