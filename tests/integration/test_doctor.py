"""`nextclick doctor` beside a real worker, and with one thing wrong at a time."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model.registry.registry import Registry
from model.training.trained_model import TrainedModel
from replay.end_to_end.worker_process import WorkerProcess
from replay.sending.replay import replay_frames
from stream.doctor.broker_checks import BrokerChecks
from stream.doctor.check_result import CheckResult
from stream.doctor.checks import all_checks
from stream.doctor.machine_checks import local_checks
from stream.sessions.store import CORRUPT_MARK
from stream.sessions.store_snapshot import open_snapshot, store_path
from stream.settings import Settings
from tests.conftest import settings_of_its_own, train_small
from tests.harness.commands import run
from tests.harness.markov_shoppers import markov_shoppers
from tests.harness.serving import all_committed, worker

pytestmark = pytest.mark.kafka
LOG = markov_shoppers(sessions=60, items=40, seed=5)


@pytest.fixture(scope="module")
def serving(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, WorkerProcess]]:
    """A worker that has served the log."""
    folder = tmp_path_factory.mktemp("serving")
    settings = settings_of_its_own(kafka, folder)
    train_small(LOG, Registry(settings.registry_dir))
    replay_frames(settings, [LOG.frame])
    with worker(settings, folder) as process:
        process.wait_until(all_committed(settings), "the whole log")
        yield settings, process


def by_check(findings: Iterator[CheckResult]) -> dict[str, CheckResult]:
    return {finding.check: finding for finding in findings}


def files(folder: Path) -> dict[str, tuple[int, float]]:
    """Path → size and time of every file below a folder."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime)
        for path in folder.rglob("*")
        if path.is_file()
    }


def names(folder: Path) -> set[str]:
    """The paths below a folder: a worker that runs writes into its files at any time."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_all_is_well_beside_a_running_worker_and_nothing_is_changed(
    serving: tuple[Settings, WorkerProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, process = serving
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    before = names(settings.state_dir), files(settings.registry_dir)
    examined = run("doctor", "--json")
    assert (names(settings.state_dir), files(settings.registry_dir)) == before
    assert examined.exit_code == 0, examined.output
    answer: dict[str, Any] = json.loads(examined.stdout)
    assert answer["ok"]
    found = {row["check"]: row for row in answer["findings"]}
    # The disk is this machine's own: it may be rather full.
    assert found["disk"]["verdict"] in ("PASS", "WARN")
    well = ("broker", "authentication", "topics", "co-partitioning", "message size", "group", "lag")
    local = ("events", "clock", "model", "device", "stores", "worker")
    assert {name: found[name]["verdict"] for name in well + local} == dict.fromkeys(well + local, "PASS")
    assert settings.worker_id in found["group"]["found"]
    assert found["lag"]["found"] == "0 events"
    assert "2 of 2 open" in found["stores"]["found"]
    assert found["replication"]["verdict"] == "WARN"
    assert process.status() is not None


def test_a_look_into_an_open_store_sees_what_the_worker_has_written(
    serving: tuple[Settings, WorkerProcess],
) -> None:
    settings, process = serving
    status = process.status()
    assert status is not None
    sessions = 0
    for number in range(settings.partitions):
        with open_snapshot(store_path(settings.state_dir, settings.events_topic, number)) as snapshot:
            assert snapshot.applied is not None
            sessions += snapshot.applied.sessions
            assert snapshot.state("never-seen") is None
    assert sessions == status["sessions"] > 0


def test_a_broker_that_is_away_is_the_only_thing_said_of_the_brokers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.doctor.broker_checks.REACH_TIMEOUT_S", 1.0)
    settings = Settings(bootstrap_servers="127.0.0.1:9", state_dir=tmp_path, registry_dir=tmp_path)
    found = by_check(all_checks(settings, []))
    assert found["broker"].verdict == "FAIL" and "127.0.0.1:9" in found["broker"].found
    assert found["topics, group, clock"].verdict == "SKIP"
    assert found["model"].verdict == "FAIL" and "nextclick train" in found["model"].remedy
    assert "group" not in found


def test_topics_that_differ_and_a_group_without_workers_are_found(
    serving: tuple[Settings, WorkerProcess],
) -> None:
    settings = serving[0].model_copy(update={"partitions": 5, "group_id": "nobody"})
    findings = list(BrokerChecks(settings).run())
    wrong = [finding for finding in findings if finding.verdict == "FAIL"]
    assert [finding.check for finding in wrong] == ["topics", "topics"]
    assert all("is 2, not 5" in finding.found for finding in wrong)
    found = by_check(iter(findings))
    assert found["group"].verdict == "WARN" and "no worker" in found["group"].found
    assert found["lag"].verdict == "WARN" and f"{len(LOG.frame):,} events" in found["lag"].found


def test_a_clock_behind_the_brokers_is_found_by_their_stamps(
    serving: tuple[Settings, WorkerProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    def clock(behind_s: float) -> str:
        return by_check(BrokerChecks(serving[0], lambda: time.time() - behind_s).run())["clock"].verdict

    assert clock(0) == "PASS"
    assert clock(3600) == "FAIL"
    monkeypatch.setattr("stream.doctor.broker_checks.SKEW_FAIL_S", 7200)
    assert clock(3600) == "WARN"


def test_a_model_that_is_damaged_old_or_missing_is_found(
    serving: tuple[Settings, WorkerProcess], tmp_path: Path
) -> None:
    settings = serving[0].model_copy(update={"registry_dir": tmp_path / "registry"})
    registry = Registry(settings.registry_dir)
    assert by_check(local_checks(settings, None))["model"].verdict == "FAIL"
    model = train_small(LOG, registry)
    fresh = by_check(local_checks(settings, None))
    assert (fresh["model"].verdict, fresh["model age"].verdict) == ("PASS", "SKIP")
    until_ms = 1_700_000_000_000
    dated = registry.save(
        TrainedModel(model.network, model.config, model.vocabulary),
        scores={},
        data={"last_event_time_ms": until_ms},
    )
    registry.promote(dated.version)
    for hours, verdict in ((-1, "PASS"), (23, "PASS"), (25, "WARN")):
        found = by_check(local_checks(settings, until_ms + hours * 3_600_000))
        assert found["model age"].verdict == verdict
    registry.promote(model.version)
    weights = settings.registry_dir / model.version / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    damaged = by_check(local_checks(settings, None))["model"]
    assert damaged.verdict == "FAIL" and "SHA-256" in damaged.found


def test_a_store_that_is_damaged_a_full_disk_and_low_limits_are_found(
    serving: tuple[Settings, WorkerProcess], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = serving[0].model_copy(update={"state_dir": tmp_path, "partitions": 1})
    path = store_path(tmp_path, settings.events_topic, 0)
    path.mkdir()
    (path / "CURRENT").write_text("MANIFEST-000005\n")
    missing = by_check(local_checks(settings, None))["stores"]
    assert missing.verdict == "FAIL" and "damaged" in missing.found
    (path / CORRUPT_MARK).write_text("block checksum mismatch")
    marked = by_check(local_checks(settings, None))["stores"]
    assert marked.verdict == "FAIL" and "block checksum mismatch" in marked.found
    monkeypatch.setattr("stream.doctor.machine_checks.DISK_FAIL_BYTES", 1 << 60)
    monkeypatch.setattr("resource.getrlimit", lambda _: (300, 400))
    found = by_check(local_checks(settings, None))
    assert found["disk"].verdict == "FAIL"
    assert found["open files"].verdict == "WARN" and "ulimit -n 768" in found["open files"].remedy
