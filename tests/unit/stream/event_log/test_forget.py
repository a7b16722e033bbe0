import fcntl
from pathlib import Path

import pytest

from model.errors import NextclickError
from stream.event_log.archive_folder import REWRITE_LOCK, ArchiveFolder
from stream.event_log.columns import Record
from stream.event_log.forget import UNFINISHED, Person, archived_sessions_of, behind, remove_from_archive
from stream.event_log.window import read_window
from stream.events import Event, encode_event
from stream.settings import Settings
from tests.harness.archives import archived, write_archive

SETTINGS = Settings(min_event_time_ms=0)


def record(offset: int, session: str, user: str | None = None) -> Record:
    event = Event(session, 10 + offset, f"i{offset}", user_id=user)
    return Record(offset, session.encode(), encode_event(event), 10 + offset)


def said(offset: int, session: str) -> Record:
    return Record(
        offset, session.encode(), encode_event(Event(session, 10 + offset, "", "forget")), 10 + offset
    )


LOG = {
    0: [
        record(0, "a", "ann"), record(1, "b"), record(2, "a"), record(3, "b", "bob"),
        # Not readable, and of the session by its key alone.
        Record(4, b"a", b"{not JSON", 14), Record(5, b"b", b"{not JSON", 15), record(6, "c", "ann"),
        said(7, "a"), record(8, "a"),
    ],
    1: [record(0, "d"), record(1, "d")],
}  # fmt: skip


def test_the_records_of_a_person_leave_an_archive_and_all_others_stay_byte_for_byte(tmp_path: Path) -> None:
    write_archive(tmp_path, LOG, rotate=2, group=1)
    archive = ArchiveFolder(tmp_path)
    parts = [archive.parts(number) for number in archive.partitions()]
    untouched = parts[1][0].path.stat()
    (parts[0][0].path.parent / f".left{UNFINISHED}").write_bytes(b"of a killed call")
    assert archived_sessions_of(archive, "ann") == {"a", "c"}
    receipt = remove_from_archive(archive, Person(frozenset({"a", "c"}), "ann"))
    assert receipt["removed_records"] == 5
    assert sum(receipt["files"].values()) == 5 and len(receipt["files"]) == 5
    kept = {1, 3, 5, 7}
    assert archived(tmp_path) == {0: [r for r in LOG[0] if r.offset in kept], 1: LOG[1]}
    assert [archive.parts(number) for number in archive.partitions()] == parts, (
        "it stands for the same offsets"
    )
    assert parts[1][0].path.stat().st_mtime_ns == untouched.st_mtime_ns
    assert not list(tmp_path.rglob(f"*{UNFINISHED}"))
    assert read_window(SETTINGS, archive=tmp_path).frame["session_id"].tolist() == ["d", "b", "d", "b"]
    again = remove_from_archive(archive, Person(frozenset({"a", "c"}), "ann"))
    assert (again["removed_records"], again["files"]) == (0, {})


def test_a_disk_that_cannot_be_written_leaves_the_part_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_archive(tmp_path, LOG, rotate=100, group=2)
    archive = ArchiveFolder(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive, "replace", full)
    with pytest.raises(NextclickError, match="No space left"):
        remove_from_archive(archive, Person(frozenset({"a"})))
    assert archived(tmp_path) == LOG
    assert not list(tmp_path.rglob(f"*{UNFINISHED}"))


def test_two_at_once_do_not_undo_each_other(tmp_path: Path) -> None:
    write_archive(tmp_path, LOG, rotate=100, group=2)
    archive = ArchiveFolder(tmp_path)
    with (tmp_path / REWRITE_LOCK).open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(NextclickError, match="another process"):
            remove_from_archive(archive, Person(frozenset({"a"})))
    assert archived(tmp_path) == LOG
    assert remove_from_archive(archive, Person(frozenset({"a"})))["removed_records"] == 4


def test_an_archive_that_has_not_reached_the_forgetting_is_behind(tmp_path: Path) -> None:
    write_archive(tmp_path, LOG, rotate=100, group=2)
    assert behind(ArchiveFolder(tmp_path), {"a": (0, 8), "b": (0, 9), "d": (1, 5)}) == ["b", "d"]


def test_a_window_is_without_what_came_before_the_forgetting_of_its_session(tmp_path: Path) -> None:
    write_archive(tmp_path, LOG, rotate=3, group=2)
    frame = read_window(SETTINGS, archive=tmp_path).frame
    assert [(s, i) for s, i in zip(frame["session_id"], frame["item_id"], strict=True) if s == "a"] == [
        ("a", "i8")
    ]
    assert set(frame["kind"]) == {"view"}
    before = read_window(SETTINGS, archive=tmp_path, until_ms=14).frame
    assert "a" not in set(before["session_id"]), "though the forgetting is younger than the window"
