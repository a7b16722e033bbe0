"""Each list has one outcome, the same whichever topic is ahead and whenever the process dies."""

import random
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.events import Event, Kind, Recommendation
from stream.outcomes.kept_events import CHUNK, KeptEvents
from stream.outcomes.outcome import MOST_TAKEN, Outcome, decode_outcome, encode_outcome
from stream.outcomes.outcome_join import (
    FORGOTTEN,
    LATE,
    NO_EVENT,
    REPEATED,
    UNREADABLE,
    OutcomeJoin,
    ShownList,
)
from stream.sessions.watermark import NO_WATERMARK, Watermark

MINUTE = 60_000
WITHIN, LATENESS = 10 * MINUTE, MINUTE
START = 1_700_000_000_000
KINDS: tuple[Kind, ...] = ("view", "view", "cart", "purchase")


def log(seed: int, events: int = 120) -> tuple[list[Event | None], list[ShownList]]:
    """Events of a few sessions, late ones and ones of wrong clocks, and the lists after most of them.

    Lists of different sessions come in disorder, some twice; some records are no events.
    """
    chance = random.Random(seed)
    made: list[Event | None] = []
    lists: list[tuple[float, int]] = []
    time_ms = START
    for offset in range(events):
        time_ms += chance.randrange(MINUTE)
        if chance.random() < 0.05:
            made.append(None)
            continue
        session = f"s{chance.randrange(9)}"
        off_ms = chance.choice([0, 0, 0, -30_000, -3 * MINUTE, 86_400_000])
        kind = chance.choice(KINDS)
        made.append(Event(session, time_ms + off_ms, f"i{chance.randrange(6)}", kind, price=2.5))
        if chance.random() < 0.8:
            for _ in range(chance.choice([1, 1, 1, 2])):
                lists.append((offset + chance.choice([0, 0, 2.5]), offset))
    shown: list[ShownList] = []
    for _, offset in sorted(lists):
        event = made[offset]
        assert event is not None
        items = random.Random(seed + offset).sample([f"i{n}" for n in range(6)], 3)
        one = Recommendation(event.session_id, f"0-{offset}", event.event_time_ms, "v", items, [1.0] * 3)
        shown.append(ShownList(len(shown), offset, one, {"position": "2", "side": "champion"}))
    return made, shown


def expected(events: list[Event | None], lists: list[ShownList]) -> dict[str, tuple[int | None, list[str]]]:
    """By list: the place of the next event's item, and what was taken; by brute force."""
    watermark, read_ms = NO_WATERMARK, []
    for event in events:
        if event is not None:
            watermark = (watermark if watermark.ms else Watermark(event.event_time_ms)).after(
                event.session_id, event.event_time_ms
            )
        read_ms.append(watermark.ms)
    found = {}
    for one in lists:
        assert one.shown is not None
        over_ms = read_ms[one.event_offset] + WITHIN + LATENESS
        if watermark.ms < over_ms:
            # Lists wait for the one before them.
            break
        followed = [
            (offset, event)
            for offset, event in enumerate(events)
            if event is not None
            and event.session_id == one.shown.session_id
            and offset > one.event_offset
            and read_ms[offset] < over_ms
            and event.event_time_ms <= one.shown.event_time_ms + WITHIN
        ]
        items = one.shown.items
        places = [items.index(e.item_id) + 1 if e.item_id in items else 0 for _, e in followed]
        taken = [f"0-{offset}" for offset, event in followed if event.item_id in items]
        found[one.shown.event_id] = (places[0] if places else None, taken)
    return found


def told(outcomes: list[Outcome]) -> dict[str, tuple[int | None, list[str]]]:
    found = {one.event_id: (one.next_place, [taken.event_id for taken in one.taken]) for one in outcomes}
    assert len(found) == len(outcomes), "a list has two outcomes"
    return found


