"""Lines of event files that cannot be read, unchanged, to the dead-letter topic.

Headers: reason, file, line. A log may be read several times in one replay; each line is sent
once. After a crash the lines since the last checkpoint are sent again: file and line identify them.

Tested by tests/unit/replay/sending/test_timeline.py.
"""

from __future__ import annotations

from pathlib import Path

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from model.errors import NextclickError
from stream.settings import Settings

FLUSH_TIMEOUT_S = 60.0
QUEUE_FULL_POLL_S = 0.05


class RejectedLines:
    """Sends lines to the dead-letter topic; `count` is how many lines of the log it has sent."""

    def __init__(self, settings: Settings, *, sent_before: int = 0) -> None:
        self._topic = settings.dlq_topic
        self._producer = Producer({**settings.producer_config(), "linger.ms": 5})
        self._read = 0
        self._error: KafkaError | None = None
        self.count = sent_before

    def restart(self) -> None:
        """Say that the log is read from its start, perhaps once more."""
        self._read = 0

    def send(self, path: Path, line: int, reason: str, text: bytes) -> None:
        """Queue one line, unless it was sent when the log was read before.

        Raises NextclickError after a refused delivery.
        """
        self._read += 1
        if self._read <= self.count:
            return
        headers: list[tuple[str, str | bytes | None]] = [
            ("reason", reason.encode()),
            ("file", str(path).encode()),
            ("line", b"%d" % line),
        ]
        while True:
            try:
                self._producer.produce(self._topic, text, headers=headers, on_delivery=self._delivered)
                break
            except BufferError:
                self._producer.poll(QUEUE_FULL_POLL_S)
            except KafkaException as error:
                self._error = error.args[0]
                break
        self.count += 1
        self._producer.poll(0)
        self._raise_error()

    def flush(self) -> int:
        """Wait until every line sent so far is delivered. Returns how many these are.

        Raises NextclickError when a line is not delivered.
        """
        # Another thread reads the log ahead, and may send more lines meanwhile.
        count = self.count
        left = self._producer.flush(FLUSH_TIMEOUT_S)
        if left and self._error is None:
            self._error = KafkaError(KafkaError._TIMED_OUT)  # noqa: SLF001 - the library's name of it
        self._raise_error()
        return count

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        self._error = self._error or error

    def _raise_error(self) -> None:
        if self._error is not None:
            raise NextclickError(
                f"a line that cannot be read was not delivered to {self._topic}: {self._error.str()}",
                "The replay ends here, so that no line is lost unseen.",
                "Look at the brokers and at the topic, or replay with --on-error skip.",
            )
