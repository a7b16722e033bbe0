from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.splits import by_user, split_users, temporal_split, validation_of
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.evaluation.rank_targets import rank_targets
from model.networks.baselines.pop import Pop


def log_of(lengths: dict[str, int]) -> pd.DataFrame:
    """Users who take turns, in sessions of three; of each the n-th event is of item user-n."""
    rows = [
        (n, user, f"{user}-{n // 3}", f"{user}-{n}")
        for user, length in lengths.items()
        for n in range(length)
    ]
    rows.sort(key=lambda row: row[0])
    frame = pd.DataFrame(rows, columns=["n", "user_id", "session_id", "item_id"])
    frame["event_time_ms"] = np.arange(len(frame)) * 10_000_000
    frame["kind"] = "view"
    return frame


def split_of(frame: pd.DataFrame) -> tuple[dict[str, Sessions], Vocabulary]:
    frame = by_user(frame)
    vocabulary = Vocabulary.from_frame(frame, ("user_id",))
    users = Sessions.from_frame(frame, vocabulary, SessionRule(None))
    training, test, vocabulary = split_users(users, vocabulary)
    return {"training": training, "validation": validation_of(test), "test": test}, vocabulary


def names(sessions: Sessions, vocabulary: Vocabulary, user: str) -> list[str | None]:
    number = list(sessions.session_ids).index(user)
    items = sessions.items[sessions.offsets[number] : sessions.offsets[number + 1]]
    return [None if item < 0 else str(vocabulary.item_ids[item]) for item in items]


def test_of_each_user_the_newest_tenth_is_held_out_for_validation_and_test_in_order() -> None:
    lengths = {"a": 40, "b": 20, "c": 10, "d": 19, "e": 9, "f": 1}
    parts, vocabulary = split_of(log_of(lengths))
    ends = [dict(zip(part.session_ids, part.lengths.tolist(), strict=True)) for part in parts.values()]
    assert ends[0] == {"a": 36, "b": 18, "c": 9, "d": 18, "e": 9, "f": 1}
    assert ends[1] == {"a": 38, "b": 19}
    assert ends[2] == {"a": 40, "b": 20, "c": 10, "d": 19}
    assert parts["training"].is_target is None
    for name, before in (("validation", ends[0]), ("test", ends[1] | {"c": 9, "d": 18})):
        part = parts[name]
        assert part.is_target is not None
        for number, user in enumerate(part.session_ids):
            marks = part.is_target[part.offsets[number] : part.offsets[number + 1]].tolist()
            assert marks == [False] * before[user] + [True] * (len(marks) - before[user])
    assert names(parts["training"], vocabulary, "c") == [f"c-{n}" for n in range(9)]
    # Items that training has not seen are unknown.
    assert names(parts["test"], vocabulary, "c") == [*(f"c-{n}" for n in range(9)), None]


def test_users_keep_their_own_codes() -> None:
    parts, vocabulary = split_of(log_of({"a": 12, "b": 30}))
    known = vocabulary.features.values["user_id"]
    for part in parts.values():
        of_session = part.columns["user_id"][part.offsets[:-1]]
        assert [known[code] for code in of_session] == list(part.session_ids)


def test_events_without_a_user_and_session_ends_are_left_out() -> None:
    frame = log_of({"a": 20, "b": 20})
    frame.loc[frame.index[3], "user_id"] = None
    frame.loc[frame.index[8], "kind"] = "session_end"
    left = by_user(frame)
    assert len(left) == 38
    assert (left["session_id"] == left["user_id"]).all()
    assert frame["session_id"].nunique() > 2, "the log itself stays as it is"
    with pytest.raises(NextclickError, match="no event of the log has a user"):
        by_user(frame.assign(user_id=None))
    with pytest.raises(NextclickError, match="no event of the log has a user"):
        by_user(frame.drop(columns="user_id"))


def test_a_split_that_holds_nothing_out_is_refused() -> None:
    with pytest.raises(NextclickError, match="none of the 2 users has 10 events"):
        split_of(log_of({"a": 9, "b": 8}))


def test_only_targets_are_ranked_and_the_events_before_them_lead_up_to_them() -> None:
    vocabulary = Vocabulary([f"i{n}" for n in range(8)], np.arange(8, 0, -1))
    items = np.array([0, 1, -1, 2, 3, -1, 4, 5, 6, 7, 0])
    is_target = np.array([0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 1], bool)
    ids = np.array(["a", "b", "c"], object)
    whole = Sessions(np.array([0, 7, 9, 11]), items, np.arange(11), ids)
    sessions = replace(whole, is_target=is_target)

    def ranks(sessions: Sessions, **options: Any) -> tuple[list[tuple[int, int]], int]:
        ranked = rank_targets(Pop(vocabulary), sessions, **options)
        found = zip(ranked.sessions.tolist(), ranked.ranks.tolist(), strict=True)
        return sorted(found), ranked.unknown

    # By POP, items rank by their index.
    assert ranks(sessions) == ([(0, 4), (0, 5), (2, 1)], 1)
    # Of those before the targets of a, three are known items that rank before them: 0, 1 and 2.
    assert ranks(sessions, exclude_session_items=True) == ([(0, 1), (0, 1), (2, 1)], 1)
    all_items = {"popularity_V": vocabulary.counts}
    assert ranks(sessions, **all_items) == ([(0, 0), (0, 4), (0, 5), (2, 1)], 1)
    found, unknown = ranks(whole)
    assert (len(found), unknown) == (6, 2)


def test_of_a_user_all_that_was_consumed_is_masked_however_long_ago() -> None:
    vocabulary = Vocabulary([f"i{n}" for n in range(70)], np.arange(70, 0, -1))
    items = np.arange(70)
    sessions = Sessions(np.array([0, 70]), items, items, np.array(["a"], object))
    of_user = replace(sessions, is_target=items == 69)
    assert rank_targets(Pop(vocabulary), of_user, exclude_session_items=True).ranks.tolist() == [1]
    # A session masks what the stream keeps of it: the newest 50.
    assert rank_targets(Pop(vocabulary), sessions, exclude_session_items=True).ranks[-1] == 20


def test_the_split_by_time_keeps_sessions_whole() -> None:
    log = pd.DataFrame({"session_id": list("abaaba"), "item_id": list("xyyxxz")})
    log["event_time_ms"] = [0, 5_000, 100_000, 1_901_000, 1_805_000, 1_902_000]
    earlier, later = temporal_split(log, test_from_ms=5_000)
    assert set(earlier["session_id"]) == {"a"}
    assert set(later["session_id"]) == {"b"}
    with pytest.raises(NextclickError, match="leaves 0 events before"):
        temporal_split(log, test_from_ms=0)
