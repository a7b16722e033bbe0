"""The receipt of `nextclick forget` names each topic on which something of a person stays, and until when."""

from replay.commands.forget import _in_topic, _kept_elsewhere, _kept_topics
from stream.event_log.retention import Retention
from stream.outcomes.outcomes_reader import OutcomesOfSessions
from stream.settings import Settings

DAY_MS = 86_400_000
NOW_MS = 1_700_000_000_000  # 2023-11-14T22:13:20Z
SETTINGS = Settings(outcomes_topic="what-came-of-it", max_future_s=60)
AGED = Retention("delete", 90 * DAY_MS, 7 * DAY_MS)


def test_the_receipt_names_the_topics_on_which_something_stays() -> None:
    topics = [
        SETTINGS.events_topic,
        SETTINGS.recommendations_topic,
        SETTINGS.placements_topic,
        SETTINGS.dlq_topic,
    ]
    in_topic = _in_topic("what-came-of-it", OutcomesOfSessions(2, {"s"}, NOW_MS, {0: 7}), AGED, [])
    retention = dict.fromkeys([*topics, "what-came-of-it"], AGED) | {SETTINGS.events_topic: Retention()}
    kept = _kept_topics(SETTINGS, retention, NOW_MS, in_topic)
    assert kept.keys() == {*topics, "what-came-of-it"}
    assert "forever" in kept[SETTINGS.events_topic]
    for topic in topics[1:]:
        # A minute later than the forgetting, by which clocks may be ahead.
        assert "until 2024-02-19T23:14Z at the latest" in kept[topic]
    assert kept["what-came-of-it"] == (
        "2 earlier lists of 1 sessions and what came of them, until 2024-02-19T23:13Z at the latest"
    )


def test_topics_that_are_not_there_are_not_named() -> None:
    kept = _kept_topics(SETTINGS, {SETTINGS.events_topic: Retention()}, NOW_MS, None)
    assert kept.keys() == {SETTINGS.events_topic}


def test_outcomes_are_kept_until_the_newest_of_them_is_too_old_whenever_they_are_asked_for() -> None:
    found = OutcomesOfSessions(3, {"b", "a"}, NOW_MS - 80 * DAY_MS, {1: 12, 0: 4})
    assert _in_topic("outcomes", found, AGED, []) == {
        "topic": "outcomes",
        "lists": 3,
        "sessions": ["a", "b"],
        "until": "2023-12-01T23:13Z",
        "kept": "until 2023-12-01T23:13Z at the latest",
        "ends": {"0": 4, "1": 12},
        "behind": [],
    }


def test_a_topic_that_has_nothing_of_the_sessions_is_not_said_to_keep_them() -> None:
    in_topic = _in_topic("what-came-of-it", OutcomesOfSessions(), AGED, ["s"])
    assert (in_topic["lists"], in_topic["until"], in_topic["behind"]) == (0, None, ["s"])
    assert "what-came-of-it" not in _kept_topics(SETTINGS, {"what-came-of-it": AGED}, NOW_MS, in_topic)


def test_outcomes_that_nothing_removes_are_said_to_stay() -> None:
    compacted = Retention("compact", 90 * DAY_MS, 7 * DAY_MS)
    in_topic = _in_topic("what-came-of-it", OutcomesOfSessions(1, {"s"}, NOW_MS, {0: 1}), compacted, [])
    assert in_topic["until"] is None
    kept = _kept_topics(SETTINGS, {"what-came-of-it": compacted}, NOW_MS, in_topic)
    assert "forever, since its cleanup.policy is compact" in kept["what-came-of-it"]


def test_folders_that_are_named_are_not_said_to_keep_everything() -> None:
    assert _kept_elsewhere(True, True).keys() == {"models", "stores"}
    assert _kept_elsewhere(False, False).keys() == {"models", "stores", "archives", "exported outcomes"}
