"""Who has a partition: read from the group's description, asked seldom, kept while brokers are away."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from stream.asking.known_lists import KnownLists
from stream.asking.owners import Owner, PartitionOwners
from stream.settings import Settings, load_settings
from stream.web_address import address_in, address_of, client_id


class FakeAdmin:
    """Describes a group whose members are client ids with partitions."""

    def __init__(self) -> None:
        self.members: dict[str, list[int]] = {}
        self.error: KafkaError | None = None
        self.asked = 0

    def describe_consumer_groups(self, group_ids: list[str], /, *, request_timeout: float) -> Any:
        self.asked += 1
        return {group_ids[0]: self}

    def result(self, timeout: float) -> Any:
        if self.error is not None:
            raise KafkaException(self.error)
        members = [
            SimpleNamespace(
                client_id=name,
                assignment=SimpleNamespace(
                    topic_partitions=[TopicPartition("events", number) for number in numbers]
                ),
            )
            for name, numbers in self.members.items()
        ]
        return SimpleNamespace(members=members)


class Group:
    """Owners over a group and a clock of the test's."""

    def __init__(self) -> None:
        self.admin, self.now_s, self.own = FakeAdmin(), 100.0, [0]
        self.owners = PartitionOwners(
            Settings(), lambda: self.own, admin=self.admin, now_s=lambda: self.now_s
        )

    def of(self, number: int) -> Owner | None:
        return asyncio.run(self.owners.of(number))


def test_the_owner_is_read_from_the_client_id_and_the_group_is_asked_seldom() -> None:
    group = Group()
    group.admin.members = {"a@127.0.0.1:6066": [0], "b@[::1]:6067": [1, 2], "another program": [3]}
    assert group.of(1) == Owner("b", "[::1]:6067")
    assert [group.of(number) for number in (0, 3)] == [Owner("a", "127.0.0.1:6066"), None]
    assert group.admin.asked == 1
    group.now_s += 11
    group.of(1)
    assert group.admin.asked == 2


def test_the_group_is_asked_again_when_partitions_move_or_an_owner_is_none_but_not_at_each_request() -> None:
    group = Group()
    group.admin.members = {"a@h:1": [0, 1]}
    assert group.of(1) == Owner("a", "h:1")
    group.admin.members = {"a@h:1": [0], "b@h:2": [1]}
    group.now_s += 2
    assert group.of(1) == Owner("a", "h:1")
    group.own = []
    assert group.of(1) == Owner("b", "h:2")
    group.admin.members = {"c@h:3": [1]}
    group.owners.doubt()
    assert group.of(1) == Owner("b", "h:2")
    assert group.admin.asked == 2
    group.now_s += 2
    assert group.of(1) == Owner("c", "h:3")


def test_while_brokers_are_away_what_was_known_goes_on_and_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    group = Group()
    group.admin.members = {"a@h:1": [1]}
    assert group.of(1) == Owner("a", "h:1")
    group.admin.error = KafkaError(KafkaError._TRANSPORT)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            group.now_s += 11
            assert group.of(1) == Owner("a", "h:1")
    assert len(caplog.records) == 1 and group.admin.asked == 4


@pytest.mark.parametrize(
    ("changes", "address"),
    [
        ({"web_host": "10.0.0.7", "web_port": 6066}, "10.0.0.7:6066"),
        ({"web_host": "::1", "web_port": 6066}, "[::1]:6066"),
        # Towards a broker of this machine it is the loopback.
        ({"web_host": "0.0.0.0", "web_port": 7000, "bootstrap_servers": "127.0.0.1:9092"}, "127.0.0.1:7000"),
        (
            {"web_host": "0.0.0.0", "web_address": "worker-0.workers:80"},
            "worker-0.workers:80",
        ),
    ],
)
def test_a_worker_says_where_it_is_asked(changes: dict[str, Any], address: str) -> None:
    settings = Settings(worker_id="w.1", **changes)
    assert address_of(settings) == address
    assert address_in(client_id(settings)) == ("w.1", address)


def test_without_a_way_to_the_broker_the_address_is_the_machines_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "this-machine")
    settings = Settings(web_host="0.0.0.0", bootstrap_servers="no such host:9092")
    assert address_of(settings) == f"this-machine:{settings.web_port}"


def test_those_who_waited_for_a_failed_question_do_not_ask_it_again_one_after_the_other() -> None:
    group = Group()
    group.admin.error = KafkaError(KafkaError._TIMED_OUT)
    answer = group.admin.result

    def slow(timeout: float) -> Any:
        group.now_s += timeout
        return answer(timeout)

    group.admin.result = slow  # type: ignore[method-assign]
    for _ in range(5):
        group.owners.refresh()
    assert group.admin.asked == 1
    group.now_s += 11
    group.owners.refresh()
    assert group.admin.asked == 2


def test_owners_stay_known_while_the_group_rebalances_and_names_nobody() -> None:
    group = Group()
    group.admin.members = {"a@h:1": [0, 1]}
    assert group.of(1) == Owner("a", "h:1")
    group.admin.members = {"a@h:1": []}
    group.now_s += 11
    assert group.of(1) == Owner("a", "h:1")


def test_an_address_that_is_none_is_refused() -> None:
    for wrong in ("worker-0", "http://worker-0:6066", "a b:1", "worker-0:port"):
        with pytest.raises(Exception, match="web_address"):
            load_settings(web_address=wrong)


def test_known_lists_are_bounded_and_the_one_used_longest_ago_goes_first() -> None:
    def body(item: str) -> bytes:
        return b'{"items":[{"item_id":"%b"}]}' % item.encode()

    known = KnownLists(most_bytes=3 * (len(body("a")) + 1))
    for item in "abc":
        known.put(item, body(item))
    known.put("a", body("a"))
    assert len(known) == 3
    assert known.get("b", lambda item: False) is not None
    known.put("d", body("d"))
    assert known.get("c", lambda item: False) is None
    assert len(known) == 3
    known.put("huge", body("x" * 200))
    assert len(known) == 0


def test_a_known_list_is_given_again_for_ten_minutes() -> None:
    now_s = 0.0
    known = KnownLists(now_s=lambda: now_s)
    known.put("a", b'{"items":[]}')
    now_s = 599.0
    assert known.get("a", lambda item: False) is not None
    now_s = 601.0
    assert known.get("a", lambda item: False) is None
    assert len(known) == 0
