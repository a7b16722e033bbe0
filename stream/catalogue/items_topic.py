"""The topic `items` for commands: words that the brokers acknowledge, and the word about one item.

Tested by tests/integration/test_items.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient

from model.errors import NextclickError
from stream.catalogue.item_word import ItemWord, RejectedWord, decode_word, encode_word
from stream.kafka.partitioner import partition_of
from stream.kafka.topic_reader import TopicReader
from stream.kafka.topics import partition_counts
from stream.settings import Settings

DEADLINE_S = 30.0


class WordsProducer:
    """Sends words; `sent` counts those that the brokers have acknowledged."""

    def __init__(self, settings: Settings, deadline_s: float = DEADLINE_S) -> None:
        self._topic, self._deadline_s = settings.items_topic, deadline_s
        self._producer = Producer(
            {**settings.producer_config(), "message.timeout.ms": int(deadline_s * 1000), "log_level": 0}
        )
        self.sent = 0
        self._refused: KafkaError | None = None

    def send(self, item_id: str, word: ItemWord | None) -> None:
        """Send a word, None to take it back; waits while much is under way. Raises NextclickError."""
        value = None if word is None else encode_word(word)
        while True:
            try:
                self._producer.produce(self._topic, value, item_id.encode(), on_delivery=self._delivered)
                break
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                self._refused = error.args[0]
                break
        self._producer.poll(0)
        self._raise_refused()

    def flush(self) -> None:
        """Wait until everything is acknowledged. Raises NextclickError when it is not."""
        left = self._producer.flush(self._deadline_s + 1)
        self._raise_refused()
        if left:
            raise self._error(f"no answer in {self._deadline_s:.0f} s")

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.sent += 1
        else:
            self._refused = self._refused or error

    def _raise_refused(self) -> None:
        if self._refused is not None:
            raise self._error(self._refused.str())

    def _error(self, why: str) -> NextclickError:
        return NextclickError(
            f"{self._topic} did not take what was said of the items: {why}",
            f"{self.sent:,} words were acknowledged before; workers obey these.",
            "Look at the brokers and at this client's rights, then say it again: the newest word counts.",
        )


@contextmanager
def words_producer(settings: Settings) -> Iterator[WordsProducer]:
    """A producer for a topic that is there; leaving the context waits for every acknowledgement.

    Raises NextclickError.
    """
    check_items_topic(settings)
    producer = WordsProducer(settings)
    yield producer
    producer.flush()


def check_items_topic(settings: Settings) -> int:
    """The partitions of the topic. Raises NextclickError when no broker answers or there is none."""
    admin = AdminClient({**settings.kafka_config(), "log_level": 0})
    partitions = partition_counts(admin, settings).get(settings.items_topic)
    if not partitions:
        raise NextclickError(
            f"there is no topic {settings.items_topic} at {settings.bootstrap_servers}",
            "No worker would hear what is said of the items. Nothing was written.",
            "Make it with `nextclick topics create`, or name the right brokers; a worker that started "
            "without it hears of the items after a restart.",
        )
    return partitions


def send_words(settings: Settings, words: Iterable[tuple[str, ItemWord | None]]) -> int:
    """Send words and wait until all are acknowledged. Returns how many. Raises NextclickError."""
    with words_producer(settings) as producer:
        for item_id, word in words:
            producer.send(item_id, word)
    return producer.sent


def word_about(settings: Settings, item_id: str) -> ItemWord | None:
    """The newest good word about an item, with all its fields; None without one. Raises NextclickError.

    Reads the partition of the item from its beginning.
    """
    partitions = check_items_topic(settings)
    found: ItemWord | None = None
    number, key = partition_of(item_id, partitions), item_id.encode()
    with TopicReader(settings, settings.items_topic) as topic:
        first, end = topic.bounds()[number]
        for messages in topic.read(number, first, end):
            for message in messages:
                if message.key() != key:
                    continue
                value = message.value()
                try:
                    _, found = decode_word(key, value.encode() if isinstance(value, str) else value)
                except RejectedWord:
                    # Workers stay with the last good word, too.
                    continue
    return found
