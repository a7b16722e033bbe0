"""Checks of the brokers, the topics and the group. They change nothing.

Tested by tests/integration/test_doctor.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from confluent_kafka import ConsumerGroupState, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    OffsetSpec,
    ResourceType,
)

from model.errors import NextclickError
from stream.doctor.check_result import CheckResult, Verdict, failed
from stream.kafka.connection import ANSWER_TIMEOUT_S, RESULT_TIMEOUT_S
from stream.kafka.consumers import outside_consumer
from stream.kafka.retries import RETRY_INTERVAL_S, is_transient
from stream.kafka.topic_check import MIN_MESSAGE_BYTES, differences, is_refused
from stream.kafka.topic_id import UNKNOWN, ask_topic_id, is_other_topic
from stream.sessions.offsets import decode_metadata
from stream.settings import Settings

REACH_TIMEOUT_S = 10.0
# The brokers write it with their own clock: their only timestamps that can be read without writing.
COMMITS_TOPIC = "__consumer_offsets"
EARLIEST: Any = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
LATEST: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]
NEWEST: Any = OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call]
SKEW_WARN_S, SKEW_FAIL_S = 2.0, 60.0


class BrokerChecks:
    """Checks the brokers that the settings name.

    `newest_event_ms` is the newest event time in `events`, `topic_id` its id, once `run` has read them.
    """

    def __init__(self, settings: Settings, now_s: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._now_s = now_s
        self._errors: list[KafkaError] = []
        config: dict[str, Any] = {**settings.kafka_config(), "log_level": 0, "error_cb": self._errors.append}
        self._admin = AdminClient(config)
        self.newest_event_ms: int | None = None
        self.topic_id = UNKNOWN

    def run(self) -> Iterator[CheckResult]:
        """The results, one by one; without a broker only that none answers."""
        reached, cluster = self._reach()
        yield from reached
        if cluster is None:
            yield CheckResult("topics, group, clock", "SKIP", "no broker answered")
            return
        yield self._brokers(cluster)
        checks = (self._topics, self._message_size, self._group, self._lag, self._events, self._clock)
        for check in checks:
            name = check.__name__.strip("_").replace("_", " ")
            try:
                yield from check(cluster)
            except KafkaException as error:
                problem: KafkaError = error.args[0]
                if is_refused(problem):
                    remedy = "give this client the right to describe it (an ACL), or ignore this row"
                    yield CheckResult(name, "SKIP", f"not allowed: {problem.str()}", remedy)
                else:
                    yield CheckResult(name, "FAIL", problem.str(), "look at the brokers")
            except NextclickError as error:
                yield failed(name, error)

    def _reach(self) -> tuple[list[CheckResult], Any]:
        address = self._settings.bootstrap_servers
        try:
            cluster = self._admin.list_topics(timeout=REACH_TIMEOUT_S)
        except KafkaException as error:
            self._admin.poll(0)
            refused = [problem for problem in self._errors if is_refused(problem)]
            if refused:
                remedy = "name the right security_protocol, user, password and certificates"
                return [
                    CheckResult("broker", "PASS", f"{address} answers"),
                    CheckResult("authentication", "FAIL", refused[-1].str(), remedy),
                ], None
            remedy = "start Kafka, or name it: --bootstrap-servers, NEXTCLICK_BOOTSTRAP_SERVERS"
            found = f"{address} does not answer in {REACH_TIMEOUT_S:.0f} s: {error.args[0].str()}"
            return [CheckResult("broker", "FAIL", found, remedy)], None
        protocol = self._settings.kafka_config().get("security.protocol", "PLAINTEXT")
        mechanism = self._settings.kafka_config().get("sasl.mechanism") or "no user"
        return [
            CheckResult("broker", "PASS", f"{address} answers, {len(cluster.brokers)} in the cluster"),
            CheckResult("authentication", "PASS", f"{protocol}, {mechanism}"),
        ], cluster

    def _brokers(self, cluster: Any) -> CheckResult:
        wanted = self._settings.replication_factor
        if len(cluster.brokers) < wanted:
            found = f"{len(cluster.brokers)} brokers for a replication_factor of {wanted}"
            return CheckResult("replication", "FAIL", found, "start the other brokers, or lower the factor")
        if wanted == 1:
            remedy = "in production 3: NEXTCLICK_REPLICATION_FACTOR, and min.insync.replicas=2"
            return CheckResult(
                "replication", "WARN", "one copy of every record: its disk is all there is", remedy
            )
        return CheckResult("replication", "PASS", f"{wanted} copies, {len(cluster.brokers)} brokers")

    def _topics(self, cluster: Any) -> Iterator[CheckResult]:
        found = differences(self._admin, self._settings)
        for row in found:
            text = f"{row.topic}: {row.setting} is {row.has}, not {row.wanted}"
            yield CheckResult("topics", "FAIL" if row.stops else "WARN", text, row.remedy)
        if not found:
            yield CheckResult("topics", "PASS", "all as they have to be; events are kept forever")
        counts = {
            name: len(cluster.topics[name].partitions)
            for name in (self._settings.events_topic, self._settings.recommendations_topic)
            if name in cluster.topics
        }
        if len(counts) == 2:
            alike = len(set(counts.values())) == 1
            text = ", ".join(f"{name} {count}" for name, count in counts.items())
            remedy = "" if alike else "make one of them anew: a session's events and lists share a number"
            yield CheckResult("co-partitioning", "PASS" if alike else "FAIL", f"partitions: {text}", remedy)

    def _message_size(self, cluster: Any) -> Iterator[CheckResult]:
        broker = str(next(iter(cluster.brokers)))
        resource = ConfigResource(ResourceType.BROKER, broker)
        (answer,) = self._admin.describe_configs([resource], request_timeout=ANSWER_TIMEOUT_S).values()
        largest = int(answer.result(timeout=RESULT_TIMEOUT_S)["message.max.bytes"].value)
        if largest < MIN_MESSAGE_BYTES:
            remedy = f"message.max.bytes={MIN_MESSAGE_BYTES} or more on the brokers"
            yield CheckResult("message size", "WARN", f"message.max.bytes is {largest:,}", remedy)
        else:
            yield CheckResult("message size", "PASS", f"message.max.bytes is {largest:,}")

    def _group(self, cluster: Any) -> Iterator[CheckResult]:
        group = self._settings.group_id
        described = self._described(group)
        members = len(described.members)
        state = described.state.name.lower()
        if described.state == ConsumerGroupState.STABLE:
            names = ", ".join(sorted(str(m.group_instance_id or m.client_id) for m in described.members))
            yield CheckResult("group", "PASS", f"{group} is stable, {members} workers: {names}")
        elif members:
            remedy = "look again in a minute; if it stays, look at the workers' logs"
            yield CheckResult("group", "WARN", f"{group} is {state}, {members} workers", remedy)
        else:
            yield CheckResult("group", "WARN", f"{group} has no worker", "start one: nextclick worker")

    def _described(self, group: str) -> Any:
        """The group. Asked again while its coordinator, which may just have been chosen, is not ready."""
        deadline_s = time.monotonic() + REACH_TIMEOUT_S
        while True:
            asked = self._admin.describe_consumer_groups([group], request_timeout=ANSWER_TIMEOUT_S)
            try:
                return asked[group].result(timeout=RESULT_TIMEOUT_S)
            except KafkaException as error:
                if not is_transient(error.args[0]) or time.monotonic() > deadline_s:
                    raise
            time.sleep(RETRY_INTERVAL_S)

    def _lag(self, cluster: Any) -> Iterator[CheckResult]:
        topic, group = self._settings.events_topic, self._settings.group_id
        if topic not in cluster.topics:
            return
        places = [TopicPartition(topic, number) for number in cluster.topics[topic].partitions]
        consumer = outside_consumer(self._settings, group, {"log_level": 0})
        try:
            committed = consumer.committed(places, timeout=ANSWER_TIMEOUT_S)
        finally:
            consumer.close()
        offsets = {tp.partition: tp.offset for tp in committed}
        yield self._topic_id(committed)
        first = self._offsets(places, EARLIEST)
        last = self._offsets(places, LATEST)
        lost = sorted(n for n, offset in offsets.items() if 0 <= offset < first[n].offset)
        lag = sum(last[n].offset - max(offsets.get(n, 0), first[n].offset) for n in last)
        beyond = sorted(n for n, offset in offsets.items() if offset > last[n].offset)
        if beyond:
            remedy = "the topic was emptied or made anew: start the worker again, and see the runbook"
            yield CheckResult(
                "lag", "FAIL", f"{group} has committed past the end of partitions {beyond}", remedy
            )
        elif lost:
            remedy = "kafka-configs.sh retention.ms=-1 for events; what is gone is gone"
            yield CheckResult(
                "lag", "FAIL", f"unread events of partitions {lost} are no longer in the log", remedy
            )
        elif lag and not any(offset >= 0 for offset in offsets.values()):
            yield CheckResult(
                "lag", "WARN", f"{lag:,} events, and {group} has never committed", "start a worker"
            )
        else:
            remedy = "if it grows: more workers, see the runbook" if lag else ""
            yield CheckResult("lag", "PASS", f"{lag:,} events", remedy)

    def _topic_id(self, committed: list[TopicPartition]) -> CheckResult:
        """The id of `events`, and whether the group's offsets are of that topic."""
        topic, group = self._settings.events_topic, self._settings.group_id
        self.topic_id = ask_topic_id(self._admin, topic)
        if self.topic_id == UNKNOWN:
            found = "the brokers name none: whether the topic was made anew cannot be told"
            return CheckResult("topic id", "SKIP", found, "Kafka 2.8 or newer has them")
        named = {tp.partition: decode_metadata(tp.metadata) for tp in committed if tp.offset >= 0}
        other = sorted(
            n for n, kept in named.items() if kept and is_other_topic(kept.topic_id, self.topic_id)
        )
        if other:
            found = f"{topic} was made anew: {group} has offsets of another topic, partitions {other}"
            remedy = "start the worker again: it reads the topic from its beginning"
            return CheckResult("topic id", "FAIL", found, remedy)
        return CheckResult("topic id", "PASS", f"{topic} is {self.topic_id}, the group's offsets are of it")

    def _offsets(self, places: list[TopicPartition], spec: Any) -> dict[int, Any]:
        asked = self._admin.list_offsets(dict.fromkeys(places, spec), request_timeout=ANSWER_TIMEOUT_S)
        return {tp.partition: answer.result(timeout=RESULT_TIMEOUT_S) for tp, answer in asked.items()}

    def _events(self, cluster: Any) -> Iterator[CheckResult]:
        topic = self._settings.events_topic
        if topic not in cluster.topics:
            return
        places = [TopicPartition(topic, number) for number in cluster.topics[topic].partitions]
        newest_ms = max(found.timestamp for found in self._offsets(places, NEWEST).values())
        if newest_ms < 0:
            yield CheckResult(
                "events", "WARN", "the topic is empty", "nextclick replay, or your own producer"
            )
            return
        self.newest_event_ms = newest_ms
        ahead_s = newest_ms / 1000 - self._now_s()
        if ahead_s > self._settings.max_future_s:
            remedy = "look at the producers' clocks and units (milliseconds); see nextclick dlq show"
            yield CheckResult("events", "WARN", f"the newest is {ahead_s:,.0f} s ahead of this clock", remedy)
        else:
            yield CheckResult("events", "PASS", f"the newest is {-ahead_s:,.0f} s old by this clock")

    def _clock(self, cluster: Any) -> Iterator[CheckResult]:
        """A broker's timestamp in the future means a slow clock here; one in the past may just be old."""
        if COMMITS_TOPIC not in cluster.topics:
            yield CheckResult(
                "clock", "SKIP", "no group has committed yet: no stamp of the brokers to compare"
            )
            return
        places = [TopicPartition(COMMITS_TOPIC, n) for n in cluster.topics[COMMITS_TOPIC].partitions]
        newest_ms = max(found.timestamp for found in self._offsets(places, NEWEST).values())
        if newest_ms < 0:
            yield CheckResult("clock", "SKIP", "the brokers keep no commit: no stamp of theirs to compare")
            return
        ahead_s = newest_ms / 1000 - self._now_s()
        if ahead_s > SKEW_WARN_S:
            text = f"this clock is at least {ahead_s:,.1f} s behind the brokers'"
            verdict: Verdict = "FAIL" if ahead_s > SKEW_FAIL_S else "WARN"
            yield CheckResult("clock", verdict, text, "let NTP set both clocks")
        else:
            text = f"not behind the brokers', whose newest stamp is {max(0.0, -ahead_s):,.1f} s old"
            yield CheckResult("clock", "PASS", text)
