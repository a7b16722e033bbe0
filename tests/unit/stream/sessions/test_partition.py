from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.events import Event
from stream.sessions.offsets import AppliedOffsets, PendingOffsets
from stream.sessions.partition import BUCKET_OFFSETS, EXPIRIES_PER_PASS, WAVES_BETWEEN_EXPIRIES, OpenPartition
from stream.sessions.session_state import SessionState, new_state
from stream.sessions.store import CORRUPT_MARK, Batch, CorruptStoreError, SessionStore
from stream.sessions.watermark import NO_WATERMARK, Watermark
from stream.wave.waves import Arrival
from stream.worker.lanes import Lanes


def state(last_ms: int, *offsets: int) -> SessionState:
    made = new_state()
    made.last_event_time_ms = last_ms
    made.position = len(offsets)
    made.recent_items = [f"i{offset}" for offset in offsets]
    made.recent_offsets = list(offsets)
    return made


def put(partition: OpenPartition, wave: int, session_id: str, kept: SessionState, before: int | None) -> None:
    for offset in kept.recent_offsets:
        partition.ensure_bucket(offset, Watermark(offset))
    partition.put(wave, session_id, kept, before)


def seal(
    partition: OpenPartition, wave: int, finished: list[int], position: int, watermark_ms: int
) -> AppliedOffsets:
    """Seal a wave with `finished`; the record at `position` is pending if a later one is finished."""
    partition.pending = pending = PendingOffsets()
    watermark = Watermark(watermark_ms)
    is_waiting = any(offset > position for offset in finished)
    for offset in sorted({*finished, position} if is_waiting else finished):
        pending.add(offset, watermark, watermark)
    if not is_waiting:
        pending.advance(position, watermark)
    batch, applied = partition.seal(wave, finished)
    partition.write(batch, applied)
    partition.drop_written(wave)
    return applied


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


def test_the_applied_offsets_name_what_was_stepped_after_a_waiting_event(tmp_path: Path) -> None:
    partition = OpenPartition(0, SessionStore(tmp_path / "p0"))
    applied = seal(partition, 0, [0, 1, 3, 4], 2, 10)
    assert (applied.top, applied.pending) == (5, [2])
    partition.store.close()
    again = OpenPartition(0, SessionStore(tmp_path / "p0"))
    assert [again.is_duplicate(offset) for offset in range(6)] == [True, True, False, True, True, False]
    for offset in range(2, 5):
        again.pending.add(offset, Watermark(10), Watermark(10))
    # Offsets 3 and 4 come again, and are in the states although no wave of now has finished them.
    assert again.seal(1, [])[1].pending == [2]
    _, applied = again.seal(2, [2])
    assert (applied.position, applied.top, applied.pending) == (3, 5, [])
    assert (again.is_duplicate(2), again.is_duplicate(4), again.is_duplicate(5)) == (True, True, False)
    _, applied = again.seal(3, [3, 4])
    assert (applied.position, applied.top, applied.pending) == (5, 5, [])
    again.store.close()


def test_recovery_starts_at_the_oldest_kept_item_of_any_open_session(tmp_path: Path) -> None:
    partition = OpenPartition(0, SessionStore(tmp_path / "p0"))
    old, young = BUCKET_OFFSETS + 5, 7 * BUCKET_OFFSETS
    put(partition, 0, "old", state(1, old, young + 1), None)
    put(partition, 0, "young", state(1, young), None)
    applied = seal(partition, 0, [], young + 2, 1)
    assert applied.recover_from == BUCKET_OFFSETS
    put(partition, 1, "old", state(1, young + 1), old)
    assert seal(partition, 1, [], young + 2, 1).recover_from == young
    partition.delete(2, "old", young + 1)
    partition.delete(2, "young", young)
    applied = seal(partition, 2, [], young + 2, 1)
    assert (applied.recover_from, applied.sessions) == (young + 2, 0)
    partition.store.close()