# Few events are forgotten at a time, so that a log of a test has some of both.
@patch("stream.outcomes.kept_events.CHUNK", 4)
@patch("stream.outcomes.outcome_join.DISORDER", 12)
@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from([1, 3, 10_000]))
def test_each_list_has_one_outcome_through_any_order_and_any_crash(
    seed: int, order: int, steps_to_crash: int
) -> None:
    """Of a crash two offsets, the first kept event and the watermark before it are left, and no more."""
    events, lists = log(seed)
    chance = random.Random(order)
    join = OutcomeJoin(0, WITHIN, LATENESS)
    outcomes: list[Outcome] = []
    at_event = at_list = 0
    while at_event < len(events) or at_list < len(lists):
        for _ in range(steps_to_crash):
            for _ in range(chance.randrange(8)):
                if at_event < len(events):
                    join.add_event(at_event, events[at_event])
                    at_event += 1
            for _ in range(chance.randrange(8)):
                # A list is there after its event.
                if at_list < len(lists) and (lists[at_list].event_offset < at_event or chance.random() < 0.3):
                    join.add_list(lists[at_list])
                    at_list += 1
            outcomes += join.outcomes()
        done = join.waiting[0].offset if join.waiting else at_list
        first_list = done if join.first_list is None else join.first_list
        again = OutcomeJoin(0, WITHIN, LATENESS, KeptEvents(join.kept.first, join.kept.first_watermark))
        again.counts = join.counts
        for one in lists[first_list:at_list]:
            again.add_list(one._replace(again=one.offset < done))
        for offset in range(join.kept.first, at_event):
            again.add_event(offset, events[offset])
        join = again
    outcomes += join.outcomes()
    assert told(outcomes) == expected(events, lists)
    assert join.counts.lists == join.counts.outcomes + join.counts.left_out.total()
    assert join.counts.lists + sum(not one.again for one in join.waiting) == len(lists)
    assert set(join.counts.left_out) <= {REPEATED}


def shown(offset: int, event_offset: int, event: Event, *items: str, **headers: str) -> ShownList:
    one = Recommendation(
        event.session_id, f"0-{event_offset}", event.event_time_ms, "v", list(items), [1.0] * len(items)
    )
    return ShownList(offset, event_offset, one, headers)


def test_what_is_left_out_is_counted_by_its_reason() -> None:
    join = OutcomeJoin(0, WITHIN, 0)
    first = Event("s", START, "i")
    for offset, event in enumerate([first, Event("s", START + 5, "", "forget"), Event("t", START + 5, "i")]):
        join.add_event(offset, event)
    # Its session is to be forgotten; no list; another session's event; an event of another log.
    join.add_list(shown(0, 0, first, "i"))
    join.add_list(ShownList(1, -1, None, {}))
    join.add_list(shown(2, 2, first, "i"))
    # The log goes on by more than a window in all sessions.
    for offset in range(3, 13):
        join.add_event(offset, Event(f"u{offset}", START + 2 * WITHIN, "i"))
    join.add_list(shown(3, 50, first, "i"))
    assert list(join.outcomes()) == []
    assert len(join.waiting) == 1
    join.leave_out_unknown(13)
    assert join.counts.left_out == {FORGOTTEN: 1, UNREADABLE: 1, NO_EVENT: 2}
    # An event that is forgotten already.
    join.begin_anew(100)
    join.add_list(shown(4, 5, first, "i"))
    assert list(join.outcomes()) == []
    assert join.counts.left_out[LATE] == 1


def test_nothing_is_written_of_a_session_that_is_forgotten_long_after_the_window() -> None:
    join = OutcomeJoin(0, WITHIN, LATENESS)
    events = [Event("s", START, "i"), Event("s", START + 1, "j"), Event("t", START + 2, "i")]
    # It says the time of the wall; then one comes under the id again, as a new session.
    events.append(Event("s", START + 1_000 * WITHIN, "", "forget"))
    events.append(Event("s", START + 1_000 * WITHIN, "i"))
    events += [Event(f"u{n}", START + 2_000 * WITHIN, "i") for n in range(10)]
    for offset, event in enumerate(events):
        join.add_event(offset, event)
    for offset in range(5):
        join.add_list(shown(offset, offset, events[offset], "j"))
    assert [one.event_id for one in join.outcomes()] == ["0-2", "0-4"]
    assert join.counts.left_out == {FORGOTTEN: 3}


