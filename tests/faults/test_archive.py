import json
import random
import signal
import subprocess
import time
from itertools import pairwise
from pathlib import Path
from threading import Event as Flag

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from model.errors import NextclickError
from stream.event_log.archive_folder import ArchiveFolder
from stream.event_log.archiver import Archiver, ArchiveReport
from stream.failpoints import ARCHIVE_POINTS, VARIABLE
from stream.kafka.topics import ensure_topics
from stream.settings import Settings
from tests.harness.archives import (
    ArchiverProcess,
    a_log_with_everything,
    archive_all,
    archived,
    logged,
    produce,
    remove_before,
    wait_for,
)
from tests.harness.serving import MakeSettings

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]


def parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("partition=*/*.parquet"))


def assert_equal_to_the_log(settings: Settings, folder: Path) -> None:
    """Every record once, byte for byte, and nothing else in the folder."""
    assert archived(folder) == logged(settings)
    assert not list(folder.rglob("*.unfinished"))


def test_a_kill_at_each_point_of_a_part_loses_no_event_and_writes_none_twice(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings, folder = make_settings(), tmp_path / "archive"
    produce(settings, a_log_with_everything(6_000))
    options = ("--rotate-events", "200", "--until-end")
    for point in ARCHIVE_POINTS:
        count = 450 if point == "archive-1-buffered" else 3
        with ArchiverProcess(settings, folder, *options, **{VARIABLE: f"{point}:{count}"}) as process:
            assert process.ended() == -signal.SIGKILL, f"{point}: {process.log()[-2000:]}"
    archive_all(settings, folder)
    assert_equal_to_the_log(settings, folder)


def test_kills_at_random_moments_lose_no_event_and_write_none_twice(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings, folder = make_settings(), tmp_path / "archive"
    log = a_log_with_everything(60_000)
    produce(settings, log[:30_000])
    chance = random.Random(7)
    unfinished = 0
    for turn in range(8):
        produce(settings, log[30_000 + turn * 3_000 : 33_000 + turn * 3_000])
        before = len(parts(folder))
        with ArchiverProcess(settings, folder, "--rotate-events", "50", "--rotate-s", "1") as process:
            wanted = before + chance.randrange(1, 60)
            wait_for(lambda wanted=wanted: len(parts(folder)) >= wanted, process)  # type: ignore[misc]
        unfinished += bool(list(folder.rglob("*.unfinished")))
    assert unfinished, "no kill hit a part on its way"
    produce(settings, log[54_000:])
    archive_all(settings, folder)
    assert_equal_to_the_log(settings, folder)


def test_two_archivers_share_the_partitions_and_a_zombie_writes_nothing_twice(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings, folder = make_settings(partitions=2, session_timeout_ms=30_000), tmp_path / "archive"
    other = settings.model_copy(update={"worker_id": f"{settings.worker_id}-2"})
    log = a_log_with_everything(12_000)
    options = ("--rotate-events", "300", "--rotate-s", "1.5")
    produce(settings, log[:4_000])
    archive = ArchiveFolder(folder)
    with ArchiverProcess(settings, folder, *options) as first:
        wait_for(lambda: ends(archive) == [2_000, 2_000], first)
        with ArchiverProcess(other, folder, *options) as second:
            wait_for(lambda: "assigned" in second.log(), second)
            produce(settings, log[4_000:8_000])
            wait_for(lambda: ends(archive) == [4_000, 4_000], first)
            # Asleep with records in hand that the other archives meanwhile.
            produce(settings, log[8_000:8_100])
            wait_for(lambda: len(list(folder.rglob("*.unfinished"))) == 2, first)
            first.send(signal.SIGSTOP)
            produce(settings, log[8_100:])
            wait_for(lambda: ends(archive) == [6_000, 6_000], second)
            first.send(signal.SIGCONT)
            wait_for(lambda: gave_way(first), second)
            first.send(signal.SIGTERM)
            second.send(signal.SIGTERM)
            assert second.ended() == 0, second.log()
            first.ended()
    assert_equal_to_the_log(settings, folder)


def ends(archive: ArchiveFolder) -> list[int]:
    return [archive.end(number) or 0 for number in (0, 1)]


def gave_way(process: ArchiverProcess) -> bool:
    """Whether it has noticed that its partitions are another's, and lives on or has ended."""
    return "partitions lost after a silence" in process.log() or process.process.poll() == 2


def test_until_end_waits_for_the_other_archiver_and_takes_over_when_it_is_killed(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings, folder = make_settings(session_timeout_ms=30_000), tmp_path / "archive"
    other = settings.model_copy(update={"worker_id": f"{settings.worker_id}-2"})
    with ArchiverProcess(other, folder, "--rotate-events", "1000000", "--rotate-s", "1000") as killed:
        wait_for(lambda: "assigned" in killed.log(), killed)
        produce(settings, a_log_with_everything(3_000))
        with ArchiverProcess(settings, folder, "--until-end", "--json") as process:
            wait_for(lambda: "assigned" in process.log(), process)
            wait_for(lambda: len(parts(folder)) == 1, process)
            assert process.process.poll() is None
            killed.process.kill()
            assert process.ended() == 0, process.log()
            told = json.loads(process.log().splitlines()[-1])
    # The other one's first part is of the partition that it had to give up.
    assert told == {"events": 1_500, "files": 1, "lag": 0}
    assert_equal_to_the_log(settings, folder)


def test_a_stopped_archiver_has_archived_what_it_read_and_committed_it(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings, folder = make_settings(), tmp_path / "archive"
    produce(settings, a_log_with_everything(2_000))
    with ArchiverProcess(settings, folder, "--rotate-s", "1000") as process:
        wait_for(lambda: len(list(folder.rglob("*.unfinished"))) == 2, process)
        assert not parts(folder)
        process.send(signal.SIGTERM)
        assert process.ended() == 0, process.log()
    found = archived(folder)
    log = logged(settings)
    assert found and all(log[number][: len(kept)] == kept for number, kept in found.items())
    group = Consumer({**settings.kafka_config(), "group.id": f"{settings.group_id}-archive"})
    places = group.committed([TopicPartition(settings.events_topic, n) for n in found], timeout=60)
    group.close()
    assert {tp.partition: tp.offset for tp in places} == {
        number: kept[-1].offset + 1 for number, kept in found.items()
    }


def test_parts_are_rotated_by_events_and_by_time(make_settings: MakeSettings, tmp_path: Path) -> None:
    settings, folder = make_settings(), tmp_path / "archive"
    produce(settings, a_log_with_everything(2_000))
    archive_all(settings, folder, rotate_events=300)
    archive = ArchiveFolder(folder)
    assert [part.end - part.first for part in archive.parts(0)] == [300, 300, 300, 100]
    now_s = [0.0]
    produce(settings, a_log_with_everything(200))
    turns = Flag()

    lags: list[int] = []

    def tick(report: ArchiveReport) -> None:
        """Time stands still until everything is read, then passes."""
        lags.append(report.lag)
        if len(list(folder.rglob("*.unfinished"))) == 2:
            now_s[0] += 60
        if len(archive.parts(0)) + len(archive.parts(1)) == 10:
            turns.set()

    by_time = Archiver(
        settings, archive, rotate_events=10_000, rotate_s=59.0, progress=tick, clock_s=lambda: now_s[0]
    )
    by_time.run(turns)
    assert by_time.report.parts == 2
    assert (max(lags), lags[-1]) == (200, 0)
    assert_equal_to_the_log(settings, folder)


def test_what_retention_removed_before_it_was_archived_is_an_error(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings, folder = make_settings(), tmp_path / "archive"
    log = a_log_with_everything(2_000)
    produce(settings, log[:1_000])
    archive_all(settings, folder)
    produce(settings, log[1_000:])
    remove_before(settings, {1: 640})
    with pytest.raises(NextclickError, match=r"offsets 500 to 640 of partition 1 .* neither") as raised:
        archive_all(settings, folder)
    assert "140 records" in raised.value.meaning
    assert [part.end for part in ArchiveFolder(folder).parts(1)] == [500]
    # A new archive begins where the log begins now.
    archive_all(settings, tmp_path / "new")
    assert_equal_to_the_log(settings, tmp_path / "new")


def test_the_archive_of_a_log_that_was_made_anew_is_an_error(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings, folder = make_settings(), tmp_path / "archive"
    log = a_log_with_everything(1_000)
    produce(settings, log[:500])
    archive_all(settings, folder)
    admin = AdminClient(settings.kafka_config())
    for future in admin.delete_topics([settings.events_topic]).values():
        future.result(timeout=120)
    deadline = time.monotonic() + 240
    while settings.events_topic in admin.list_topics(timeout=60).topics and time.monotonic() < deadline:
        admin.poll(0.05)
    ensure_topics(settings)
    # Longer than the archive: only the topic's id tells.
    produce(settings, log)
    with pytest.raises(NextclickError, match="made anew"):
        archive_all(settings, folder)
    assert [part.end for part in ArchiveFolder(folder).parts(1)] == [250]


def test_a_log_that_ends_before_its_archive_is_an_error(make_settings: MakeSettings, tmp_path: Path) -> None:
    settings, folder = make_settings(), tmp_path / "archive"
    produce(settings, a_log_with_everything(500))
    archive_all(settings, folder)
    (part,) = ArchiveFolder(folder).parts(1)
    part.path.with_name(f"{250:020}-{260:020}.parquet").write_bytes(part.path.read_bytes())
    with pytest.raises(NextclickError, match="ends at offset 260, the log of"):
        archive_all(settings, folder)


def test_a_full_disk_ends_the_archiver_and_space_lets_it_go_on(
    make_settings: MakeSettings, tmp_path: Path, small_disk: Path
) -> None:
    settings, folder = make_settings(), small_disk / "archive"
    chance = random.Random(1)
    # Nothing that compresses.
    produce(settings, [(n % 2, b"k", chance.randbytes(2_000), n) for n in range(3_000)])
    for _ in range(2):  # and once more while it is still full
        with pytest.raises(NextclickError, match="No space left on device"):
            archive_all(settings, folder, rotate_events=100)
        assert not list(folder.rglob("*.unfinished"))
        before = archived(folder)
        assert sum(map(len, before.values())) >= 200
    subprocess.run(["mount", "-o", "remount,size=50m", str(small_disk)], check=True)
    archive_all(settings, folder, rotate_events=100)
    assert_equal_to_the_log(settings, folder)
    for number in (0, 1):
        assert all(a.end == b.first for a, b in pairwise(ArchiveFolder(folder).parts(number)))
