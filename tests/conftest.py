"""Fixtures that the whole suite shares: the real broker, topics of one's own, shared data."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from model.config import ModelConfig
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.networks.by_name import columns_of
from model.networks.model_version import ModelVersion
from model.registry.registry import Registry
from model.training.train import train
from model.training.trained_model import TrainedModel
from replay.end_to_end.worker_process import WorkerProcess, free_port
from stream.kafka.topics import ensure_topics, plans
from stream.settings import Settings
from tests.harness import fork_server
from tests.harness.markov_shoppers import SyntheticLog, markov_shoppers
from tests.harness.needs import KAFKA_VARIABLE, CannotStart, start_what_is_needed

ROOT = Path(__file__).parent.parent
# A loaded machine makes a test late, not wrong.
WorkerProcess.patience_s = 240.0
hypothesis_settings.register_profile("late", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("late")
if sys.platform == "linux":
    WorkerProcess.popen = staticmethod(fork_server.popen)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Sizes: those of the README's claims, or what shows the same in a tenth of the time."""
    parser.addoption("--full", action="store_true", help="twenty kills, a million sessions, and so on")


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    """Whether a test has the size of the README's claim; else it is smaller."""
    return bool(request.config.getoption("--full"))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start what the chosen tests need."""
    if session.config.option.collectonly:
        return
    try:
        start_what_is_needed(mark.name for item in session.items for mark in item.iter_markers())
    except CannotStart as error:
        pytest.exit(str(error), returncode=2)


@pytest.fixture(scope="session")
def kafka() -> str:
    """The address of the real broker."""
    address = os.environ.get(KAFKA_VARIABLE)
    if not address:
        pytest.fail(f"no real Kafka: mark the test kafka and use ./tests/run, or set {KAFKA_VARIABLE}")
    return address


@pytest.fixture
def shared_data() -> Path:
    """The folder of the real logs that may not be copied into the project."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real logs are not at {folder}; their licences keep them out of the project")
    return folder


def settings_of_its_own(address: str, folder: Path, **changes: Any) -> Settings:
    """Settings with topics, group and folders that nobody else has; the topics are made."""
    name = uuid.uuid4().hex[:8]
    settings = Settings(
        **{
            "bootstrap_servers": address,
            "events_topic": f"events-{name}",
            "recommendations_topic": f"recommendations-{name}",
            "models_topic": f"models-{name}",
            "dlq_topic": f"events-dlq-{name}",
            "items_topic": f"items-{name}",
            "purchases_topic": f"purchases-{name}",
            "placements_topic": f"placements-{name}",
            "group_id": f"group-{name}",
            "worker_id": f"worker-{name}",
            "state_dir": folder / "state",
            "registry_dir": folder / "registry",
            "web_port": free_port(),
            "partitions": 2,
            "torch_threads": 1,
            # A machine that stands still for a minute takes nothing from a worker.
            "session_timeout_ms": 120_000,
            **changes,
        }
    )
    ensure_topics(settings)
    return settings


def kafka_sh(
    command: str, folder: Path, *options: str, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run deploy/kafka.sh for the broker in `folder`."""
    script = [str(ROOT / "deploy" / "kafka.sh"), command, "--dir", str(folder), *options]
    ended = subprocess.run(script, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0 or not check, ended.stderr
    return ended


@pytest.fixture
def make_settings(kafka: str, tmp_path: Path) -> Iterator[Callable[..., Settings]]:
    """Settings with topics, group and folders of this test's own; the topics are made."""
    made: list[Settings] = []

    def make(**changes: Any) -> Settings:
        made.append(settings_of_its_own(kafka, tmp_path, **changes))
        return made[-1]

    yield make
    for settings in made:
        admin = AdminClient(settings.kafka_config())
        for future in admin.delete_topics([plan.name for plan in plans(settings)]).values():
            future.result(timeout=30)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no right to mount a small disk: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="session")
def shoppers() -> SyntheticLog:
    """A small made-up log with known best lists."""
    return markov_shoppers(sessions=600, items=120, seed=7)


def train_small(log: SyntheticLog, registry: Registry, **config: Any) -> ModelVersion:
    """A quickly trained version, which is made the champion."""
    settings = ModelConfig(
        **{"hidden_size": 16, "epochs": 2, "negatives": 64, "learning_rate": 0.1, **config}
    )
    vocabulary = Vocabulary.from_frame(log.frame, columns_of(settings))
    sessions = Sessions.from_frame(log.frame, vocabulary, SessionRule(settings.session_gap_s))
    result = train(sessions, vocabulary, settings)
    model = registry.save(
        TrainedModel(result.network, settings, vocabulary), scores={}, data={"events": len(log.frame)}
    )
    registry.promote(model.version)
    return model
