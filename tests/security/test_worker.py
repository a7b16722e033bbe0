"""A real worker with tokens, probes on a port of their own and names that it answers to."""

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from model.registry.registry import Registry
from replay.end_to_end.worker_process import free_port
from stream.access.grants import READ, VIEW
from tests.conftest import settings_of_its_own, train_small
from tests.harness.markov_shoppers import SyntheticLog
from tests.harness.serving import worker


@pytest.mark.kafka
def test_a_worker_asks_for_tokens_and_answers_probes_without(
    kafka: str, shoppers: SyntheticLog, tmp_path: Path
) -> None:
    keys = tmp_path / "web.keys"
    keys.write_text("k" * 64)
    probes = free_port()
    settings = settings_of_its_own(kafka, tmp_path, web_keys_file=keys, web_probe_port=probes)
    train_small(shoppers, Registry(settings.registry_dir), network="pop")
    with worker(settings, tmp_path) as process:
        for path, word in (("/health", "alive"), ("/ready", "ready"), ("/metrics", "nextclick_")):
            with urllib.request.urlopen(f"http://127.0.0.1:{probes}{path}", timeout=240) as answer:
                assert word in answer.read().decode()
        for path in ("/", "/api/live", "/api/status", "/metrics"):
            with pytest.raises(urllib.error.HTTPError, match="401"):
                urllib.request.urlopen(f"{process.address}{path}", timeout=240)
        with process.open("/api/live", VIEW) as answer:
            assert json.load(answer)["worker"] == settings.worker_id
        with pytest.raises(urllib.error.HTTPError, match="404"):
            process.open("/api/sessions/4711", READ)
        assert process.stop() == 0
