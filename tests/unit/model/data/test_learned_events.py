from model.data.learned_events import LearnedEvents

DATA = {
    "source": "events",
    "offsets": {"0": [10, 20]},
    "last_event_time_ms": 1_000,
    "newest_event_time_ms": 5_000,
}


def test_events_up_to_the_last_learned_time_are_in_sample_wherever_they_come_from() -> None:
    learned = LearnedEvents.of({"last_event_time_ms": 1_000}, "events")
    assert learned.has(3, 10**9, 1_000)
    assert not learned.has(3, 10**9, 1_001)


def test_a_version_that_went_on_from_another_knows_what_that_one_learned() -> None:
    assert LearnedEvents.of({**DATA, "learned_until_ms": 3_000}).has(0, 99, 3_000)


def test_offsets_tell_the_learned_events_that_were_stamped_ahead_of_the_wall() -> None:
    learned = LearnedEvents.of(DATA, "events")
    assert learned.has(0, 19, 5_000)
    assert not learned.has(0, 20, 5_000)
    assert not learned.has(0, 19, 5_001)
    assert not learned.has(1, 19, 5_000)


def test_offsets_mean_nothing_in_another_topic_or_in_one_that_was_made_anew() -> None:
    assert not LearnedEvents.of(DATA, "other").has(0, 19, 5_000)
    with_id = {**DATA, "topic_id": "a"}
    learned = LearnedEvents.of(with_id, "events")
    assert not learned.has(0, 19, 5_000, "b")
    assert learned.has(0, 19, 5_000, "a")
    assert learned.has(0, 19, 5_000, "")
    assert LearnedEvents.of({**DATA, "topic_id": None}, "events").has(0, 19, 5_000, "b")


def test_an_earlier_manifest_does_not_record_it() -> None:
    learned = LearnedEvents.of({"events": 12}, "events")
    assert not learned.is_recorded
    assert not learned.has(0, 0, 0)
