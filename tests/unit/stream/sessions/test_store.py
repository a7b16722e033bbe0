import random
from pathlib import Path

import pytest

from model.errors import NextclickError
from stream.events import Event
from stream.sessions.offsets import AppliedOffsets, Bucket, PendingOffsets
from stream.sessions.partition import BUCKET_OFFSETS, EXPIRIES_PER_PASS, WAVES_BETWEEN_EXPIRIES, OpenPartition
from stream.sessions.session_state import SessionState, new_state, pack_state, unpack_state
from stream.sessions.store import CORRUPT_MARK, Batch, CorruptStoreError, SessionStore, move_aside
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


def test_states_and_fence_survive_closing(tmp_path: Path) -> None:
    store = SessionStore(tmp_path / "p0")
    assert store.applied is None
    batch = Batch()
    batch.put_state("s1", pack_state(state(5, 1, 2)))
    applied = AppliedOffsets(3, Watermark(5, 9, "ahead"), 9, [3, 7], 1, 0, Watermark(2))
    batch.put_applied(applied)
    batch.put_bucket(300, Bucket(4, Watermark(1), 3_000_007))
    store.write(batch)
    store.close()
    again = SessionStore(tmp_path / "p0")
    assert again.applied == applied
    assert again.buckets() == {300: Bucket(4, Watermark(1), 3_000_007)}
    first, second = again.load(["s1", "s2"])
    assert first is not None
    assert unpack_state(first) == state(5, 1, 2)
    assert second is None
    again.close()


def test_a_store_that_another_has_open_is_an_error_and_no_corruption(tmp_path: Path) -> None:
    store = SessionStore(tmp_path / "p0")
    with pytest.raises(NextclickError, match="in use"):
        SessionStore(tmp_path / "p0")
    store.close()


@pytest.mark.parametrize("broken", ["CURRENT", "fence"])
def test_a_broken_store_is_found_at_opening_and_kept_aside(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "p0"
    store = SessionStore(path)
    batch = Batch()
    batch.put_applied(AppliedOffsets(3))
    if broken == "fence":
        batch._batch.put(b"m", b"\0\0\0\0rubbish")
    store.write(batch)
    store.close()
    if broken == "CURRENT":
        (path / "CURRENT").write_text("rubbish")
    with pytest.raises(CorruptStoreError):
        SessionStore(path)
    aside = move_aside(path)
    assert aside.exists()
    assert not path.exists()
    SessionStore(path).close()


def put(partition: OpenPartition, wave: int, session_id: str, kept: SessionState, before: int | None) -> None:
    for offset in kept.recent_offsets:
        partition.ensure_bucket(offset, Watermark(offset))
    partition.put(wave, session_id, kept, before)


def seal(
    partition: OpenPartition, wave: int, taken: list[int], position: int, watermark_ms: int
) -> AppliedOffsets:
    """Seal a wave with `taken`; the record at `position` waits if one behind it is taken."""
    partition.pending = pending = PendingOffsets()
    watermark = Watermark(watermark_ms)
    is_waiting = any(offset > position for offset in taken)
    for offset in sorted({*taken, position} if is_waiting else taken):
        pending.add(offset, watermark, watermark)
    if not is_waiting:
        pending.advance(position, watermark)
    batch, applied = partition.seal(wave, taken)
    partition.write(batch, applied)
    partition.drop_written(wave)
    return applied


def test_the_fence_knows_what_was_taken_past_a_waiting_event(tmp_path: Path) -> None:
    partition = OpenPartition(0, SessionStore(tmp_path / "p0"))
    applied = seal(partition, 0, [0, 1, 3, 4], 2, 10)
    assert (applied.top, applied.pending) == (5, [2])
    partition.store.close()
    again = OpenPartition(0, SessionStore(tmp_path / "p0"))
    assert [again.is_duplicate(offset) for offset in range(6)] == [True, True, False, True, True, False]
    for offset in range(2, 5):
        again.pending.add(offset, Watermark(10), Watermark(10))
    # Offsets 3 and 4 come again, and are in the states although no wave has taken them now.
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


def test_a_session_indexed_behind_what_expiry_went_through_expires_too(tmp_path: Path) -> None:
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


def damage_a_table(path: Path) -> None:
    table = max(path.glob("*.sst"), key=lambda file: file.stat().st_size)
    content = bytearray(table.read_bytes())
    content[60_000:60_100] = bytes(100)
    table.write_bytes(content)


def test_a_table_found_damaged_while_reading_is_refused_at_the_next_opening(tmp_path: Path) -> None:
    path = tmp_path / "p0"
    store = SessionStore(path)
    batch = Batch()
    for number in range(100):
        batch.put_state(f"s{number}", random.Random(number).randbytes(1_000))
    batch.put_applied(AppliedOffsets(3))
    store.write(batch)
    store.close()
    damage_a_table(path)
    store = SessionStore(path)
    with pytest.raises(CorruptStoreError):
        store.load([f"s{number}" for number in range(100)])
    store.close()
    assert (path / CORRUPT_MARK).exists()
    with pytest.raises(CorruptStoreError, match="Corruption"):
        SessionStore(path)


def test_a_truncated_table_is_found_at_opening(tmp_path: Path) -> None:
    path = tmp_path / "p0"
    store = SessionStore(path)
    batch = Batch()
    batch.put_applied(AppliedOffsets(3))
    store.write(batch)
    store.close()
    table = next(path.glob("*.sst"))
    table.write_bytes(table.read_bytes()[:-50])
    with pytest.raises(CorruptStoreError):
        SessionStore(path)


def test_a_folder_without_rights_is_an_error_and_no_corruption(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NextclickError, match="cannot be used") as raised:
        SessionStore(tmp_path / "file" / "p0")
    assert not isinstance(raised.value, CorruptStoreError)


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


def test_without_events_everything_that_the_wall_leaves_behind_expires_at_once(tmp_path: Path) -> None:
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


def test_a_session_with_much_of_the_traffic_does_not_make_the_fence_long(tmp_path: Path) -> None:
    """It waits far behind the others: the fence names what waits, not what is done."""
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
