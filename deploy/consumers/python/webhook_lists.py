"""Posts every session's newest list to an address over HTTP, at least once.

usage: python webhook_lists.py BROKERS TOPIC GROUP URL DEAD_LETTERS.jsonl
needs: pip install confluent-kafka

The body is the JSON of the list's record; the headers Nextclick-Model and Nextclick-Fallback are those of the
record, and Idempotency-Key is its `event_id`, which a list has again when it comes again. Of what waits, only
the newest list of each session is posted, and a session's lists one after the other. An answer of 2xx is a
receipt. After 408, 425, 429, 5xx or no answer the list is posted again, after a wait that doubles, or as long
as Retry-After says; after any other answer, and after ATTEMPTS, it is a dead letter: a line of the file, with
the reason. Offsets are committed when all are received or written there.

A JSON line on standard output says how many were delivered, tried again, and dead, after each batch.
"""

import http.client
import json
import random
import signal
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from confluent_kafka import Consumer, KafkaException

ATTEMPTS = 6
TIMEOUT_S, LONGEST_WAIT_S = 10.0, 15.0  # a batch takes less than max.poll.interval.ms, five minutes
BATCH = 32  # posted at once
TRY_AGAIN = {408, 425, 429}


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: a POST would go on as a GET without its body, and its answer be no receipt."""

    def redirect_request(self, *_: object) -> None:
        """Make no further request; the redirect is the answer."""


OPENER = urllib.request.build_opener(NoRedirect)


class Webhook:
    """Posts lists to `url`; counts those delivered, tried again, and dead."""

    def __init__(self, url: str, dead_letters: Path, first_wait_s: float = 0.5) -> None:
        self._url, self._dead_letters, self._first_wait_s = url, dead_letters, first_wait_s
        self.delivered = self.dead = self.tried_again = 0

    def post_all(self, records: list[tuple[bytes, dict[str, bytes]]]) -> None:
        """Return when each session's newest list is received, or written down as a dead letter."""
        newest: dict[str, tuple[int, bytes, dict[str, str]]] = {}
        letters = []
        for value, headers in records:
            try:
                shown = json.loads(value)
                session_id, event_id = shown["session_id"], shown["event_id"]
                offset = int(event_id.split("-")[1])
            except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
                letters.append((value, f"no list: {error!r}"))
                continue
            if session_id not in newest or newest[session_id][0] < offset:
                sent = {"Content-Type": "application/json", "Idempotency-Key": event_id}
                for name in ("model", "fallback"):
                    if name in headers:
                        sent[f"Nextclick-{name.title()}"] = headers[name].decode()
                newest[session_id] = (offset, value, sent)
        with ThreadPoolExecutor(BATCH) as pool:
            for (_, value, _), (failure, again) in zip(
                newest.values(), pool.map(self._post, newest.values()), strict=True
            ):
                self.tried_again += again
                if failure:
                    letters.append((value, failure))
                else:
                    self.delivered += 1
        self._write_down(letters)

    def counts(self) -> dict[str, int]:
        """Lists delivered, posted again and dead since the start."""
        return {"delivered": self.delivered, "tried_again": self.tried_again, "dead": self.dead}

    def _post(self, shown: tuple[int, bytes, dict[str, str]]) -> tuple[str, int]:
        """Returns why the list is not received, "" if it is, and how often it was posted again."""
        _, value, headers = shown
        failure, wait_s = "", self._first_wait_s
        for attempt in range(ATTEMPTS):
            asked_s = 0.0
            try:
                request = urllib.request.Request(self._url, value, headers, method="POST")
                with OPENER.open(request, timeout=TIMEOUT_S):
                    return "", attempt
            except urllib.error.HTTPError as error:
                with error:
                    failure = f"HTTP {error.code}"
                    if error.code < 500 and error.code not in TRY_AGAIN:
                        return failure, attempt
                    text = error.headers.get("Retry-After", "")
                    asked_s = float(text) if text.isdecimal() else 0.0
            except (OSError, http.client.HTTPException) as error:
                failure = str(error) or repr(error)
            if attempt < ATTEMPTS - 1:
                # Not all at the same moment, when the other side is back.
                time.sleep(min(LONGEST_WAIT_S, max(asked_s, wait_s * random.uniform(0.5, 1))))
                wait_s *= 2
        return f"{failure}, {ATTEMPTS} times", ATTEMPTS - 1

    def _write_down(self, letters: list[tuple[bytes, str]]) -> None:
        if not letters:
            return
        with self._dead_letters.open("a", encoding="utf-8") as file:
            for value, reason in letters:
                file.write(json.dumps({"reason": reason, "list": value.decode("utf-8", "replace")}) + "\n")
        self.dead += len(letters)


def main(brokers: str, topic: str, group: str, url: str, dead_letters: str) -> None:
    """Read until SIGTERM or Ctrl-C."""
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    webhook = Webhook(url, Path(dead_letters))
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
            records = []
            for record in consumer.consume(BATCH, timeout=0.5):
                error = record.error()
                if error is None:
                    records.append((record.value() or b"", dict(record.headers() or [])))
                elif not error.retriable():
                    raise KafkaException(error)
            if records:
                webhook.post_all(records)
                # Only now is it done: what a crash interrupts is read again.
                consumer.commit(asynchronous=False)
                print(json.dumps(webhook.counts()), flush=True)
    finally:
        consumer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
