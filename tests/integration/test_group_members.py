"""Leaving the group, with a session timeout of half an hour: nothing but leaving frees a partition."""

from collections.abc import Callable

import pytest
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient

from stream.kafka.group_members import group_members, leave_to_others
from stream.settings import Settings
from stream.worker.assignment import make_consumer

pytestmark = pytest.mark.timeout(600)


def joined(settings: Settings) -> Consumer:
    consumer = make_consumer(settings, lambda error, places: None)
    consumer.subscribe([settings.events_topic])
    return consumer


def wait_for(condition: Callable[[], bool], *members: Consumer) -> None:
    """Until it holds, while the members take part in the group; the test's timeout bounds it."""
    while not condition():
        for member in members:
            member.poll(0.1)


@pytest.mark.kafka
def test_a_stopped_worker_leaves_its_partitions_to_others_and_stays_where_there_is_none(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A loaded machine makes the answers late.
    monkeypatch.setattr("stream.kafka.group_members.LEAVE_TIMEOUT_S", 120.0)
    a = make_settings(partitions=2, session_timeout_ms=1_800_000)
    b = a.model_copy(update={"worker_id": f"{a.worker_id}-b", "web_port": a.web_port + 1})
    admin = AdminClient(a.kafka_config())

    def shares() -> dict[str, tuple[int, ...]]:
        return {member.worker_id: member.partitions for member in group_members(admin, a)}

    assert shares() == {}
    first, second = joined(a), joined(b)
    wait_for(lambda: sorted(map(len, shares().values())) == [1, 1], first, second)
    addresses = {member.worker_id: member.address for member in group_members(admin, a)}
    assert addresses[b.worker_id] == f"{b.web_host}:{b.web_port}"

    # Its place was another's: nobody is removed.
    assert not leave_to_others(b, "an id of before")
    assert len(shares()) == 2
    member_id = second.memberid()
    assert member_id
    second.close()
    assert leave_to_others(b, member_id)
    wait_for(lambda: shares() == {a.worker_id: (0, 1)}, first)

    member_id = first.memberid()
    assert member_id
    first.close()
    assert not leave_to_others(a, member_id)
    assert set(shares()) == {a.worker_id}


def test_brokers_that_do_not_answer_are_told_of_and_end_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.kafka.group_members.LEAVE_TIMEOUT_S", 0.5)
    assert not leave_to_others(Settings(bootstrap_servers="127.0.0.1:9"), "a member")
    assert "the group was not told that this worker leaves" in caplog.text
