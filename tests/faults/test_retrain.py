import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from model.errors import NextclickError
from model.registry.registry import Registry
from replay.sending.replay import replay_frames
from stream.failpoints import RETRAIN_POINTS
from stream.retraining.lock import LOCK
from stream.retraining.options import RetrainOptions
from stream.retraining.retrain import retrain
from tests.harness.announced import announced
from tests.harness.retraining import (
    ended,
    first_champion,
    left_over,
    reports,
    start,
    two_parts,
    versions,
)
from tests.harness.serving import MakeSettings

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

SAVED = RETRAIN_POINTS.index("retrain-saved")


def test_a_kill_at_each_step_leaves_nothing_half_made_and_the_next_run_goes_on(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings()
    earlier, later = two_parts()
    first = first_champion(settings, earlier)
    replay_frames(settings, [later])
    before = tmp_path / "before"
    shutil.copytree(settings.registry_dir, before)
    for number, point in enumerate(RETRAIN_POINTS):
        shutil.rmtree(settings.registry_dir)
        shutil.copytree(before, settings.registry_dir)
        told = len(announced(settings))
        status, out, log = ended(start(settings, fault=f"{point}:1"))
        assert status == -signal.SIGKILL, f"{point}: {out}{log}"
        killed = versions(settings)
        assert len(killed) == (2 if number >= SAVED else 1), point
        assert Registry(settings.registry_dir).champion() in {row["version"] for row in killed}, point
        # As a kill in the middle of a save would.
        half = settings.registry_dir / ".unfinished-half"
        half.mkdir()
        (half / "weights.safetensors").write_bytes(b"\0" * 100)
        report = retrain(settings, RetrainOptions())
        champion = Registry(settings.registry_dir).champion()
        assert champion not in (first, None), point
        assert [row["version"] for row in versions(settings)] == [first, champion], point
        if number >= SAVED:
            # Its own version is taken up, and nothing came since.
            assert champion == killed[-1]["version"], point
            assert report.outcome == "refused", point
        else:
            assert champion == report.version, point
        heard = announced(settings)[told:]
        assert heard
        assert set(heard) == {champion}, point
        assert left_over(settings) == [], point


def test_two_retrainings_at_once_are_one_and_a_clear_error(make_settings: MakeSettings) -> None:
    settings = make_settings()
    earlier, later = two_parts()
    first_champion(settings, earlier)
    replay_frames(settings, [later])
    one = start(settings)
    lock, deadline = settings.registry_dir / LOCK, time.monotonic() + 240
    while f"process {one.pid} " not in lock.read_text():
        assert time.monotonic() < deadline
        assert one.poll() is None, ended(one)
        time.sleep(0.01)
    os.kill(one.pid, signal.SIGSTOP)
    try:
        status, _, log = ended(start(settings))
    finally:
        os.kill(one.pid, signal.SIGCONT)
    assert status == 2
    assert "is under way" in log
    assert f"process {one.pid} on" in log
    assert ended(one)[0] == 0
    assert len(versions(settings)) == 2
    assert len(announced(settings)) == 2


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors"])
def test_a_champion_whose_files_are_cut_off_is_an_error_with_a_report(
    make_settings: MakeSettings, name: str
) -> None:
    settings = make_settings()
    earlier, later = two_parts()
    first = first_champion(settings, earlier)
    replay_frames(settings, [later])
    os.truncate(settings.registry_dir / first / name, 100)
    status, _, log = ended(start(settings))
    assert status == 2
    assert name in log
    assert "does not match its SHA-256" in log
    report = reports(settings)[-1]
    assert report["outcome"] == "failed"
    assert name in report["error"][0]
    assert Registry(settings.registry_dir).champion() == first
    assert announced(settings) == [first]


def test_a_version_that_was_rolled_back_in_the_meantime_is_not_promoted_anew(
    make_settings: MakeSettings,
) -> None:
    settings = make_settings()
    earlier, later = two_parts()
    first = first_champion(settings, earlier)
    replay_frames(settings, [later])
    assert ended(start(settings, "--no-promote", fault="retrain-saved:1"))[0] == -signal.SIGKILL
    registry = Registry(settings.registry_dir)
    assert len(registry.versions()) == 2
    # It was not to be promoted, and is not now.
    retrain(settings, RetrainOptions(promote=False))
    assert registry.champion() == first
    # To be promoted in the place of another champion than the one that serves now: neither.
    shutil.rmtree(settings.registry_dir / registry.versions()[-1]["version"])
    assert ended(start(settings, fault="retrain-saved:1"))[0] == -signal.SIGKILL
    other = registry.versions()[1]["version"]
    registry.promote(other)
    told: list[str] = []
    retrain(settings, RetrainOptions(promote=False), notify=told.append)
    assert registry.champion() == other
    assert any("is not promoted" in text for text in told)


def test_without_brokers_a_run_ends_before_it_trains(make_settings: MakeSettings) -> None:
    settings = make_settings().model_copy(update={"bootstrap_servers": "127.0.0.1:1"})
    with pytest.raises(NextclickError, match="no Kafka broker answered"):
        retrain(settings, RetrainOptions())
    assert reports(settings)[-1]["outcome"] == "failed"
