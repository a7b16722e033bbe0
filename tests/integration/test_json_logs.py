"""What a worker logs as JSON: every line of stderr, from its start to its failure."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from model.registry.registry import Registry
from replay.sending.replay import replay_frames
from stream.settings import Settings
from tests.conftest import train_small
from tests.harness.fork_server import run
from tests.harness.markov_shoppers import SyntheticLog
from tests.harness.serving import MakeSettings, served, stop, worker

pytestmark = pytest.mark.kafka


def parsed(text: str) -> list[dict[str, Any]]:
    """The lines; each has to be an object with the fields of every line."""
    rows = [json.loads(line) for line in text.splitlines()]
    assert all({"time", "level", "event", "message", "logger"} <= row.keys() for row in rows)
    return rows


def test_every_line_of_a_workers_log_is_json_and_says_what_happened(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path
) -> None:
    settings = make_settings(log_format="json")
    model = train_small(shoppers, Registry(settings.registry_dir))
    replay_frames(settings, [shoppers.frame.head(200)])
    with worker(settings, tmp_path) as process:
        process.wait_until(served(200), "all events")
        stop(process)
    rows = {row["event"]: row for row in parsed(process.log())}
    assert rows["model_serves"]["version"] == model.version
    assert sorted(rows["assigned"]["offsets"]) == ["0", "1"]
    assert rows["store_opened"]["offset"] == 0
    assert rows["revoked"]["partitions"] == [0, 1]


def test_a_worker_that_fails_says_so_as_json_with_what_to_do(tmp_path: Path) -> None:
    settings = Settings(bootstrap_servers="127.0.0.1:9", state_dir=tmp_path, log_format="json")
    ended = run("worker", env={**os.environ, **settings.environment()}, timeout=240)
    assert ended.returncode == 2
    failure = parsed(ended.stderr)[-1]
    assert (failure["event"], failure["level"]) == ("process_failed", "CRITICAL")
    assert "no Kafka broker answered at 127.0.0.1:9" in failure["message"]
    assert "Start Kafka" in failure["remedy"]
