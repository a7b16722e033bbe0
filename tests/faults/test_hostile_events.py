import json
import re
import threading
from pathlib import Path

import pytest
from confluent_kafka import Producer

from model.registry.registry import Registry
from stream.event_log.archive_folder import ArchiveFolder
from stream.event_log.archiver import Archiver
from stream.event_log.window import read_window
from tests.conftest import train_small
from tests.harness.markov_shoppers import SyntheticLog
from tests.harness.serving import MakeSettings, all_lists, served, stop, worker

pytestmark = pytest.mark.kafka
TRAP = "nextclick-trap"
IDS = [
    f"../../../../../../tmp/{TRAP}",
    f"/tmp/{TRAP}",
    f"..\\..\\{TRAP}",
    f"file:///tmp/{TRAP}",
    f"$(touch /tmp/{TRAP})",
    f"`touch /tmp/{TRAP}`; touch /tmp/{TRAP}",
    f"<script>alert('{TRAP}')</script>",
    f"\x1b[31m{TRAP}\x1b]0;x\x07",
    f"{TRAP}\n2026-01-01 00:00:00 ERROR forged line",
    f"{TRAP}\r\x00\u2028\u202e",
    f"%s%n{{0.__class__}}{TRAP}",
    f"partition=0/{TRAP}.parquet",
]


def test_values_of_strangers_reach_no_path_no_log_line_and_no_metric(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path
) -> None:
    settings = make_settings(log_level="DEBUG")
    train_small(shoppers, Registry(settings.registry_dir))
    start_ms = int(shoppers.frame["event_time_ms"].max())
    producer = Producer(settings.producer_config())
    sent: list[bytes] = []
    for number, name in enumerate(IDS):
        event = {"session_id": name, "item_id": name, "event_time_ms": start_ms + number, "user_id": name}
        described = {**event, "title": name, "brand": name, "category": name}
        known = {**event, "item_id": str(shoppers.frame["item_id"].iloc[0])}
        for value in (described, known, {**event, "event_time_ms": name}, {**event, "kind": name}):
            sent.append(json.dumps(value).encode())
            producer.produce(settings.events_topic, sent[-1], name.encode())
        producer.produce(settings.events_topic, name.encode(), name.encode())
        producer.produce(settings.models_topic, json.dumps({"version": name}).encode(), b"champion")
    assert producer.flush(120) == 0
    with worker(settings, tmp_path) as process:
        status = process.wait_until(served(5 * len(IDS)), "all of them")
        assert status["accounting"]["dead_lettered"] == 3 * len(IDS)
        page = json.dumps(status)
        stop(process)
        log = process.log()
    assert TRAP not in page
    assert "forged line" not in {line[:11] for line in log.splitlines()}
    assert not re.search(r"^2026-01-01 00:00:00 ERROR", log, re.MULTILINE)
    assert all(character.isprintable() or character == "\n" for character in log)
    assert sorted({received.recommendation.session_id for received in all_lists(settings)}) == sorted(IDS)

    archiver = Archiver(settings, ArchiveFolder(tmp_path / "archive"), rotate_events=7, rotate_s=60)
    assert archiver.run(threading.Event(), until_end=True).events == 5 * len(IDS)
    window = read_window(settings, archive=tmp_path / "archive")
    assert set(window.frame["session_id"]) == set(IDS)
    assert not Path("/tmp", TRAP).exists()
    assert [path for path in tmp_path.rglob("*") if TRAP in str(path)] == []
