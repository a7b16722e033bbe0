import json
import os
import random
import uuid
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner

import nextclick
from model.errors import NextclickError
from model.registry.registry import Registry
from replay.certificates.certificate import LISTS, digests_path, read_certificate
from replay.datasets.event_files import EventFiles
from replay.end_to_end.certified_lists import certify_lists, difference, isolated_settings
from replay.sending.replay_files import replay_files
from stream.settings import Settings
from tests.conftest import train_small
from tests.harness.markov_shoppers import SyntheticLog, markov_shoppers
from tests.harness.serving import with_unknown_items

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]


def globo_file(log: SyntheticLog, path: Path) -> Path:
    frame = with_unknown_items(log.frame).assign(user_id="u")
    frame = frame.rename(columns={"event_time_ms": "timestamp_ms"})
    frame.to_csv(path, index=False, columns=["timestamp_ms", "session_id", "user_id", "item_id"])
    return path


def run(settings: Settings, *arguments: str) -> tuple[int, Any]:
    environment = {**os.environ, **settings.environment()}
    ended = CliRunner().invoke(
        nextclick.app, ["certify", *arguments, "--json"], env=environment, catch_exceptions=False
    )
    assert ended.exit_code in (0, 1), ended.output
    return ended.exit_code, json.loads(ended.stdout)


def test_the_same_input_and_weights_give_the_same_hash_with_kills_and_other_weights_another(
    kafka: str, tmp_path: Path
) -> None:
    shoppers = markov_shoppers(sessions=1_500, items=120, seed=11)
    # Small waves, so that there is something under way for a while.
    settings = Settings(
        bootstrap_servers=kafka, registry_dir=tmp_path / "registry", partitions=2, wave_size=4
    )
    registry = Registry(settings.registry_dir)
    first = train_small(shoppers, registry, epochs=1)
    second = train_small(shoppers, registry, epochs=1, seed=1)
    log = str(globo_file(shoppers, tmp_path / "log.csv"))
    paths = [tmp_path / f"{name}.json" for name in ("calm", "killed", "other")]
    calm, killed, other = map(str, paths)

    code, told = run(settings, log, "--model", first.version, "--certificate", calm)
    assert code == 0
    assert told["lists"] == told["events"] == len(shoppers.frame)
    assert told["weights_sha256"] == first.manifest["sha256"]["weights.safetensors"]
    code, again = run(
        settings, log, "--model", first.version, "--certificate", killed, "--compare", calm,
        "--kills", "2", "--seed", "3",
    )  # fmt: skip
    assert code == 0
    assert again["same"] is True
    assert again["lists_sha256"] == told["lists_sha256"]
    assert again["kills"] == 2
    # Something was served twice, or no kill came while there was something to lose.
    assert again["lists_twice"] + again["kills_in_mid_stream"] > 0
    code, differs = run(settings, log, "--model", second.version, "--certificate", other, "--compare", calm)
    assert code == 1
    assert differs["same"] is False
    assert differs["lists_sha256"] != told["lists_sha256"]

    one, two = (read_certificate(path, LISTS) for path in (paths[0], paths[2]))
    found = difference(two, paths[2], one, paths[0])
    assert found is not None
    assert found.event_id == "0-0"
    assert any(line.startswith("model_version: ") for line in found.what)
    # A single list that is another one is found at its event.
    rows = bytearray(digests_path(paths[1]).read_bytes())
    rows[8 * 30 + 4] ^= 1
    digests_path(paths[1]).write_bytes(rows)
    content = json.loads(paths[1].read_bytes())
    content["partitions"][0]["sha256"] = "0" * 64
    paths[1].write_text(json.dumps(content))
    found = difference(read_certificate(paths[1], LISTS), paths[1], one, paths[0])
    assert found is not None
    assert found.event_id == "0-30"
    # A topic that holds the log is served as the log is.
    own = Settings(bootstrap_servers=kafka, events_topic=f"events-{uuid.uuid4().hex[:8]}", partitions=2)
    replay_files(own, EventFiles([Path(log)]))
    topic = settings.model_copy(update={"events_topic": own.events_topic})
    of_topic = str(tmp_path / "topic.json")
    code, told = run(
        topic, "--from-topic", "--model", first.version, "--certificate", of_topic, "--compare", calm
    )
    assert (code, told["same"]) == (0, True)
    # Nothing of the runs is left on the broker.
    topics = AdminClient(settings.kafka_config()).list_topics(timeout=60).topics
    assert not [name for name in topics if name.startswith("certify-") and topics[name].error is None]


def test_a_failed_run_leaves_no_topics_and_no_certificate(
    kafka: str, shoppers: SyntheticLog, tmp_path: Path
) -> None:
    settings = Settings(
        bootstrap_servers=kafka, registry_dir=tmp_path / "registry", device="cuda:63", partitions=2
    )
    model = train_small(shoppers, Registry(settings.registry_dir))
    path = tmp_path / "lists.json"
    with pytest.raises(NextclickError, match="the worker ended"):
        certify_lists(
            settings,
            [shoppers.frame[:100]],
            model.version,
            path=path,
            folder=tmp_path / "run",
            moments=random.Random(1),
        )
    assert not path.exists()


def test_settings_by_which_lists_depend_on_the_load_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NextclickError, match="popular_lag is set"):
        isolated_settings(Settings(popular_lag=5), tmp_path)
    own = isolated_settings(Settings(follow="both", wave_size=7), tmp_path)
    assert (own.deterministic, own.follow, own.wave_size) == (True, "none", 7)
