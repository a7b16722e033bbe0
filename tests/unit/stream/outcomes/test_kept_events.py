"""Texts that stand in many events are kept once, as long as an event has them."""

from unittest.mock import patch

from stream.events import Event
from stream.outcomes.kept_events import KeptEvents


@patch("stream.outcomes.kept_events.CHUNK", 4)
def test_each_text_is_kept_once_and_let_go_of_with_its_events() -> None:
    kept = KeptEvents()
    for offset in range(80):
        # As a decoder makes them: an object for each event.
        session, item = ("a session " + str(offset // 2), "an item " + str(offset % 2))
        kept.add(offset, Event(session, 1_000 + offset, item))
    held = [one for one in kept._sessions if one is not None]
    assert (len(held), len({id(one) for one in held})) == (80, 40)
    kept.forget(72)
    assert (kept.first, len(kept)) == (72, 8)
    assert set(kept._texts) == {*(f"a session {n}" for n in range(36, 40)), "an item 0", "an item 1"}
    assert {id(one) for one in kept._sessions} == {id(one) for one in kept._by_session}
    assert [one.offset for one in kept.after("a session 39", 78)] == [79]
