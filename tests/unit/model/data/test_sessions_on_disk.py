from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from model.data import sessions_on_disk as session_file
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.sessions_on_disk import SessionFile
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError

EVENTS = st.lists(
    st.tuples(
        st.sampled_from("stuv"),
        st.sampled_from("abcde"),
        st.integers(0, 3000),
        st.sampled_from(["view", "view", "view", "session_end"]),
    ),
    min_size=3,
    max_size=60,
)


def frame_of(events: list[tuple[str, str, int, str]]) -> pd.DataFrame:
    events = sorted(events, key=lambda event: event[2])
    frame = pd.DataFrame(events, columns=["session_id", "item_id", "s", "kind"])
    frame["event_time_ms"] = frame.pop("s").astype("int64") * 1000
    return frame


def as_lists(sessions: Sessions, vocabulary: Vocabulary) -> list[list[tuple[str, int]]]:
    """Each session's items and times; sessions that begin at the same moment in one order."""
    lists = [
        [
            (str(vocabulary.item_ids[sessions.items[row]]), int(sessions.times_ms[row]))
            for row in range(sessions.offsets[s], sessions.offsets[s + 1])
        ]
        for s in range(len(sessions))
    ]
    return sorted(lists, key=lambda one: (one[0][1], one))


@pytest.mark.parametrize("gap_s", [None, 900])
@given(events=EVENTS, size=st.integers(1, 20))
@hypothesis_settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
def test_sessions_by_way_of_the_disk_are_those_made_in_memory(
    gap_s: float | None, events: list[tuple[str, str, int, str]], size: int, tmp_path: Path
) -> None:
    frame = frame_of(events)
    chunks = [frame[start : start + size].reset_index(drop=True) for start in range(0, len(frame), size)]
    rule = SessionRule(gap_s)
    if frame.loc[frame["kind"] == "view", "item_id"].nunique() < 2:
        with pytest.raises(NextclickError, match="distinct items"):
            SessionFile(tmp_path).write(chunks, rule)
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session_file, "BLOCK", 8)
        sessions, vocabulary = SessionFile(tmp_path).write(chunks, rule)
    in_memory = Vocabulary.from_frame(frame)
    expected = Sessions.from_frame(frame, in_memory, rule)
    assert vocabulary.item_ids.tolist() == in_memory.item_ids.tolist()
    assert vocabulary.counts.tolist() == in_memory.counts.tolist()
    assert as_lists(sessions, vocabulary) == as_lists(expected, in_memory)
    assert (np.diff(sessions.times_ms[sessions.offsets[:-1]]) >= 0).all()


def test_a_log_without_events_or_out_of_order_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NextclickError, match="no events"):
        SessionFile(tmp_path / "a").write([], SessionRule(None))
    frame = frame_of([("s", "a", 5, "view"), ("s", "b", 9, "view")])
    with pytest.raises(ValueError, match="order"):
        SessionFile(tmp_path / "b").write([frame, frame], SessionRule(None))
