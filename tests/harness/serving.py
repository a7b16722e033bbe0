"""A worker under test: started, awaited, and its lists held against the offline ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from confluent_kafka import Consumer, Message, TopicPartition

from model.errors import NextclickError
from model.networks.model_version import ModelVersion
from model.stepping.stepper import Stepper
from replay.end_to_end.worker_process import WorkerProcess
from replay.sending.producer import LagLimit
from stream.events import Event, Recommendation, RejectedEvent, decode_event
from stream.kafka.lists_reader import Received, recommendations
from stream.settings import Settings
from tests.harness.offline_lists import event_lists

MakeSettings = Callable[..., Settings]


@contextmanager
def worker(settings: Settings, tmp_path: Path) -> Iterator[WorkerProcess]:
    """A worker that is ready; its log is named after it, and is killed in the end."""
    process = WorkerProcess(settings, tmp_path / f"{settings.worker_id}.log")
    try:
        process.wait_ready()
        yield process
    finally:
        process.kill()


def run_to_the_end(settings: Settings, tmp_path: Path) -> dict[str, Any]:
    """Serve until everything is committed, and stop; → the last status, whose accounting holds."""
    with worker(settings, tmp_path) as process:
        process.wait_until(all_committed(settings), "the rest")
        return stop(process)


def supervise(settings: Settings, tmp_path: Path, timeout_s: float = 240) -> dict[str, Any]:
    """Start the worker again whenever it ends by itself, until everything is committed; then stop it."""
    deadline = time.monotonic() + timeout_s
    while True:
        with worker(settings, tmp_path) as process:
            done = all_committed(settings)
            while process.process.poll() is None and time.monotonic() < deadline:
                if done({}):
                    return stop(process)
                time.sleep(0.1)
            assert process.process.returncode == 1, process.log()


def stop(process: WorkerProcess) -> dict[str, Any]:
    """End a worker in peace; → its last status, whose accounting holds."""
    status = process.status()
    assert process.stop() == 0, process.log()
    assert status is not None
    assert status["accounting"]["holds"]
    return status


def served(count: int) -> Callable[[dict[str, Any]], bool]:
    """Whether the worker, which has started anew maybe, has nothing left and has read `count` records."""
    return lambda s: s["accounting"]["read"] >= count and not s["accounting"]["in_flight"]


def some_lists(count: int) -> Callable[[dict[str, Any]], bool]:
    return lambda s: s["lists"] >= count


def all_committed(settings: Settings) -> Callable[[dict[str, Any]], bool]:
    """Whether the group has committed every record of the events topic."""

    def condition(_: dict[str, Any]) -> bool:
        group = LagLimit(settings, 0)
        try:
            return group.lag() == 0
        except NextclickError:
            # The brokers are away for long: how long one waits is the caller's.
            return False
        finally:
            group.close()

    return condition


def all_lists(settings: Settings) -> list[Received]:
    return list(recommendations(settings, from_start=True, idle_s=1.5))


def by_event(lists: list[Received]) -> dict[str, Recommendation]:
    """The list of each event id; lists that stand twice must be equal byte for byte."""
    found: dict[str, Recommendation] = {}
    for received in lists:
        shown = received.recommendation
        before = found.setdefault(shown.event_id, shown)
        assert msgspec.json.encode(before) == msgspec.json.encode(shown), shown.event_id
    return found


def read_event(message: Message) -> Event | None:
    """The event of a record, None where it is to be rejected."""
    try:
        return decode_event(message.value(), message.key())
    except RejectedEvent:
        return None


def events_by_id(settings: Settings) -> dict[str, Event]:
    """The events topic as it is, without what is to be rejected: event id → event."""
    consumer = Consumer({**settings.kafka_config(), "group.id": "reader", "enable.auto.commit": False})
    found: dict[str, Event | None] = {}
    for number in range(settings.partitions):
        _, high = consumer.get_watermark_offsets(TopicPartition(settings.events_topic, number), timeout=60)
        consumer.assign([TopicPartition(settings.events_topic, number, 0)])
        while high and f"{number}-{high - 1}" not in found:
            for message in consumer.consume(1000, timeout=1.0):
                found[f"{number}-{message.offset()}"] = read_event(message)
    consumer.close()
    return {event_id: event for event_id, event in found.items() if event is not None}


def assert_equal_to_offline(
    settings: Settings, model: ModelVersion, frame: pd.DataFrame, without: Collection[str] = ()
) -> None:
    """Every event has a list, equal to the offline one: ids and scores; but those `without`."""
    stepper = Stepper(
        model, device="cpu", wave_size=settings.wave_size, deterministic=True, scoring=settings.scoring
    )
    offline = event_lists(model, frame, stepper=stepper)
    expected: dict[tuple[str, int, str], list[int]] = {}
    columns = (frame["session_id"], frame["event_time_ms"], frame["item_id"])
    for row, key in enumerate(zip(*columns, strict=True)):
        expected.setdefault(key, []).append(row)
    lists = {i: shown for i, shown in by_event(all_lists(settings)).items() if i not in without}
    # Of a future time are those that the worker rejects by the wall.
    latest_ms = int(1000 * (time.time() + settings.max_future_s))
    all_events = events_by_id(settings)
    events = {
        i: event
        for i, event in all_events.items()
        if i not in without and settings.min_event_time_ms <= event.event_time_ms <= latest_ms
    }
    assert sorted(events.keys() - lists.keys())[:5] == []
    assert lists.keys() <= events.keys()
    for event_id in sorted(events, key=lambda name: int(name.split("-")[1])):
        event = events[event_id]
        row = expected[(event.session_id, event.event_time_ms, event.item_id)].pop(0)
        items = [item for item in offline.items[row] if item is not None]
        assert lists[event_id].items == items, event_id
        np.testing.assert_array_equal(
            np.array(lists[event_id].scores, np.float32), offline.scores[row][: len(items)]
        )
    left_out = [all_events[i] for i in without]
    assert sum(map(len, expected.values())) == sum(
        (event.session_id, event.event_time_ms, event.item_id) in expected for event in left_out
    )


def with_unknown_items(frame: pd.DataFrame) -> pd.DataFrame:
    """A log some of whose items the model never saw."""
    frame = frame.copy()
    frame.loc[frame.index % 17 == 3, "item_id"] = "never-seen"
    return frame


def with_features(frame: pd.DataFrame) -> pd.DataFrame:
    """A log whose events have a user, a brand, a category, a price and a title, some of them missing."""
    frame, rng = frame.copy(), np.random.default_rng(11)
    number = frame["item_id"].str[1:].astype(int)
    frame["user_id"] = "u" + (pd.factorize(frame["session_id"])[0] % 50).astype(str).astype(object)
    frame["brand"] = "brand" + (number % 7).astype(str)
    frame["category"] = "category" + (number % 4).astype(str)
    frame["price"] = number * 3.5 + rng.uniform(0, 1, len(frame))
    frame["title"] = ("thing " + number.astype(str)).where(number % 20 > 0, None)
    for name, share in (("user_id", 0.1), ("brand", 0.3), ("category", 0.2), ("price", 0.2)):
        frame.loc[rng.random(len(frame)) < share, name] = None
    return frame


def with_unknown_users(frame: pd.DataFrame) -> pd.DataFrame:
    """A log some of whose users the model never saw."""
    return frame.assign(user_id=frame["user_id"].replace({f"u{n}": f"new-{n}" for n in range(0, 50, 9)}))
