"""When to run again: by a period or a cron expression, by the wall clock's time or the log's.

The log's time is the event time that every partition has reached, so that a fast replay
of days retrains as often as those days did. Ticks are whole multiples of the period, UTC. Ticks
that passed during a run are made up for by one run.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Protocol

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]
from croniter import CroniterBadDateError, croniter

from model.errors import NextclickError
from stream.event_decoder import OWN_EVENTS, EventDecoder
from stream.event_log.kafka_reader import KafkaEvents
from stream.event_log.window import read_window
from stream.kafka.connection import ANSWER_TIMEOUT_S, RESULT_TIMEOUT_S
from stream.kafka.topics import partition_counts
from stream.settings import Settings

UNITS_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
POLL_S = 0.5
LONGEST_WAIT_S = 60.0


class Schedule(Protocol):
    """The times of the runs, in epoch milliseconds."""

    def next_after(self, time_ms: int) -> int:
        """The first time of the schedule after `time_ms`."""

    def newest_until(self, time_ms: int) -> int:
        """The last time of the schedule that is not after `time_ms`."""


class Every:
    """Multiples of a period: "30s", "15m", "6h", "1d". Raises NextclickError on anything else.

    >>> Every("15m").next_after(1_000_000)
    1800000
    """

    def __init__(self, text: str) -> None:
        parts = re.fullmatch(r"(\d+)([smhd])", text.strip())
        self._period_ms = int(parts[1]) * UNITS_MS[parts[2]] if parts else 0
        if not self._period_ms:
            raise NextclickError(
                f"{text!r} is no period", "Nothing was started.", "Write it as 30s, 15m, 6h or 1d."
            )

    def next_after(self, time_ms: int) -> int:
        """The first time of the schedule after `time_ms`."""
        return (time_ms // self._period_ms + 1) * self._period_ms

    def newest_until(self, time_ms: int) -> int:
        """The last time of the schedule that is not after `time_ms`."""
        return time_ms // self._period_ms * self._period_ms


class Cron:
    """The times of a cron expression of five fields, UTC. Raises NextclickError on anything else.

    >>> Cron("0 * * * *").next_after(1_000_000)
    3600000
    """

    def __init__(self, expression: str) -> None:
        self._expression = expression
        try:
            if len(expression.split()) != 5 or not croniter.is_valid(expression):
                raise ValueError("not minute, hour, day of month, month, day of week")
            self.next_after(int(time.time() * 1000))
        except (ValueError, CroniterBadDateError) as error:
            raise NextclickError(
                f"{expression!r} is no cron expression that ever comes due: {error}",
                "Nothing was started.",
                "Write it as minute, hour, day of month, month and day of week, such as '0 */6 * * *'.",
            ) from None

    def next_after(self, time_ms: int) -> int:
        """The first time of the schedule after `time_ms`."""
        return int(croniter(self._expression, _utc(time_ms)).get_next(float) * 1000)

    def newest_until(self, time_ms: int) -> int:
        """The last time of the schedule that is not after `time_ms`."""
        # croniter's previous time is strictly before its argument; the times are whole minutes.
        return int(croniter(self._expression, _utc(time_ms + 1)).get_prev(float) * 1000)


def _utc(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)


class Clock(Protocol):
    """The time by which a schedule runs."""

    def now_ms(self) -> int | None:
        """Epoch milliseconds; None before it has a time."""

    def begin_ms(self) -> int | None:
        """The time after which the schedule begins; None before it has a time."""


class WallClock:
    """This machine's clock."""

    def now_ms(self) -> int:
        """Epoch milliseconds."""
        return int(time.time() * 1000)

    def begin_ms(self) -> int:
        """Now: the schedule begins with the next time."""
        return self.now_ms()


class LogClock:
    """The event time of the `events` topic: the time that all its partitions have reached.

    Reads the message timestamps, which are the event times if the producer sets them, as the replay
    does. Ignores partitions without records, and times further ahead of the wall clock than
    `max_future_s`, whose events the worker rejects too.
    """

    def __init__(self, settings: Settings, decoder: EventDecoder = OWN_EVENTS) -> None:
        self._settings = settings
        self._decoder = decoder
        self._admin = AdminClient({**settings.kafka_config(), "log_level": 0})

    def begin_ms(self) -> int | None:
        """The time of the first events: those in the log are due. Raises NextclickError without an answer."""
        with closing(KafkaEvents(self._settings, self._decoder)) as source:
            bounds = source.bounds()
        first = {number: (low, min(low + 1, end)) for number, (low, end) in bounds.items()}
        times_ms = read_window(self._settings, offsets=first, decoder=self._decoder).frame["event_time_ms"]
        return int(times_ms.min()) if len(times_ms) else None

    def now_ms(self) -> int | None:
        """Epoch milliseconds; None while the topic is empty. Raises NextclickError without an answer."""
        topic = self._settings.events_topic
        count = partition_counts(self._admin, self._settings).get(topic, 0)
        asked = {TopicPartition(topic, number): OffsetSpec.max_timestamp() for number in range(count)}  # type: ignore[no-untyped-call]
        if not asked:
            return None
        answers = self._admin.list_offsets(asked, request_timeout=ANSWER_TIMEOUT_S)
        try:
            newest = [answer.result(timeout=RESULT_TIMEOUT_S).timestamp for answer in answers.values()]
        except KafkaException as error:
            raise NextclickError(
                f"the newest event of {topic} is not known: {error.args[0].str()}",
                "The schedule cannot tell what time it is.",
                "Look at the brokers.",
            ) from None
        latest_ms = int((time.time() + self._settings.max_future_s) * 1000)
        # An empty partition has the time -1.
        reached = [time_ms for time_ms in newest if 0 <= time_ms <= latest_ms]
        return min(reached, default=None)


def ticks(
    schedule: Schedule,
    clock: Clock,
    *,
    since_ms: int | None = None,
    sleep: Callable[[float], None] = time.sleep,
    notify: Callable[[str], None] = lambda text: None,
) -> Iterator[int]:
    """Each time of the schedule once the clock has reached it; of several that have passed, the newest.

    The first is the one after `since_ms`, else after the clock's begin. `notify` gets a
    text when the clock does not answer; it is asked again.
    """

    def answer(question: Callable[[], int | None]) -> int:
        while True:
            try:
                time_ms = question()
                if time_ms is not None:
                    return time_ms
            except NextclickError as error:
                notify(f"{error.what}; asked again")
            sleep(POLL_S)

    tick = schedule.next_after(answer(clock.begin_ms) if since_ms is None else since_ms)
    while True:
        while (now := answer(clock.now_ms)) < tick:
            ahead_s = (tick - now) / 1000
            # The wall clock runs at its own speed; the log's time may run at any.
            sleep(min(ahead_s, LONGEST_WAIT_S) if isinstance(clock, WallClock) else POLL_S)
        tick = max(tick, schedule.newest_until(now))
        yield tick
        tick = schedule.next_after(tick)
