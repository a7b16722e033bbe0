from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.data.batches import session_parallel
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from tests.harness.markov_shoppers import markov_shoppers


def frame(rows: list[tuple[str, str, float]], kinds: list[str] | None = None) -> pd.DataFrame:
    log = pd.DataFrame(rows, columns=["session_id", "item_id", "s"])
    log["event_time_ms"] = (log.pop("s") * 1000).astype("int64")
    log["kind"] = kinds or "view"
    return log


LOG = frame(
    [("a", "x", 0), ("b", "y", 5), ("a", "y", 100), ("a", "x", 1901), ("b", "x", 1805), ("a", "z", 1902)]
)


def parts(sessions: Sessions) -> list[tuple[str, list[int]]]:
    return [
        (str(sessions.session_ids[s]), sessions.items[sessions.offsets[s] : sessions.offsets[s + 1]].tolist())
        for s in range(len(sessions))
    ]


def test_silence_longer_than_the_gap_cuts_and_the_gap_itself_does_not() -> None:
    sessions = Sessions.from_frame(LOG, Vocabulary.from_frame(LOG), SessionRule(1800))
    assert parts(sessions) == [("a", [0, 1]), ("b", [1, 0]), ("a", [0, 2])]
    assert sessions.pairs == 3


def test_without_a_gap_sessions_are_as_logged() -> None:
    sessions = Sessions.from_frame(LOG, Vocabulary.from_frame(LOG), SessionRule(None))
    assert parts(sessions) == [("a", [0, 1, 0, 2]), ("b", [1, 0])]


def test_session_end_cuts_and_is_no_item() -> None:
    log = frame(
        [("a", "x", 0), ("a", "y", 1), ("a", "", 2), ("a", "x", 3)], ["view", "view", "session_end", "view"]
    )
    vocabulary = Vocabulary.from_frame(log)
    assert vocabulary.item_ids.tolist() == ["x", "y"]
    assert parts(Sessions.from_frame(log, vocabulary, SessionRule(1800))) == [("a", [0, 1]), ("a", [0])]


def test_a_late_event_neither_resets_nor_moves_the_session_back() -> None:
    rule = SessionRule(1800, allowed_lateness_s=60)
    assert not rule.resets(5_000_000, 1_000)
    log = frame([("a", "x", 2000), ("a", "y", 0), ("a", "x", 3700)])
    sessions = Sessions.from_frame(log, Vocabulary.from_frame(log), rule)
    assert len(sessions) == 1


def test_the_watermark_ends_a_session_whose_next_event_comes_too_late() -> None:
    rule = SessionRule(1800, allowed_lateness_s=60)
    assert not rule.ends(0, 100_000, watermark_ms=1_860_000)
    assert rule.ends(0, 100_000, watermark_ms=1_860_001)
    assert not SessionRule(None).ends(0, 10**12, watermark_ms=10**12)


def test_unknown_items_leave_with_the_sessions_they_made() -> None:
    vocabulary = Vocabulary(["x", "y"], np.array([1, 1]))
    sessions = Sessions.from_frame(LOG, vocabulary, SessionRule(1800))
    assert parts(sessions.known()) == [("a", [0, 1]), ("b", [1, 0])]


def test_one_item_is_no_vocabulary_and_an_empty_log_has_no_sessions() -> None:
    with pytest.raises(NextclickError, match="1 distinct items"):
        Vocabulary.from_frame(LOG[LOG["item_id"] == "x"])
    with pytest.raises(NextclickError, match="no events"):
        Sessions.from_frame(LOG[:0], Vocabulary.from_frame(LOG), SessionRule(None))


def test_a_vocabulary_comes_back_from_its_text() -> None:
    vocabulary = Vocabulary(["ä", "b"], np.array([3, 1]), {"ä": "Ärmel"})
    again = Vocabulary.from_json(vocabulary.to_json())
    assert again.item_ids.tolist() == ["ä", "b"]
    assert again.counts.tolist() == [3, 1]
    assert again.titles == {"ä": "Ärmel"}
    assert again.encode(["b", "?", "ä"]).tolist() == [1, -1, 0]
    assert again.encode(["b", "?"] * 600).tolist() == [1, -1] * 600


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=30), st.integers(1, 8), st.integers(1, 5), st.booleans()
)
def test_session_parallel_batches_hold_every_pair_once_and_go_on_where_their_lanes_were(
    lengths: list[int], lanes: int, unroll: int, shuffled: bool
) -> None:
    offsets = np.r_[0, np.cumsum(lengths)].astype(np.int64)
    rows = np.arange(offsets[-1])
    sessions = Sessions(offsets, rows, rows, np.array([str(i) for i in range(len(lengths))], object))
    order = np.random.default_rng(0).permutation(len(lengths)) if shuffled else None
    seen: list[int] = []
    last_of = np.zeros(0, np.int64)
    for batch in session_parallel(sessions, lanes, unroll, order):
        sizes = batch.sizes
        assert (np.diff(sizes) <= 0).all() and sizes[-1] > 0
        assert len(sizes) <= unroll and sizes[0] == len(batch.sources) <= lanes
        steps = np.split(batch.rows, np.cumsum(sizes)[:-1])
        begins = batch.sources < 0
        assert set(steps[0][begins]) <= set(offsets)
        np.testing.assert_array_equal(steps[0][~begins], last_of[batch.sources[~begins]] + 1)
        assert len(set(batch.sources[~begins])) == (~begins).sum()
        last_of = steps[0].copy()
        for before, after in pairwise(steps):
            np.testing.assert_array_equal(after, before[: len(after)] + 1)
            last_of[: len(after)] = after
        assert not set(np.concatenate([steps[0][~begins], *steps[1:]])) & set(offsets)
        seen += batch.rows.tolist()
    last = set((offsets[1:] - 1).tolist())
    assert sorted(seen) == [row for row in rows if row not in last]


def test_a_sample_has_about_as_many_targets_as_asked_for() -> None:
    frame = markov_shoppers(sessions=2_000, items=100).frame
    vocabulary = Vocabulary([f"i{n}" for n in range(100)], np.ones(100, np.int64))
    sessions = Sessions.from_frame(frame, vocabulary, SessionRule(1800))
    assert 900 < sessions.sample(1_000).pairs < 1_300
    assert len(sessions.sample(10**9)) == len(sessions)
