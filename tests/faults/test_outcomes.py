"""Lists joined with what followed: each list has one outcome, whenever the recorder is killed."""

import os
import signal
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event as Flag

import pyarrow.parquet as pq
import pytest
from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import AdminClient

from model.errors import NextclickError
from stream.event_decoder import OWN_EVENTS
from stream.event_log.retention import REMOVAL_MS, retentions
from stream.events import Event, encode_event, encode_recommendation
from stream.failpoints import OUTCOMES_POINTS, VARIABLE
from stream.kafka.group_members import GroupMember, group_members
from stream.kafka.topic_reader import TopicReader
from stream.kafka.topics import ensure_topics, outcomes_plan
from stream.outcomes.metrics import OutcomeMetrics
from stream.outcomes.outcome import Outcome, decode_outcome
from stream.outcomes.outcome_files import OutcomeFiles
from stream.outcomes.outcome_recorder import OutcomeRecorder
from stream.outcomes.outcomes_reader import compared, of_sessions
from stream.settings import Settings
from tests.faults.test_ingest import committed
from tests.harness.fork_server import ForkedProcess, popen
from tests.harness.serving import MakeSettings

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

START = 1_700_000_000_000
WITHIN_S = 600.0
SESSIONS = 24
ROUNDS = 150


def send(settings: Settings) -> Counter[str]:
    """Send events, a minute apart in each session, and a list after each; returns the lists by session.

    Every list has what the session views next at its second place, and is published again now and then, as
    by a worker after a crash. At last each session has one event without a list, hours later.
    """
    offsets: dict[tuple[str, int], str] = {}
    producer = Producer(settings.producer_config())

    def deliver(session: str, number: int) -> None:
        def sent(error: KafkaError | None, message: Message) -> None:
            assert error is None, error
            offsets[session, number] = f"{message.partition()}-{message.offset()}"

        at_ms = START + number * 60_000 + (18_000_000 if number == ROUNDS else 0)
        event = Event(session, at_ms, f"i{number}", "purchase" if number % 5 == 0 else "view", price=2.0)
        producer.produce(settings.events_topic, encode_event(event), session.encode(), on_delivery=sent)

    for number in range(ROUNDS + 1):
        for one in range(SESSIONS):
            deliver(f"s{one}", number)
        producer.poll(0)
    assert producer.flush(120) == 0
    lists: Counter[str] = Counter()
    # Another program's, of an event that no log has.
    value = encode_recommendation("s0", "0-999999999", START, "v1", ["x"], [1.0])
    producer.produce(settings.recommendations_topic, value, b"s0")
    for number in range(ROUNDS):
        for one in range(SESSIONS):
            session = f"s{one}"
            value = encode_recommendation(
                session,
                offsets[session, number],
                START + number * 60_000,
                "v1",
                ["x", f"i{number + 1}"],
                [2, 1],
            )
            for _ in range(1 + (number % 7 == one % 7)):
                producer.produce(
                    settings.recommendations_topic,
                    value,
                    session.encode(),
                    headers=[
                        ("position", b"%d" % (number + 1)),
                        ("experiment", b"e1"),
                        ("side", b"champion"),
                    ],
                )
                lists[session] += 1
        producer.poll(0)
    assert producer.flush(120) == 0
    return lists


def start(settings: Settings, folder: Path, fault: str = "", *more: str) -> ForkedProcess:
    arguments = [sys.executable, "-m", "nextclick", "outcomes", "--within-s", str(WITHIN_S), *more]
    environment = {**os.environ, **settings.environment(), **({VARIABLE: fault} if fault else {})}
    with (folder / "outcomes.log").open("ab") as log:
        return popen(arguments, env=environment, stdout=log, stderr=log)


def outcomes_of(settings: Settings) -> list[Outcome]:
    messages = committed(settings, settings.outcomes_topic, settings.partitions)
    found = [decode_outcome(message.value()) for message in messages]
    for message, one in zip(messages, found, strict=True):
        assert message.key() == one.session_id.encode()
    return found


def publish_again(settings: Settings, outcomes: list[Outcome]) -> None:
    """Publish the lists of these outcomes again, as a worker does after a crash."""
    producer = Producer(settings.producer_config())
    for one in outcomes:
        value = encode_recommendation(
            one.session_id, one.event_id, one.event_time_ms, one.model_version, one.items, [2, 1]
        )
        producer.produce(settings.recommendations_topic, value, one.session_id.encode())
    assert producer.flush(120) == 0


def assert_each_once(found: list[Outcome]) -> None:
    """Every list has one outcome, with the event that followed at its second place."""
    assert len({one.event_id for one in found}) == len(found) == SESSIONS * ROUNDS
    for one in found:
        number = one.position - 1
        assert one.event_time_ms == START + number * 60_000
        # After the last round, hours pass.
        assert one.next_place == (2 if number < ROUNDS - 1 else None)
        taken = [(taken.item_id, taken.kind, taken.place, taken.after_ms) for taken in one.taken]
        kind = "purchase" if (number + 1) % 5 == 0 else "view"
        assert taken == ([(f"i{number + 1}", kind, 2, 60_000)] if number < ROUNDS - 1 else [])
        assert (one.experiment, one.side, one.within_ms) == ("e1", "champion", 600_000)


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    made = make_settings()
    # A name of its own beside those of the other tests.
    made = made.model_copy(
        update={"outcomes_topic": f"{made.events_topic}-outcomes", "outcomes_within_s": WITHIN_S}
    )
    made.model_fields_set.update(("outcomes_topic", "outcomes_within_s"))
    ensure_topics(made, more=[outcomes_plan(made)])
    return made


