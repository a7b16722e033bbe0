import random
from pathlib import Path

import pytest

from model.errors import NextclickError
from stream.events import Event
from stream.sessions.offsets import AppliedOffsets, Bucket
from stream.sessions.session_state import new_state, pack_state, unpack_state
from stream.sessions.store import CORRUPT_MARK, Batch, CorruptStoreError, SessionStore, move_aside
from stream.sessions.watermark import Watermark


def test_states_and_applied_offsets_survive_closing(tmp_path: Path) -> None:
    store = SessionStore(tmp_path / "p0")
    assert store.applied is None
    batch = Batch()
    state = new_state()
    for offset in (1, 2):
        state.remember(Event("s1", 5, f"i{offset}"), offset, (), 50)
    batch.put_state("s1", pack_state(state))
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
    assert unpack_state(first) == state
    assert second is None
    again.close()


def test_a_store_that_another_has_open_is_an_error_and_no_corruption(tmp_path: Path) -> None:
    store = SessionStore(tmp_path / "p0")
    with pytest.raises(NextclickError, match="in use"):
        SessionStore(tmp_path / "p0")
    store.close()


@pytest.mark.parametrize("broken", ["CURRENT", "applied offsets"])
def test_a_broken_store_is_found_at_opening_and_kept_aside(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "p0"
    store = SessionStore(path)
    batch = Batch()
    batch.put_applied(AppliedOffsets(3))
    if broken == "applied offsets":
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
