import numpy as np
import pandas as pd
import pytest

from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.splits import split_at, split_sessions
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError


def titled(*items: tuple[str, str | None]) -> pd.DataFrame:
    """Sessions of two events, an hour apart; (item, title)."""
    return pd.DataFrame(
        {
            "session_id": [f"s{n // 2}" for n in range(len(items))],
            "item_id": [item for item, _ in items],
            "title": [title for _, title in items],
            "event_time_ms": [(n // 2) * 3_600_000 + n for n in range(len(items))],
        }
    )


FRAME = titled(("a", "A"), ("b", None), ("b", None), ("a", "A"), ("new", "New"), ("nameless", None))


def whole() -> tuple[Vocabulary, Sessions]:
    vocabulary = Vocabulary.from_frame(FRAME)
    return vocabulary, Sessions.from_frame(FRAME, vocabulary, SessionRule(None))


def test_a_catalogue_adds_items_without_a_count_behind_the_others() -> None:
    vocabulary = whole()[0].with_titles({"c": "C", "b": "B", "d": ""})
    assert vocabulary.item_ids.tolist() == ["a", "b", "new", "nameless", "c", "d"]
    assert vocabulary.counts.tolist() == [2, 2, 1, 1, 0, 0]
    assert vocabulary.titles == {"a": "A", "new": "New", "c": "C", "b": "B", "d": ""}
    assert Vocabulary.from_json(vocabulary.to_json()).counts.tolist() == vocabulary.counts.tolist()


def test_a_split_keeps_items_that_have_a_title_where_it_is_asked_to() -> None:
    vocabulary, sessions = whole()
    vocabulary = vocabulary.with_titles({"c": "C"})
    earlier, later, kept = split_at(sessions, vocabulary, 2, keep_titled=True)
    assert kept.item_ids.tolist() == ["a", "b", "new", "c"]
    assert kept.counts.tolist() == [2, 2, 0, 0]
    assert kept.decode(earlier.items) == ["a", "b", "b", "a"]
    assert later.items.tolist() == [2, -1], "what has neither a count nor a title is unknown"
    _, later, without = split_sessions(sessions, vocabulary, test_from_ms=2 * 3_600_000)
    assert without.item_ids.tolist() == ["a", "b"]
    assert later.items.tolist() == [-1, -1]


def test_titles_do_not_make_up_for_events() -> None:
    vocabulary = Vocabulary(["a", "b", "c"], np.array([1, 0, 0]), {"b": "B", "c": "C"})
    with pytest.raises(NextclickError, match="1 distinct items"):
        vocabulary.restricted(vocabulary.counts, keep_titled=True)
