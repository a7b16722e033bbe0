import time
from pathlib import Path
from typing import Any

import pytest

from model.errors import NextclickError
from stream.event_log.window import LOG_END, read_window
from stream.settings import Settings
from tests.harness.archives import (
    START_MS,
    a_log_with_everything,
    archive_all,
    archived,
    first_at,
    logged,
    plain_window,
    produce,
    remove_before,
    rows_of,
)
from tests.harness.serving import MakeSettings

pytestmark = pytest.mark.kafka

FOREVER_MS = 1 << 60


def test_windows_of_kafka_of_its_archive_and_of_a_plain_reading_are_equal(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings()
    produce(settings, a_log_with_everything(9_000))
    folder = tmp_path / "archive"
    report = archive_all(settings, folder)
    log = logged(settings)
    assert archived(folder) == log
    assert (report.events, report.lag) == (9_000, 0)
    middle_ms = START_MS + 1_500_000
    windows: list[dict[str, Any]] = [
        {},
        {"from_ms": middle_ms},
        {"until_ms": middle_ms},
        {"from_ms": middle_ms, "until_ms": middle_ms + 60_000},
        {"from_ms": START_MS - 1_000_000, "until_ms": START_MS},
        {"from_ms": middle_ms * 2},
        {"newest_events": 1},
        {"newest_events": 2_500},
        {"newest_events": 100_000},
        {"newest_events": 500, "until_ms": middle_ms},
        {"newest_events": 500, "from_ms": START_MS + 2_900_000},
        {"offsets": {1: (1_000, 3_000)}},
        {"offsets": {0: (4_000, LOG_END), 1: (0, 10)}, "newest_events": 300},
        {"offsets": {0: (500, 4_400)}, "from_ms": middle_ms},
    ]
    latest_ms = int((time.time() + settings.max_future_s) * 1000)
    for wanted in windows:
        ours = read_window(settings, **wanted)
        theirs = read_window(settings, **wanted, archive=folder)
        assert ours.offsets == theirs.offsets, wanted
        assert ours.rejected == theirs.rejected, wanted
        assert ours.frame.equals(theirs.frame), wanted
        plain = plain_window(
            log, ours.offsets, wanted.get("from_ms", 0), wanted.get("until_ms", FOREVER_MS), latest_ms
        )
        newest = wanted.get("newest_events", len(plain.rows))
        assert rows_of(ours) == plain.rows[len(plain.rows) - min(newest, len(plain.rows)) :], wanted
        assert ours.rejected == plain.rejected, wanted
    everything = read_window(settings)
    assert everything.rejected["future"] and everything.rejected["key_mismatch"]
    assert {n: first for n, (first, _) in read_window(settings, from_ms=middle_ms).offsets.items()} == (
        first_at(log, middle_ms)
    )


def test_the_newest_events_of_a_long_log_are_found_near_its_end(make_settings: MakeSettings) -> None:
    settings = make_settings()
    produce(settings, a_log_with_everything(40_000))
    window = read_window(settings, newest_events=1_000)
    assert len(window.frame) == 1_000
    assert all(first > end - 3_000 for first, end in window.offsets.values())


def test_events_that_come_after_the_call_belong_to_the_next_window(
    make_settings: MakeSettings,
) -> None:
    settings = make_settings()
    log = a_log_with_everything(4_000)
    produce(settings, log[:2_500])
    before = read_window(settings)
    produce(settings, log[2_500:])
    after = read_window(settings, offsets={n: (end, LOG_END) for n, (_, end) in before.offsets.items()})
    whole = read_window(settings)
    assert len(before.frame) + len(after.frame) == len(whole.frame)
    assert sorted(rows_of(before) + rows_of(after), key=str) == sorted(rows_of(whole), key=str)
    assert before.rejected + after.rejected == whole.rejected


def test_offsets_that_retention_removed_are_an_error_in_kafka_and_there_in_the_archive(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings()
    produce(settings, a_log_with_everything(2_000))
    whole = read_window(settings)
    archive_all(settings, tmp_path / "archive")
    remove_before(settings, {0: 400})
    with pytest.raises(NextclickError, match="retention removed them"):
        read_window(settings, offsets=whole.offsets)
    again = read_window(settings, offsets=whole.offsets, archive=tmp_path / "archive")
    assert again.frame.equals(whole.frame)


def test_a_topic_that_is_not_there_is_an_error(kafka: str) -> None:
    with pytest.raises(NextclickError, match="no-such-topic"):
        read_window(Settings(bootstrap_servers=kafka, events_topic="no-such-topic"))
