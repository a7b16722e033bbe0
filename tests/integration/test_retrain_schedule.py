import os
import signal
import time
from collections.abc import Callable

import pytest
from typer.testing import CliRunner

from model.registry.registry import Registry
from nextclick import app
from replay.sending.replay import replay_frames
from tests.harness.announced import announced
from tests.harness.retraining import SMALL, ended, reports, start, two_parts, versions
from tests.harness.serving import MakeSettings

HALF_HOUR_MS = 1_800_000


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 90) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"no {what} in {timeout_s} s"
        time.sleep(0.05)


@pytest.mark.kafka
def test_by_the_logs_clock_a_fast_replay_retrains_when_its_event_time_crosses_the_period(
    make_settings: MakeSettings,
) -> None:
    settings = make_settings(partitions=1)
    earlier, later = two_parts()
    changes = [part for name, value in SMALL.items() for part in ("--set", f"{name}={value}")]
    process = start(settings, "--every", "30m", "--clock", "event", "--runs", "2", *changes)
    registry = Registry(settings.registry_dir)
    try:
        # An hour and a half of event time within a second or two of the wall's.
        replay_frames(settings, [earlier])
        wait_until(lambda: registry.champion() is not None, "first champion")
        first = registry.champion()
        replay_frames(settings, [later])
        wait_until(lambda: registry.champion() != first, "second champion")
        status, _, log = ended(process)
    finally:
        process.kill()
        process.communicate()
    assert status == 0, log
    rows = versions(settings)
    assert [row["version"] for row in rows] == announced(settings)
    for row, frame in zip(rows, (earlier, later), strict=True):
        last_ms = row["data"]["last_event_time_ms"]
        boundary = int(frame["event_time_ms"].max()) // HALF_HOUR_MS * HALF_HOUR_MS
        # Up to the boundary that event time had crossed, and nothing from behind it.
        assert boundary - HALF_HOUR_MS < last_ms < boundary
    assert rows[1]["data"]["first_event_time_ms"] > rows[0]["data"]["last_event_time_ms"]


@pytest.mark.kafka
def test_a_scheduled_run_that_fails_is_reported_and_the_next_is_made_all_the_same(
    make_settings: MakeSettings,
) -> None:
    settings = make_settings()
    settings.registry_dir.mkdir()
    (settings.registry_dir / "CHAMPION").write_text("no-such-version\n")
    status, _, log = ended(start(settings, "--every", "1s", "--runs", "2"))
    assert status == 0, log
    assert log.count("failed: there is no version 'no-such-version'") == 2
    assert [report["outcome"] for report in reports(settings)] == ["failed"] * 2
    status, _, log = ended(start(settings))
    assert status == 2
    assert "no-such-version" in log


@pytest.mark.kafka
def test_a_schedule_ends_by_sigint_between_its_runs(make_settings: MakeSettings) -> None:
    settings = make_settings()
    process = start(settings, "--cron", "0 0 1 1 *")
    wait_until(lambda: "next run" in process.errors(), "schedule")
    os.kill(process.pid, signal.SIGINT)
    status, _, log = ended(process)
    assert status == 130
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--every", "6h", "--cron", "0 */6 * * *"], "give one"),
        (["--clock", "event"], "are of a schedule"),
        (["--runs", "2"], "are of a schedule"),
        (["--every", "6h", "--clock", "sun"], "--clock is wall or event"),
        (["--offsets", "0:5"], "is not PARTITION:FIRST-END"),
        (["--from", "yesterday"], "is no ISO time"),
    ],
)
def test_misuse_is_said_before_anything_is_done(arguments: list[str], expected: str) -> None:
    ended = CliRunner().invoke(app, ["retrain", *arguments])
    assert ended.exit_code == 2
    assert expected in " ".join(ended.output.replace("│", " ").split())