def test_a_kill_at_each_point_loses_no_list_and_doubles_none(settings: Settings, tmp_path: Path) -> None:
    send(settings)
    log = tmp_path / "outcomes.log"
    for point in OUTCOMES_POINTS:
        process = start(settings, tmp_path, f"{point}:1")
        assert process.wait(timeout=240) == -signal.SIGKILL, log.read_text()[-2000:]
    # Only transactions that hold outcomes count for a kill, and the last one was after its commit.
    found = outcomes_of(settings)
    assert 0 < len(found) <= SESSIONS * ROUNDS
    publish_again(settings, [*found[:5], *found[-20:]])
    process = start(settings, tmp_path, "", "--until-end")
    assert process.wait(timeout=240) == 0, log.read_text()[-2000:]
    assert_each_once(outcomes_of(settings))


def test_the_account_of_lists_is_whole_and_a_second_run_adds_nothing(
    settings: Settings, tmp_path: Path
) -> None:
    lists = send(settings)
    report = OutcomeRecorder(settings, OWN_EVENTS).run(Flag(), until_end=True)
    assert report.lists == lists.total() + 1
    assert report.left_out == {"repeated": lists.total() - SESSIONS * ROUNDS, "no_event": 1}
    assert (report.outcomes, report.difference, report.lag) == (SESSIONS * ROUNDS, 0, 0)
    assert report.late_events == report.closed_early == report.lost.total() == 0
    series = {metric.name: metric for metric in OutcomeMetrics(report, ("events", "lists")).collect()}
    assert series["nextclick_outcomes_records"].samples[0].value == report.outcomes
    left_out = {
        one.labels["reason"]: one.value for one in series["nextclick_outcomes_left_out_lists"].samples
    }
    assert left_out["repeated"] == report.left_out["repeated"]
    assert left_out["late"] == 0
    comparison = compared(settings, "e1")
    assert comparison is not None
    assert comparison.sessions == {"champion": SESSIONS, "challenger": 0}
    # Of each session's events after the first, every fifth is a purchase of 2.
    assert comparison.sums("hits").sum() == SESSIONS * (ROUNDS - 1)
    assert comparison.sums("revenue").sum() == 2 * SESSIONS * ((ROUNDS - 1) // 5)
    again = OutcomeRecorder(settings, OWN_EVENTS).run(Flag(), until_end=True)
    assert (again.lists, again.outcomes, again.left_out) == (0, 0, Counter())
    assert_each_once(outcomes_of(settings))
    with TopicReader(settings, settings.outcomes_topic) as topic:
        kept = of_sessions(topic, {"s0", "s1"})
    assert (kept.lists, kept.sessions) == (2 * ROUNDS, {"s0", "s1"})
    admin = AdminClient({**settings.kafka_config(), "log_level": 0})
    found = retentions(admin, [settings.outcomes_topic, "not-there"])
    assert found.keys() == {settings.outcomes_topic}
    # Ninety days, as the topic was made, and a segment's seven, from the moment when it was written.
    until_ms = found[settings.outcomes_topic].until_ms(kept.newest_ms)
    assert until_ms == kept.newest_ms + 97 * 86_400_000 + REMOVAL_MS
    files = OutcomeFiles(tmp_path / "exported")
    assert files.export(settings) == (SESSIONS * ROUNDS, 0, 0)
    assert files.export(settings) == (0, 0, 0)
    exported = Counter(pq.read_table(tmp_path / "exported", columns=["event_id"])["event_id"].to_pylist())
    assert exported == Counter(one.event_id for one in outcomes_of(settings))
    assert sum(files.remove({"s0", "s1"}).values()) == 2 * ROUNDS
    with pytest.raises(NextclickError, match="has outcomes of another topic"):
        files.export(settings.model_copy(update={"outcomes_topic": settings.recommendations_topic}))


def recorders_of(settings: Settings) -> list[GroupMember]:
    """The recorders that have partitions, one each once the group has come to rest."""
    group = settings.model_copy(update={"group_id": f"{settings.group_id}-outcomes"})
    members = group_members(AdminClient({**settings.kafka_config(), "log_level": 0}), group)
    return [member for member in members if len(member.partitions) == 1]


def test_a_recorder_more_than_there_are_partitions_ends_and_the_others_go_on(settings: Settings) -> None:
    send(settings)
    stopping = Flag()
    names = "abcdefgh"[: settings.partitions] + "z"
    recorders = [
        OutcomeRecorder(settings.model_copy(update={"worker_id": f"{name}-{settings.worker_id}"}), OWN_EVENTS)
        for name in names
    ]
    with ThreadPoolExecutor(settings.partitions) as threads:
        running = [threads.submit(one.run, stopping) for one in recorders[:-1]]
        try:
            holders, wanted = recorders_of(settings), set(range(settings.partitions))
            while {number for one in holders for number in one.partitions[:1]} != wanted:
                assert not any(one.done() for one in running)
                time.sleep(0.1)
                holders = recorders_of(settings)
            # By the order of the names the last one has no partition.
            assert recorders[-1].run(Flag(), until_end=True).events == 0
            deadline_s = time.monotonic() + 240
            while sum(one.report.outcomes for one in recorders[:-1]) < SESSIONS * ROUNDS:
                assert time.monotonic() < deadline_s and not any(one.done() for one in running)
                time.sleep(0.1)
        finally:
            stopping.set()
        for one in running:
            one.result(120)
    assert_each_once(outcomes_of(settings))