def test_memory_is_bounded_and_what_is_closed_early_is_counted() -> None:
    most = 4 * CHUNK
    join = OutcomeJoin(0, WITHIN, 0, most_events=most)
    outcomes: list[Outcome] = []
    for offset in range(3 * most):
        # All within one window.
        event = Event(f"s{offset % 50}", START + offset // 1_000, f"i{offset % 7}")
        join.add_event(offset, event)
        join.add_list(shown(offset, offset, event, "i1"))
        outcomes += join.outcomes()
        assert len(join.kept) <= most + CHUNK
    assert len(told(outcomes)) == join.counts.closed_early > most
    assert join.counts.left_out == {}
    assert len(outcomes) + len(join.waiting) == 3 * most


def test_without_lists_events_are_held_back_and_a_list_far_ahead_lets_them_go() -> None:
    most = 2 * CHUNK
    join = OutcomeJoin(0, WITHIN, 0, most_events=most)
    for offset in range(most):
        join.add_event(offset, Event("s", START, "i"))
    assert list(join.outcomes()) == []
    assert join.is_full
    join.add_list(shown(0, most + 5, Event("s", START, "i"), "i"))
    assert list(join.outcomes()) == []
    assert not join.is_full


def test_events_are_forgotten_when_no_list_needs_them() -> None:
    join = OutcomeJoin(0, WITHIN, LATENESS)
    outcomes: list[Outcome] = []
    for offset in range(60_000):
        # A second each, ten sessions: a window is 600 events, the disorder of lists far more.
        event = Event(f"s{offset % 10}", START + offset * 1_000, f"i{offset}")
        join.add_event(offset, event)
        join.add_list(shown(offset, offset, event, f"i{offset + 10}"))
        if offset % 500 == 0:
            outcomes += join.outcomes()
    outcomes += join.outcomes()
    assert len(join.kept) < 25_000
    assert join.first_list is not None
    assert join.first_list > 30_000
    assert all([taken.place for taken in one.taken] == [1] for one in outcomes)
    assert join.counts.late_events == join.counts.closed_early == 0


@pytest.mark.parametrize("owners", ["", "AB-"])
def test_an_outcome_says_what_was_taken_from_where(owners: str) -> None:
    join = OutcomeJoin(0, WITHIN, 0)
    first = Event("s", START, "x")
    events = [
        first,
        Event("s", START + 5, "b", "purchase", price=9.5),
        Event("other", START + 6, "b"),
        Event("s", START + 7, "b", "dismiss"),
        Event("s", START + WITHIN + 1, "a"),
        *(Event(f"u{n}", START + WITHIN + MINUTE, "a") for n in range(10)),
    ]
    for offset, event in enumerate(events):
        join.add_event(offset, event)
    headers = {"owners": owners, "experiment": "e1", "side": "interleaved"}
    headers |= {"propensity": "0.5", "position": "3"}
    join.add_list(shown(0, 0, first, "a", "b", "c", **headers, level="popular"))
    join.add_list(shown(1, 2, events[2], "a", propensity="nan", position="x"))
    one, other = join.outcomes()
    assert decode_outcome(encode_outcome(one)) == one
    (taken,) = one.taken
    said = (taken.event_id, taken.item_id, taken.kind, taken.place, taken.price, taken.after_ms)
    assert said == ("0-1", "b", "purchase", 2, 9.5, 5)
    assert taken.owner == owners[1:2]
    assert (one.next_place, one.position, one.experiment, one.propensity) == (2, 3, "e1", 0.5)
    assert (one.source, one.within_ms, one.not_counted) == ("popular", WITHIN, 0)
    assert (other.propensity, other.position, other.next_place) == (1.0, 0, None)


def test_what_a_robot_takes_makes_no_record_too_large() -> None:
    join = OutcomeJoin(0, WITHIN, 0)
    first = Event("s", START, "i" * 256)
    for offset in range(3_000):
        join.add_event(offset, Event("s", START + offset, "i" * 256))
    for offset in range(10):
        join.add_event(3_000 + offset, Event(f"u{offset}", START + 2 * WITHIN, "i"))
    join.add_list(shown(0, 0, first, *("i" * 255 + str(n) for n in range(9)), "i" * 256))
    (one,) = join.outcomes()
    assert (len(one.taken), one.not_counted) == (MOST_TAKEN, 2_999 - MOST_TAKEN)
    assert len(encode_outcome(one)) < 500_000


def test_event_time_goes_on_with_the_wall_where_that_is_asked() -> None:
    join = OutcomeJoin(0, WITHIN, 0)
    join.pass_time(5)
    assert join.kept.watermark.ms == 0
    event = Event("s", START, "i")
    join.add_event(0, event)
    join.add_list(shown(0, 0, event, "i"))
    assert list(join.outcomes()) == []
    join.pass_time(WITHIN)
    assert len(list(join.outcomes())) == 1
