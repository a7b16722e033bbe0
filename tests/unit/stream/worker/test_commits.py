from confluent_kafka import TopicPartition

from stream.sessions.offsets import AppliedOffsets, encode_metadata
from stream.worker.commits import Commits


def applied(position: int) -> AppliedOffsets:
    return AppliedOffsets(position=position)


def offsets(due: list[TopicPartition]) -> dict[int, int]:
    return {tp.partition: tp.offset for tp in due}


def test_the_next_commit_waits_for_the_answer_to_the_last() -> None:
    """One that is repeated could arrive after a newer one, and set the group back."""
    commits = Commits("events")
    commits.add({0: applied(5)})
    assert offsets(commits.pop_due({0, 1})) == {0: 5}
    commits.add({0: applied(7), 1: applied(2)})
    assert commits.pop_due({0, 1}) == []
    commits.answered()
    assert offsets(commits.pop_due({0, 1})) == {0: 7, 1: 2}


def test_nothing_is_waited_for_where_nothing_was_to_be_committed() -> None:
    commits = Commits("events")
    assert commits.pop_due({0}) == []
    commits.add({1: applied(2)})
    assert commits.pop_due({0}) == [], "another's"
    commits.add({0: applied(5)})
    assert offsets(commits.pop_due({0})) == {0: 5}


def test_what_was_refused_is_committed_again_unless_something_newer_waits() -> None:
    commits = Commits("events")
    commits.add({0: applied(5), 1: applied(2)})
    asked = commits.pop_due({0, 1})
    commits.add({0: applied(9)})
    commits.answered()
    commits.refused(asked)
    assert offsets(commits.pop_due({0, 1})) == {0: 9, 1: 2}


def test_what_was_given_up_is_not_committed_when_it_comes_back() -> None:
    """Meanwhile another worker has committed more: the group would be set back."""
    commits = Commits("events")
    commits.add({0: applied(9), 1: applied(2)})
    commits.forget({0})
    assert offsets(commits.pop_due({0, 1})) == {1: 2}


def test_an_opened_store_is_committed_where_the_group_is_behind_it_or_does_not_name_its_topic() -> None:
    def due(position: int, topic_id: str, offset: int, named: str | None) -> dict[int, int]:
        commits = Commits("events")
        metadata = "" if named is None else encode_metadata(AppliedOffsets(topic_id=named))
        durable = AppliedOffsets(position=position, topic_id=topic_id)
        commits.add_opened(0, durable, TopicPartition("events", 0, offset, metadata))
        return offsets(commits.pop_due({0}))

    never = -1001
    assert due(0, "now", never, None) == due(7, "now", 7, "now") == due(7, "", 7, None) == {}
    assert due(7, "now", never, None) == due(7, "now", 5, "now") == {0: 7}
    assert due(7, "now", 7, "") == due(7, "now", 7, None) == due(7, "now", 9, "old") == {0: 7}
    assert due(0, "now", 9, "old") == {0: 0}