def test_silent_sessions_expire_and_living_ones_stay(tmp_path: Path) -> None:
    partition = OpenPartition(0, SessionStore(tmp_path / "p0"))
    put(partition, 0, "silent", state(1_000, 0), None)
    put(partition, 0, "living", state(1_000, 1), None)
    seal(partition, 0, [0, 1], 2, 1_000)
    put(partition, 1, "living", state(9_000, 1, 2), 1)
    seal(partition, 1, [2], 3, 9_000)
    assert partition.expire(2, silence_ms=5_000, events=1) == 1
    seal(partition, 2, [], 3, 9_000)
    silent, living = partition.load(["silent", "living"])
    assert silent is None
    assert living is not None
    assert partition.sessions == 1
    # The index entry of the living one has moved to its newest time.
    assert [time_ms for _, time_ms, _ in partition.store.due(10**12, 10)[0]] == [9_000]
    assert partition.expire(3, silence_ms=0, events=1) == 0, "not before some waves later"
    seal(partition, 3, [], 3, 20_000)
    assert partition.expire(3 + WAVES_BETWEEN_EXPIRIES, silence_ms=5_000, events=1) == 1
    partition.store.close()


def test_a_stepped_state_is_read_from_memory_until_it_is_written(tmp_path: Path) -> None:
    partition = OpenPartition(0, SessionStore(tmp_path / "p0"))
    put(partition, 0, "s", state(1, 0), None)
    partition.pending.add(0, NO_WATERMARK, Watermark(1))
    batch, applied = partition.seal(0, [0])
    assert partition.store.load(["s"]) == [None]
    assert partition.load(["s"]) == [state(1, 0)]
    partition.write(batch, applied)
    partition.drop_written(0)
    assert partition.load(["s"]) == [state(1, 0)]
    partition.store.close()


def test_recovery_begins_with_the_watermark_before_its_first_record(tmp_path: Path) -> None:
    partition = OpenPartition(0, SessionStore(tmp_path / "p0"))
    first = 3 * BUCKET_OFFSETS
    put(partition, 0, "a", state(1, first, first + 1), None)
    put(partition, 0, "b", state(1, 5 * BUCKET_OFFSETS), None)
    applied = seal(partition, 0, [], 5 * BUCKET_OFFSETS + 1, 10**9)
    assert (applied.recover_from, applied.recover_watermark) == (first, Watermark(first))
    partition.store.close()
    again = OpenPartition(0, SessionStore(tmp_path / "p0"))
    put(again, 1, "a", state(1, 5 * BUCKET_OFFSETS + 2), first)
    applied = seal(again, 1, [], 5 * BUCKET_OFFSETS + 3, 10**9)
    assert (applied.recover_from, applied.recover_watermark) == (
        5 * BUCKET_OFFSETS,
        Watermark(5 * BUCKET_OFFSETS),
    )
    assert set(again.store.buckets()) == {5}
    again.store.close()


def test_a_session_indexed_before_the_key_that_expiry_reached_expires_too(tmp_path: Path) -> None:
    partition = OpenPartition(0, SessionStore(tmp_path / "p0"))
    put(partition, 0, "early", state(1_000, 0), None)
    seal(partition, 0, [0], 1, 50_000)
    assert partition.expire(1, silence_ms=5_000, events=1) == 1
    put(partition, 1, "late", state(500, 1), None)
    seal(partition, 1, [1], 2, 50_000)
    assert partition.expire(1 + WAVES_BETWEEN_EXPIRIES, silence_ms=5_000, events=1) == 1
    seal(partition, 2, [], 2, 50_000)
    assert partition.sessions == 0
    partition.store.close()


def test_a_session_indexed_in_a_wave_that_is_not_written_yet_is_not_left_behind(tmp_path: Path) -> None:
    partition = OpenPartition(0, SessionStore(tmp_path / "p0"))
    put(partition, 0, "old", state(1_000, 0), None)
    seal(partition, 0, [0], 1, 50_000)
    put(partition, 1, "slow-clock", state(500, 1), None)
    assert partition.expire(1, silence_ms=5_000, events=1) == 1, "the old one; the other is not written"
    seal(partition, 1, [1], 2, 50_000)
    assert partition.expire(1 + WAVES_BETWEEN_EXPIRIES, silence_ms=5_000, events=1) == 1
    seal(partition, 2, [], 2, 50_000)
    assert partition.sessions == 0
    partition.store.close()


