import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from model.registry.registry import Registry
from replay.sending.replay import replay_frames
from stream.events import Event, encode_event
from stream.settings import Settings
from tests.conftest import train_small
from tests.harness.fork_server import run
from tests.harness.markov_shoppers import SyntheticLog
from tests.harness.serving import (
    MakeSettings,
    all_lists,
    assert_equal_to_offline,
    by_event,
    run_to_the_end,
    served,
    some_lists,
    with_features,
    with_unknown_items,
    with_unknown_users,
    worker,
)

pytestmark = pytest.mark.kafka

FEATURE_LSTM = {"network": "feature-lstm", "layers": 2, "loss": "full-cross-entropy", "unroll": 4}


@pytest.mark.parametrize(
    "config",
    [
        {"exclude_session_items": False},
        {"exclude_session_items": True},
        {"layers": 2, "embedding": "one-hot", "prior_half_lives_s": (600.0, 3600.0)},
        {"network": "recurrent", "stack": ("gru-12", "dense-12", "lstm-16"), "batch_norm": True},
        {"network": "recurrent", "cell": "rnn", "layers": 2, "exclude_session_items": True},
        {"network": "user-gru-linear", "layers": 2},
        {"network": "user-gru-rectified", "embedding": "separate"},
        {"network": "user-gru-attentional", "exclude_session_items": True},
        {"network": "pop", "exclude_session_items": True},
        {"network": "s-pop"},
        {"network": "transitions"},
        {"network": "decayed-item-knn", "exclude_session_items": True},
        {"network": "time-weighted-item-knn", "decay_time_s": 60.0},
        {"network": "v-sknn"},
        {"network": "fused"},
        {"network": "fused", "layers": 2, "exclude_session_items": True},
        {"network": "bpr-mf"},
        {"network": "sequential-mf"},
        {**FEATURE_LSTM, "layers": 3, "epochs": 8},
        {
            "network": "text-gru",
            "loss": "cosine",
            "optimizer": "adam",
            "hidden_size": 64,
            "title_size": 128,
            "learning_rate": 0.005,
            "epochs": 8,
        },
    ],
    ids=lambda config: "-".join(map(str, config.values())),
)
def test_streamed_lists_equal_the_offline_lists_event_for_event(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path, config: dict[str, Any]
) -> None:
    settings = make_settings(deterministic=True)
    described = replace(shoppers, frame=with_features(shoppers.frame))
    model = train_small(described, Registry(settings.registry_dir), **config)
    frame = with_unknown_users(with_unknown_items(described.frame))
    replay_frames(settings, [frame])
    with worker(settings, tmp_path) as process:
        status = process.wait_until(served(len(frame)), "the whole log")
        assert process.stop() == 0
    accounting = status["accounting"]
    assert accounting["holds"]
    assert accounting["unknown"] == int((frame["item_id"] == "never-seen").sum())
    assert accounting["stepped"] + accounting["unknown"] == len(frame) == accounting["read"]
    recall = status["quality"]["champion"]["total"]["recall_at_20"]
    assert recall > (0.1 if "pop" in config.get("network", "") else 0.3)
    assert_equal_to_offline(settings, model, frame)


def test_a_session_begins_anew_after_silence_and_after_session_end(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path
) -> None:
    settings = make_settings(deterministic=True, partitions=1)
    train_small(shoppers, Registry(settings.registry_dir))
    start, minute = 1_700_000_000_000, 60_000
    steps = [
        ("a", "i1", start),
        ("a", "i2", start + minute),
        ("b", "i2", start + 2 * minute),  # fresh session: what "a" must show after each reset
        ("a", "", start + 3 * minute),
        ("a", "i2", start + 4 * minute),
        ("a", "i2", start + 4 * minute + 1_800_001),
        ("a", "i2", start + 4 * minute + 1_800_001 + 1_800_000),  # exactly the gap: goes on
    ]
    producer = Producer(settings.producer_config())
    for session_id, item_id, time_ms in steps:
        kind: Any = "view" if item_id else "session_end"
        event = Event(session_id, time_ms, item_id, kind)
        producer.produce(settings.events_topic, encode_event(event), session_id.encode(), timestamp=time_ms)
    assert producer.flush(120) == 0
    with worker(settings, tmp_path) as process:
        status = process.wait_until(served(len(steps)), "all events")
    received = all_lists(settings)
    lists = by_event(received)
    positions = {r.recommendation.event_id: int(r.headers["position"]) for r in received}
    assert positions == {"0-0": 1, "0-1": 2, "0-2": 1, "0-4": 1, "0-5": 1, "0-6": 2}
    fresh = lists["0-2"].scores
    assert lists["0-1"].scores != fresh
    assert lists["0-4"].scores == fresh
    assert lists["0-5"].scores == fresh
    assert lists["0-6"].scores != fresh
    assert status["accounting"]["ended"] == 1
    assert status["accounting"]["holds"]


