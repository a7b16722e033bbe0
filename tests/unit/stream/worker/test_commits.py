from confluent_kafka import TopicPartition

from stream.sessions.offsets import AppliedOffsets
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