def test_a_session_that_is_in_a_step_now_does_not_expire_under_it(tmp_path: Path) -> None:
    partition = OpenPartition(0, SessionStore(tmp_path / "p0"))
    put(partition, 0, "old", state(1_000, 0), None)
    put(partition, 0, "stepped", state(1_000, 1), None)
    seal(partition, 0, [0, 1], 2, 50_000)
    assert partition.load_for_step(["stepped"])[0] is not None
    assert partition.expire(0, silence_ms=5_000, events=1) == 1
    seal(partition, 1, [], 2, 50_000)
    put(partition, 2, "stepped", state(1_000, 2), 1)
    seal(partition, 2, [2], 3, 50_000)
    assert partition.sessions == 1
    assert partition.expire(WAVES_BETWEEN_EXPIRIES, silence_ms=5_000, events=1) == 1, "its entry was kept"
    assert seal(partition, 3, [], 3, 50_000).sessions == 0
    partition.store.close()


def test_without_events_all_sessions_that_the_wall_clock_ends_expire_at_once(tmp_path: Path) -> None:
    partition = OpenPartition(0, SessionStore(tmp_path / "p0"))
    for number in range(3_000):
        put(partition, 0, f"s{number}", state(1_000, number), None)
    seal(partition, 0, [], 3_000, 2_000)
    partition.pending.advance(3_000, Watermark(9_000))
    assert partition.expire_idle(1, 5_000) == 3_000
    assert seal(partition, 1, [], 3_000, 9_000).watermark == Watermark(9_000)
    partition.store.close()


def test_entries_of_sessions_that_ended_do_not_keep_a_silent_one_open(tmp_path: Path) -> None:
    partition = OpenPartition(0, SessionStore(tmp_path / "p0"))
    ended = EXPIRIES_PER_PASS + 5
    for number in range(ended):
        put(partition, 0, f"s{number}", state(1_000, number), None)
    put(partition, 0, "silent", state(1_500, ended), None)
    seal(partition, 0, [], ended + 1, 2_000)
    for number in range(ended):
        partition.delete(1, f"s{number}", number)
    seal(partition, 1, [], ended + 1, 2_000)
    partition.pending.advance(ended + 1, Watermark(9_000))
    assert partition.expire_idle(2, 5_000) == 1
    assert partition.sessions == 0
    partition.store.close()


def test_a_bucket_keeps_the_watermark_before_its_first_record_whichever_comes_first(tmp_path: Path) -> None:
    partition = OpenPartition(0, SessionStore(tmp_path / "p0"))
    later, first = Watermark(50, 900, "b"), Watermark(50, 400, "a")
    for offset, before in ((7, later), (3, first), (5, later)):
        partition.ensure_bucket(offset, before)
    partition.put(0, "s", state(60, 3), None)
    partition.pending.advance(8, Watermark(60))
    assert partition.seal(0, [])[1].recover_watermark == first
    partition.store.close()


def test_a_session_with_much_of_the_traffic_does_not_make_the_pending_offsets_many(tmp_path: Path) -> None:
    """Its events wait long after the others: the applied offsets list the pending ones only."""
    partition = OpenPartition(0, SessionStore(tmp_path / "p0"))
    lanes = Lanes(2, 64)
    offset = longest = 0
    for wave in range(600):
        while len(lanes) < 8 * 2 * 64:
            session = "busy" if offset % 20 == 0 else f"s{offset}"
            lanes.add(Arrival(0, offset, Event(session, 1, "i"), NO_WATERMARK, 0))
            partition.pending.add(offset, NO_WATERMARK, NO_WATERMARK)
            offset += 1
        for cut in lanes.cut(wave % 2, 1):
            _, applied = partition.seal(wave, [arrival.offset for arrival in cut.arrivals])
            partition.drop_written(wave)
            longest = max(longest, len(applied.pending))
    assert applied.top - applied.position > 5_000
    assert longest <= len(lanes) + 64
    partition.store.close()


def test_a_state_that_cannot_be_read_marks_its_store(tmp_path: Path) -> None:
    partition = OpenPartition(0, SessionStore(tmp_path / "p0"))
    batch = Batch()
    batch.put_state("s", b"rubbish")
    partition.store.write(batch)
    with pytest.raises(CorruptStoreError):
        partition.load(["s"])
    partition.store.close()
    assert (tmp_path / "p0" / CORRUPT_MARK).exists()
