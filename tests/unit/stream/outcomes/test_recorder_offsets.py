"""What was committed of another topic of the name, or is lost, is not gone on from."""

from collections import Counter
from unittest.mock import Mock

import pytest
from confluent_kafka import TopicPartition

from stream.events import Event, Recommendation, encode_recommendation
from stream.outcomes.kept_events import KeptEvents
from stream.outcomes.list_record import list_of
from stream.outcomes.outcome import Outcome, encode_outcome
from stream.outcomes.outcome_join import OutcomeJoin, ShownList
from stream.outcomes.outcomes_reader import _outcomes
from stream.outcomes.recorded_partition import JoinedTopics, RecordedPartition, resumed_partition
from stream.outcomes.recorder_offsets import Resumed
from stream.sessions.watermark import VOTES, Watermark

TOPICS = JoinedTopics("events", "lists", {"events": "e1", "lists": "l1"})
AT = Watermark(1_000, 0, "", 900, (7, 8), (900, 1_000))


def resumed(
    events: Resumed | None, lists: Resumed | None, done: int = 50, low: tuple[int, int] = (0, 0)
) -> tuple[RecordedPartition, Counter[str]]:
    committed = {}
    if events is not None:
        committed["events"] = TopicPartition("events", 0, 90, events.text())
    if lists is not None:
        committed["lists"] = TopicPartition("lists", 0, done, lists.text())
    bounds = {"events": (low[0], 100), "lists": (low[1], 60)}
    return resumed_partition(TOPICS, committed, bounds, lambda kept: OutcomeJoin(0, 10, 0, kept))


def list_at(offset: int) -> ShownList:
    return ShownList(offset, 95, Recommendation("s", "0-95", 5, "v", ["i"], [1.0]), {}, offset < 50)


def state(one: RecordedPartition) -> tuple[int, int, int, Watermark]:
    return one.next_event, one.next_list, one.again_until, one.join.kept.watermark


def test_a_partition_goes_on_from_what_was_committed() -> None:
    one, lost = resumed(Resumed(30, "e1", AT), Resumed(20, "l1"))
    assert state(one) == (30, 20, 50, AT)
    assert not lost.total()
    # What it commits at once is the same again.
    events, lists = one.offsets(0, TOPICS)
    assert (events.offset, Resumed.read(events.metadata, "e1")) == (90, Resumed(30, "e1", AT))
    assert (lists.offset, Resumed.read(lists.metadata, "l1")) == (50, Resumed(20, "l1"))
    # Until the last list that had its outcome is joined again.
    one.next_list = 49
    assert committed_first(one) == 20
    one.join.add_list(list_at(49))
    one.next_list = 50
    assert committed_first(one) == 20
    one.join.waiting.clear()
    assert committed_first(one) == 50


def committed_first(one: RecordedPartition) -> int:
    found = Resumed.read(one.offsets(0, TOPICS)[1].metadata, "l1")
    assert found is not None
    return found.first


def test_a_new_group_begins_with_what_the_logs_have() -> None:
    one, lost = resumed(None, None, low=(3, 4))
    assert state(one) == (3, 4, 4, Watermark())
    assert not lost.total()


@pytest.mark.parametrize("made_anew", ["events", "lists"])
def test_what_was_committed_of_an_earlier_topic_counts_for_nothing(made_anew: str) -> None:
    ids = {"events": "e1", "lists": "l1", made_anew: "another"}
    one, lost = resumed(Resumed(30, ids["events"], AT), Resumed(20, ids["lists"]))
    assert not lost.total()
    assert (one.next_event == 0) == (made_anew == "events")
    assert (one.again_until == 0) == (made_anew == "lists")


def test_what_retention_has_removed_is_counted_as_lost_unless_it_was_read_before() -> None:
    one, lost = resumed(Resumed(30, "e1", AT), Resumed(20, "l1"), low=(35, 52))
    assert state(one) == (35, 52, 52, AT)
    assert lost == {"events": 0, "lists": 2}
    _, lost = resumed(Resumed(30, "e1", AT), Resumed(20, "l1"), low=(93, 40))
    assert lost == {"events": 3, "lists": 0}
    # Removed while it is read again.
    one, _ = resumed(Resumed(30, "e1", AT), Resumed(20, "l1"))
    assert (one.pass_over("events", 90, TOPICS), one.pass_over("lists", 45, TOPICS)) == (0, 0)
    assert (one.pass_over("events", 93, TOPICS), one.pass_over("lists", 52, TOPICS)) == (3, 2)
    assert (one.next_event, one.next_list, one.join.kept.first) == (93, 52, 93)


def test_the_state_of_a_busy_partition_fits_into_the_metadata_of_a_commit() -> None:
    kept = KeptEvents()
    for offset in range(3_000):
        kept.add(offset, Event(f"a session {offset}", 1_700_000_000_000 + offset, "i"))
    kept.forget(2_000)
    assert len(kept.first_watermark.voters) == VOTES
    text = Resumed(kept.first, "x" * 22, kept.first_watermark).text()
    assert len(text) < 4_096
    read = Resumed.read(text, "x" * 22)
    assert read is not None
    assert read.watermark == kept.first_watermark


def test_a_record_is_a_list_with_its_headers_or_none() -> None:
    value = encode_recommendation("s", "3-7", 5, "v", ["i"], [1.0])
    message = Mock()
    message.value.return_value, message.headers.return_value = value, [("side", b"champion"), ("x", None)]
    message.offset.return_value, message.partition.return_value = 9, 3
    one = list_of(message, again=True)
    assert (one.offset, one.event_offset, one.again, one.headers["side"]) == (9, 7, True, "champion")
    message.headers.return_value = [("side", b"\xff")]
    assert list_of(message, again=False) == ShownList(9, -1, None, {}, False)


DEEP = b"[" * 100_000
LIST = encode_recommendation("s", "3-7", 5, "v", ["i"], [1.0])


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"{",
        LIST.replace(b'"s"', b'"\xff"'),
        LIST.replace(b"{", b'{"more":' + DEEP + b",", 1),
        LIST.replace(b"3-7", b"3-" + b"7" * 5_000),
    ],
)
def test_whatever_is_no_list_is_passed_over_and_counted(value: bytes | None) -> None:
    message = Mock()
    message.value.return_value, message.headers.return_value = value, []
    message.offset.return_value, message.partition.return_value = 9, 3
    assert list_of(message, again=True) == ShownList(9, -1, None, {}, True)


@pytest.mark.parametrize("value", [None, b"{", b'{"session_id":"\xff"}', b'{"more":' + DEEP])
def test_whatever_is_no_outcome_is_passed_over(value: bytes | None) -> None:
    outcome = Outcome("s", "0-7", 5, "v", ["i"], [], 600_000)
    messages = [Mock(value=Mock(return_value=one)) for one in (value, encode_outcome(outcome))]
    reader = Mock(topic="outcomes", read=Mock(return_value=[messages]))
    assert list(_outcomes(reader, 0, 0, 2)) == [outcome]
