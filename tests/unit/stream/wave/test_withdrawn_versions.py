"""A version whose lists cannot be published is out of service after the restart, and so is a bad champion."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import numpy as np
import pytest
from confluent_kafka import KafkaError

from model.config import ModelConfig
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.networks.by_name import build
from model.registry.registry import Registry
from model.registry.version_files import RefusedVersion
from model.training.trained_model import TrainedModel
from stream.kafka.topic_check import MIN_MESSAGE_BYTES
from stream.settings import Settings
from stream.wave.first_version import prepare_first
from stream.wave.serving_model import ModelSlot
from stream.wave.withdrawn_versions import FILE, WithdrawnVersions
from stream.worker.sink import DeliveryError, Sink, UnpublishableList


def saved(registry: Registry, items: int = 3) -> str:
    vocabulary = Vocabulary([f"i{n}" for n in range(items)], np.arange(items) + 1)
    config = ModelConfig(network="pop")
    version = registry.save(TrainedModel(build(config, vocabulary), config, vocabulary), scores={}, data={})
    registry.champions.promote(version.version)
    return version.version


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(registry_dir=tmp_path / "registry", state_dir=tmp_path / "state", device="cpu")


def sink(settings: Settings, failed: list[BaseException]) -> Sink:
    return Sink(settings, commit=lambda _: None, on_durable=lambda _: None, on_failure=failed.append)


def test_a_list_too_large_names_its_version_and_takes_it_out_of_service(settings: Settings) -> None:
    registry = Registry(settings.registry_dir)
    former, champion = saved(registry), saved(registry, items=4)
    shown = SimpleNamespace(
        arrival=SimpleNamespace(partition=0, offset=7, received_ns=0),
        model_version=champion,
        position=1,
        fallback="",
        session_id="s",
        event_time_ms=5,
        # More than librdkafka sends in one record.
        items=["x" * 60_000] * 20,
        scores=[0.5] * 20,
        headers=[],
    )
    wave = SimpleNamespace(
        lists=[shown],
        dead=[],
        size=1,
        stepped_us=1,
        started_ns=1,
        item_words="",
        level=0,
        writes={},
        purchases=[],
        placed=[],
    )
    failed: list[BaseException] = []
    publishing = sink(settings, failed)
    publishing.start()
    publishing.submit(cast(Any, wave))
    publishing._thread.join()
    (error,) = failed
    assert isinstance(error, UnpublishableList)
    assert error.version == champion
    assert champion in error.what
    live = ModelSlot(settings)
    serving, refused = prepare_first(live, registry)
    assert serving.version == former
    assert [cast(RefusedVersion, one).reason for one in refused] == ["unpublishable"]
    with pytest.raises(RefusedVersion, match=FILE):
        live.prepare(champion)
    # The mark is the file: without it the version may serve again.
    WithdrawnVersions(settings.state_dir).path.unlink()
    assert prepare_first(live, registry)[0].version == champion


def test_only_lists_withdraw_a_version(settings: Settings) -> None:
    publishing = sink(settings, [])
    small = msgspec.json.encode({"model_version": "v1"})
    value = msgspec.json.encode({"model_version": "v1", "items": "i" * MIN_MESSAGE_BYTES})
    too_large, other = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE), KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)
    assert isinstance(publishing._refused(settings.dlq_topic, value, too_large), DeliveryError)
    assert isinstance(publishing._refused(settings.recommendations_topic, value, other), DeliveryError)
    # Brokers limit batches: any topic takes this list, so it was in too large a batch.
    assert isinstance(publishing._refused(settings.recommendations_topic, small, too_large), DeliveryError)
    assert WithdrawnVersions(settings.state_dir).reason("v1") is None
    refused = publishing._refused(settings.recommendations_topic, value, too_large)
    assert isinstance(refused, UnpublishableList)
    assert WithdrawnVersions(settings.state_dir).reason("v1") == refused.what


def test_a_champion_that_cannot_serve_leaves_the_start_to_the_newest_one_before(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    registry = Registry(settings.registry_dir)
    oldest, former, champion = (saved(registry, items=n) for n in (3, 4, 5))
    os.truncate(settings.registry_dir / champion / "vocabulary.json", 10)
    live = ModelSlot(settings)
    assert prepare_first(live, registry)[0].version == former
    assert f"CHAMPION names {champion}, which cannot serve" in caplog.text
    (settings.registry_dir / former / "config.json").unlink()
    serving, refused = prepare_first(live, registry)
    assert serving.version == oldest
    assert len(refused) == 2
    (settings.registry_dir / oldest / "config.json").unlink()
    with pytest.raises(NextclickError, match=champion):
        prepare_first(live, registry)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"v1": 3}', b"[" * 100_000])
def test_marks_that_cannot_be_read_stop_no_worker(settings: Settings, content: bytes) -> None:
    settings.state_dir.mkdir()
    withdrawn = WithdrawnVersions(settings.state_dir)
    withdrawn.path.write_bytes(content)
    assert withdrawn.reason("v1") is None
    withdrawn.add("v1", "too large")
    assert withdrawn.reason("v1") == "too large"
