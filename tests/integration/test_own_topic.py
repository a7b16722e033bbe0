"""A topic of one's own, read directly by every program that reads events."""

import json
from pathlib import Path
from threading import Event as Flag
from typing import Any

import pandas as pd
import pytest
from confluent_kafka import Producer

from model.errors import NextclickError
from model.registry.registry import Registry
from stream.event_log.archive_folder import ArchiveFolder
from stream.event_log.archiver import Archiver
from stream.event_log.window import EventWindow, read_window
from stream.ingest.decoders import decoder_of
from stream.kafka.dead_letter_reader import letters
from stream.kafka.topics import ensure_topics
from stream.log_mapping import LogMapping
from stream.settings import Settings
from tests.conftest import train_small
from tests.harness.commands import run_json
from tests.harness.markov_shoppers import SyntheticLog
from tests.harness.serving import MakeSettings, served, worker

pytestmark = pytest.mark.kafka

SHOP = LogMapping(
    {
        "session": "visitor.id",
        "item": "payload.product.sku",
        "time": "@timestamp",
        "kind": "type",
        "user": "@header.account",
    },
    {"pv": "view", "scroll": "left out"},
)
COLUMNS = ["session_id", "item_id", "event_time_ms", "kind", "user_id"]


def produce(settings: Settings, frame: pd.DataFrame) -> tuple[int, int]:
    """Send the log as the shop would: → how many other records, and how many that cannot be read."""
    producer = Producer(settings.producer_config())
    others = broken = 0
    for number, row in enumerate(frame.itertuples(index=False)):
        key = row.session_id.encode()
        record: dict[str, Any] = {
            "type": "pv",
            "visitor": {"id": row.session_id},
            # JSON in a text, as a gateway wraps it.
            "payload": json.dumps({"product": {"sku": row.item_id, "tags": [1, 2]}}),
        }

        def send(value: bytes, key: bytes = key, time_ms: int = row.event_time_ms) -> None:
            producer.produce(
                settings.events_topic, value, key, timestamp=time_ms, headers=[("account", b"u" + key)]
            )

        send(json.dumps(record).encode())
        if number % 7 == 0:
            send(json.dumps({**record, "type": "scroll", "payload": "a text"}).encode())
            send(json.dumps({**record, "payload": None}).encode())
            others += 2
        if number % 11 == 0:
            send(json.dumps({**record, "payload": "{"}).encode())
            broken += 1
        producer.poll(0)
    assert producer.flush(120) == 0
    return others, broken


def rows(window: EventWindow) -> list[tuple[Any, ...]]:
    return sorted(window.frame[COLUMNS].itertuples(index=False, name=None))


def test_every_program_reads_the_same_events_of_a_topic_of_ones_own(
    make_settings: MakeSettings,
    shoppers: SyntheticLog,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "shop.toml"
    file.write_text(SHOP.as_toml())
    own = make_settings()
    settings = own.model_copy(update={"events_mapping": str(file)})
    settings.model_fields_set.add("events_mapping")
    train_small(shoppers, Registry(settings.registry_dir))
    frame = shoppers.frame
    others, broken = produce(settings, frame)
    expected = sorted(
        (row.session_id, row.item_id, row.event_time_ms, "view", f"u{row.session_id}")
        for row in frame.itertuples(index=False)
    )
    session_id = frame["session_id"].iloc[-1]

    with worker(settings, tmp_path) as process:
        status = process.wait_until(served(len(frame) + others + broken), "the whole topic")
        view = run_json("session", "show", session_id, "--worker", process.address)
        assert process.stop() == 0
    accounting = status["accounting"]
    assert accounting["holds"]
    assert (accounting["left_out"], accounting["dead_lettered"]) == (others, broken)
    assert accounting["stepped"] + accounting["unknown"] == len(frame) == status["lists"]
    # Another start without the store: the histories are read again.
    settings.state_dir.rename(tmp_path / "lost")
    with worker(settings, tmp_path) as process:
        again = run_json("session", "show", session_id, "--worker", process.address)
        assert process.stop() == 0
    assert [item["item_id"] for item in again["items"]] == [item["item_id"] for item in view["items"]]
    assert again["position"] == view["position"] > 1

    decoder = decoder_of(settings)
    window = read_window(settings, decoder=decoder)
    assert rows(window) == expected
    assert window.left_out == {"other_kind": others // 2, "no_item": others // 2}
    assert window.rejected == {"not_json": broken}
    archive = tmp_path / "archive"
    archiver = Archiver(settings, ArchiveFolder(archive), rotate_events=10_000, rotate_s=60, decoder=decoder)
    archiver.run(Flag(), until_end=True)
    archived = read_window(settings, archive=archive)
    assert rows(archived) == expected
    assert (archived.left_out, archived.rejected) == (window.left_out, window.rejected)

    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    settings.state_dir.rename(tmp_path / "lost too")
    # The first model of a registry, learned from the topic.
    monkeypatch.setenv("NEXTCLICK_REGISTRY_DIR", str(tmp_path / "first"))
    first = run_json("retrain", "--set", "network=transitions", "--min-sessions", "1", "--no-announce")
    assert (first["outcome"], first["events"]) == ("accepted", len(frame))
    assert Registry(tmp_path / "first").champion() == first["version"]
    monkeypatch.setenv("NEXTCLICK_REGISTRY_DIR", str(settings.registry_dir))
    logged = run_json("session", "show", session_id)
    assert [item["item_id"] for item in logged["items"]] == [item["item_id"] for item in view["items"]]
    assert logged["source"] == "log"
    # What cannot be read keeps its time and headers, by which a letter is an event again when it is mended.
    kept = list(letters(settings))
    assert len(kept) == broken
    assert all(letter.timestamp_ms and dict(letter.headers)["account"] for letter in kept)
    replayed = run_json("dlq", "replay", "--dry-run")
    assert (replayed["sent"], replayed["still_bad"]) == (0, {"not_json": broken})


def test_a_topic_of_ones_own_is_not_made(make_settings: MakeSettings, tmp_path: Path) -> None:
    made = make_settings()
    settings = made.model_copy(update={"events_mapping": "shop.toml", "events_topic": "no-such-clicks"})
    with pytest.raises(NextclickError, match="no-such-clicks is not there"):
        ensure_topics(settings)
