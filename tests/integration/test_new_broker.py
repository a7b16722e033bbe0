"""A broker that has just started: it is no group's coordinator yet, and what asks it goes on asking.

Each case has a broker of its own, which nobody has asked for a group before.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from model.registry.registry import Registry
from stream.settings import Settings
from tests.conftest import kafka_sh, settings_of_its_own, train_small
from tests.harness import fork_server
from tests.harness.markov_shoppers import SyntheticLog
from tests.harness.serving import stop, worker

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Settings]:
    folder = tmp_path / "kafka"
    address = kafka_sh("start", folder).stdout.strip()
    try:
        yield settings_of_its_own(address, tmp_path)
    finally:
        kafka_sh("kill", folder)


def nextclick(settings: Settings, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """A command in a process of its own: a fault of the Kafka client would end this one."""
    return fork_server.run(*arguments, env={**os.environ, **settings.environment()}, timeout=300)


def test_a_worker_starts_beside_it(fresh: Settings, shoppers: SyntheticLog, tmp_path: Path) -> None:
    train_small(shoppers, Registry(fresh.registry_dir), network="pop")
    with worker(fresh, tmp_path) as process:
        process.wait_until(lambda s: s["ready"] and s["partitions"] == [0, 1], "its partitions", 300)
        stop(process)


def test_the_doctor_looks_at_it(fresh: Settings) -> None:
    ended = nextclick(fresh, "doctor")
    assert ended.returncode in (0, 1), ended.stderr
    assert f"{fresh.group_id} has no worker" in " ".join(ended.stdout.split())


def test_an_ingester_reads_from_it_to_its_end(fresh: Settings, tmp_path: Path) -> None:
    mapping = tmp_path / "shop.toml"
    mapping.write_text('[columns]\nsession = "visit"\nitem = "sku"\ntime = "at"\n')
    into = fresh.model_copy(update={"events_topic": f"{fresh.events_topic}-mapped"})
    named = f"{fresh.events_topic}={mapping}"
    ended = nextclick(into, "ingest", "--from", named, "--until-end")
    assert ended.returncode == 0, ended.stderr