@pytest.mark.parametrize(
    ("how", "lose_the_disk", "config"),
    [
        *((how, lose, {}) for how in (signal.SIGTERM, signal.SIGKILL) for lose in (False, True)),
        (signal.SIGKILL, True, FEATURE_LSTM),
    ],
)
def test_a_restart_in_mid_stream_leaves_no_event_unserved_and_none_stepped_twice(
    make_settings: MakeSettings,
    shoppers: SyntheticLog,
    tmp_path: Path,
    how: signal.Signals,
    lose_the_disk: bool,
    config: dict[str, Any],
) -> None:
    # Small waves, so that the restarts fall between many of them.
    settings = make_settings(deterministic=True, wave_size=4, commit_interval_ms=20)
    described = replace(shoppers, frame=with_features(shoppers.frame))
    model = train_small(described, Registry(settings.registry_dir), **config)
    frame = with_unknown_items(described.frame)
    replay_frames(settings, [frame])
    for part in (0.2, 0.5):
        with worker(settings, tmp_path) as process:
            process.wait_until(some_lists(int(part * len(frame) / 4)), "some lists")
            process.process.send_signal(how)
            assert process.process.wait(240) == (0 if how is signal.SIGTERM else -signal.SIGKILL)
        if lose_the_disk:
            settings.state_dir.rename(tmp_path / f"lost-{part}")
    status = run_to_the_end(settings, tmp_path)
    assert status["accounting"]["read"] > 0, "the kills came too late to leave something"
    assert_equal_to_offline(settings, model, frame)


def test_a_record_that_cannot_be_read_goes_to_the_dead_letters_with_its_reason(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path
) -> None:
    settings = make_settings(partitions=1)
    train_small(shoppers, Registry(settings.registry_dir))
    good = encode_event(Event("s", 1_700_000_000_000, "i1"))
    records: list[tuple[bytes | None, bytes, str]] = [
        (b"", b"k", "empty"),
        (b"\xff\xfe", b"k", "not_json"),
        (b"[1]", b"k", "schema"),
        (b'{"session_id":"s","event_time_ms":-5,"item_id":"i1"}', b"s", "schema"),
        (b'{"session_id":"s","event_time_ms":5}', b"s", "empty_id"),
        (good, b"other", "key_mismatch"),
        (good.replace(b"1700000000000", b"4102444799999"), b"s", "future"),
        (b" " * 70_000, b"k", "too_large"),
    ]
    producer = Producer(settings.producer_config())
    for value, key, _ in records:
        producer.produce(settings.events_topic, value, key)
    producer.produce(settings.events_topic, good, b"s")
    assert producer.flush(120) == 0
    with worker(settings, tmp_path) as process:
        status = process.wait_until(served(len(records) + 1), "all records")
    assert status["accounting"]["dead_lettered"] == len(records)
    assert status["accounting"]["stepped"] == 1
    assert status["accounting"]["holds"]
    consumer = Consumer({**settings.kafka_config(), "group.id": "dead"})
    consumer.assign([TopicPartition(settings.dlq_topic, 0, 0)])
    letters = consumer.consume(len(records), timeout=60)
    consumer.close()
    found = [(m.value() or b"", m.key(), dict(m.headers() or [])) for m in letters]
    for offset, ((value, key, reason), letter) in enumerate(zip(records, found, strict=True)):
        assert letter[:2] == (value, key)
        assert letter[2]["reason"] == reason.encode()
        assert letter[2]["offset"] == str(offset).encode()


def run_worker_to_its_end(settings: Settings) -> subprocess.CompletedProcess[str]:
    return run("worker", env={**os.environ, **settings.environment()}, timeout=240)


def test_a_corrupt_model_ends_the_worker_before_anything_is_consumed(
    make_settings: MakeSettings, shoppers: SyntheticLog
) -> None:
    settings = make_settings()
    model = train_small(shoppers, Registry(settings.registry_dir))
    weights = settings.registry_dir / model.version / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    ended = run_worker_to_its_end(settings)
    assert ended.returncode == 2
    assert "does not match its SHA-256" in ended.stderr
    assert not settings.state_dir.exists()


def test_a_wrong_number_of_partitions_ends_the_worker_with_both_numbers(
    make_settings: MakeSettings,
) -> None:
    settings = make_settings(partitions=2)
    ended = run_worker_to_its_end(settings.model_copy(update={"partitions": 3}))
    assert ended.returncode == 2
    assert f"{settings.events_topic} has 2 partitions, expected 3" in ended.stderr


def test_no_broker_ends_the_worker_with_its_address(tmp_path: Path) -> None:
    settings = Settings(bootstrap_servers="127.0.0.1:9", state_dir=tmp_path / "state")
    ended = run_worker_to_its_end(settings)
    assert ended.returncode == 2
    assert "no Kafka broker answered at 127.0.0.1:9" in ended.stderr
