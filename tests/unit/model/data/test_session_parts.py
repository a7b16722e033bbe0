"""Parts that hold whole sessions are, joined, what the whole log is in event-time order."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.data.session_parts import SessionPart, join
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError

COLUMNS = ["session_id", "item_id", "event_time_ms", "kind", "title"]
RULE = SessionRule(0.004)
titles = st.none() | st.text(max_size=2)
# Few times: most are equal somewhere, in a part and between parts.
events = st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 5), st.integers(0, 9), titles)


@settings(deadline=None, max_examples=60)
@given(rows=st.lists(events, min_size=1, max_size=40), ends=st.integers(2, 5))
def test_the_parts_of_a_log_are_the_log(rows: list[tuple[int, int, int, int, str | None]], ends: int) -> None:
    parts: dict[int, list[tuple[object, ...]]] = {part: [] for part in range(3)}
    for number, (part, session, item, time_ms, title) in enumerate(rows):
        kind = "session_end" if number % ends == 1 else "view"
        name = "" if kind == "session_end" else f"i{item}"
        parts[part].append((f"p{part}-s{session}", name, time_ms, kind, title))
    frames = [pd.DataFrame(part, columns=COLUMNS) for part in parts.values()]
    whole = pd.concat([frame for frame in frames if len(frame)], ignore_index=True)
    whole = whole.sort_values("event_time_ms", kind="stable", ignore_index=True)
    try:
        expected = Vocabulary.from_frame(whole)
    except NextclickError as error:
        with pytest.raises(NextclickError) as refused:
            join([SessionPart.from_frame(frame, RULE) for frame in frames])
        assert str(refused.value) == str(error)
        return
    found, vocabulary = join([SessionPart.from_frame(frame, RULE) for frame in frames])
    assert vocabulary.item_ids.tolist() == expected.item_ids.tolist()
    assert vocabulary.counts.tolist() == expected.counts.tolist()
    assert vocabulary.titles == expected.titles
    sessions = Sessions.from_frame(whole, expected, RULE)
    for name in ("offsets", "items", "times_ms"):
        assert getattr(found, name).tolist() == getattr(sessions, name).tolist(), name
    assert found.session_ids.tolist() == pd.util.hash_array(sessions.session_ids).tolist()


def test_parts_without_an_event_are_nothing() -> None:
    empty = SessionPart.from_frame(pd.DataFrame(columns=COLUMNS), RULE)
    assert (empty.rows, len(empty.sessions)) == (0, 0)
    ended = SessionPart.from_frame(pd.DataFrame([("s", "", 5, "session_end", None)], columns=COLUMNS), RULE)
    assert (ended.rows, len(ended.sessions), ended.item_ids) == (1, 0, [])
    with pytest.raises(NextclickError, match="0 distinct items"):
        join([empty, ended])
