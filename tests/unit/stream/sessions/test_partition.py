from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.events import Event
from stream.sessions.partition import OpenPartition
from stream.sessions.session_state import SessionState, new_state
from stream.sessions.store import SessionStore
from stream.sessions.watermark import NO_WATERMARK


@pytest.fixture
def partition(tmp_path: Path) -> Iterator[OpenPartition]:
    store = SessionStore(tmp_path / "0")
    yield OpenPartition(0, store)
    store.close()


def step(partition: OpenPartition, wave: int, state: SessionState, before: int | None) -> None:
    """One event more of session s, written or not as the caller likes."""
    event = Event("s", 1000 + wave, f"i{wave}")
    partition.pending.add(wave, NO_WATERMARK, NO_WATERMARK)
    partition.ensure_bucket(wave, NO_WATERMARK)
    state.remember(event, wave, (), 50)
    partition.put(wave, "s", state, before)


def test_a_session_in_step_is_seen_as_it_was_written_and_after_it_as_it_is(
    partition: OpenPartition,
) -> None:
    assert partition.read_state("s") is None
    step(partition, 0, new_state(), None)
    partition.write(*partition.seal(0, [0]))
    (state,) = partition.load_for_step(["s"])
    assert state is not None
    assert partition.is_in_step("s")
    # Half a step: the copy is neither this nor changed by it.
    state.recent_items.append("half")
    seen = partition.read_state("s")
    assert seen is not None and seen.recent_items == ["i0"]
    state.recent_items.pop()
    step(partition, 1, state, 0)
    assert not partition.is_in_step("s")
    copy = partition.read_state("s")
    assert copy is not None and copy.recent_items == ["i0", "i1"]
    copy.recent_items.append("mine")
    assert partition.load(["s"]) == [state] and state.recent_items == ["i0", "i1"]
    partition.delete(2, "s", 0)
    assert partition.read_state("s") is None
