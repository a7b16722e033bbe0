import json
from pathlib import Path

import pytest

from model.errors import NextclickError
from stream.event_log.archive_folder import TOPIC, ArchiveFolder
from stream.event_log.archive_part import OpenPart
from stream.event_log.columns import Record
from stream.event_log.window import read_window
from stream.events import Event, encode_event
from stream.kafka.topic_id import NO_ID
from stream.settings import Settings
from tests.harness.archives import archived, write_archive


def records(first: int, end: int) -> list[Record]:
    return [Record(n, b"s", encode_event(Event("s", n, f"i{n}")), n) for n in range(first, end)]


def open_part(folder: ArchiveFolder, first: int, end: int) -> OpenPart:
    part = OpenPart(folder, 0, first, 0.0)
    for record in records(first, end):
        part.add(record)
    return part


def test_an_unfinished_part_does_not_count_and_is_removed_when_the_partition_is_opened(
    tmp_path: Path,
) -> None:
    write_archive(tmp_path, {0: records(0, 10)}, rotate=4, group=2)
    folder = ArchiveFolder(tmp_path)
    left = open_part(folder, 10, 15)
    left.write_group()
    assert folder.end(0) == 10
    assert list(tmp_path.rglob("*.unfinished"))
    assert folder.open_partition(0) == 10
    assert not list(tmp_path.rglob("*.unfinished"))
    left.discard()
    assert archived(tmp_path) == {0: records(0, 10)}


def test_an_archiver_that_wakes_up_late_cannot_write_what_another_has_written(tmp_path: Path) -> None:
    folder = ArchiveFolder(tmp_path)
    folder.open_partition(0)
    late = open_part(folder, 0, 12)
    later = open_part(folder, 0, 5)
    later.publish()
    with pytest.raises(NextclickError, match="Another archiver"):
        late.publish()
    assert archived(tmp_path) == {0: records(0, 5)}
    assert not list(tmp_path.rglob("*.unfinished"))


def test_an_archiver_whose_file_was_removed_by_its_successor_gives_way(tmp_path: Path) -> None:
    folder = ArchiveFolder(tmp_path)
    folder.open_partition(0)
    late = open_part(folder, 0, 12)
    assert folder.open_partition(0) is None
    with pytest.raises(NextclickError, match="do not go on"):
        late.publish()
    assert archived(tmp_path) == {0: []}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda parts: parts[1].unlink(), "a gap"),
        (lambda parts: parts[1].rename(parts[1].with_name(f"{3:020}-{8:020}.parquet")), "an overlap"),
    ],
)
def test_parts_that_do_not_follow_one_another_are_an_error(tmp_path: Path, change, word) -> None:  # type: ignore[no-untyped-def]
    write_archive(tmp_path, {0: records(0, 12)}, rotate=4, group=4)
    change(sorted((tmp_path / "partition=0").glob("*.parquet")))
    with pytest.raises(NextclickError, match=word):
        ArchiveFolder(tmp_path).end(0)
    with pytest.raises(NextclickError, match=word):
        read_window(Settings(), archive=tmp_path)


def test_a_folder_that_is_no_archive_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NextclickError, match="nextclick archive --folder"):
        read_window(Settings(), archive=tmp_path / "nowhere")


def test_many_records_become_several_row_groups_and_stay_in_order(tmp_path: Path) -> None:
    folder = ArchiveFolder(tmp_path)
    folder.open_partition(0)
    part = OpenPart(folder, 0, 0, 0.0)
    large = [Record(n, b"s", b"x" * 1_000_000, n) for n in range(40)]
    for record in large:
        part.add(record)
        assert part.buffered_bytes < 17 << 20
    part.publish()
    assert archived(tmp_path) == {0: large}


def test_a_folder_is_the_archive_of_one_topic_by_its_id_and_an_unknown_id_may_be_any(tmp_path: Path) -> None:
    folder = ArchiveFolder(tmp_path)
    assert folder.topic_id() == ""
    folder.belong_to("events", "an id")
    assert folder.topic_id() == "an id"
    for other in (("events", "another id"), ("others", "an id")):
        with pytest.raises(NextclickError, match="is the archive of events an id, not of"):
            folder.belong_to(*other)
    folder.belong_to("events", "an id")
    folder.belong_to("events", "")
    before = tmp_path / "of-brokers-without-ids"
    before.mkdir()
    (before / TOPIC).write_text(json.dumps({"topic": "events", "id": NO_ID}))
    ArchiveFolder(before).belong_to("events", "an id")
    assert ArchiveFolder(before).topic_id() == ""
