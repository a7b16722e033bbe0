import json
import os
import shutil
from pathlib import Path

import pytest
from confluent_kafka import Producer

from model.registry.registry import Registry
from replay.sending.replay import replay_frames
from stream.settings import Settings
from tests.conftest import train_small
from tests.harness.markov_shoppers import SyntheticLog
from tests.harness.serving import (
    MakeSettings,
    all_committed,
    all_lists,
    assert_equal_to_offline,
    by_event,
    run_to_the_end,
    served,
    stop,
    worker,
)

pytestmark = pytest.mark.kafka


def announce(settings: Settings, value: bytes) -> None:
    producer = Producer(settings.producer_config())
    producer.produce(settings.models_topic, value, b"champion")
    assert producer.flush(120) == 0


def test_a_model_whose_files_are_truncated_swapped_or_removed_serves_on(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path
) -> None:
    settings = make_settings(deterministic=True)
    model = train_small(shoppers, Registry(settings.registry_dir))
    frame, third = shoppers.frame, len(shoppers.frame) // 3
    folder = settings.registry_dir / model.version
    replay_frames(settings, [frame.iloc[:third]])
    with worker(settings, tmp_path) as process:
        process.wait_until(served(third), "the first part")
        os.truncate(folder / "weights.safetensors", 100)
        (folder / "vocabulary.json").write_text("{}")
        replay_frames(settings, [frame.iloc[third : 2 * third]])
        process.wait_until(served(2 * third), "the second part")
        shutil.rmtree(folder)
        replay_frames(settings, [frame.iloc[2 * third :]])
        process.wait_until(all_committed(settings), "the rest")
        stop(process)
    assert_equal_to_offline(settings, model, frame)


def test_an_announcement_that_cannot_be_followed_is_refused_and_a_good_one_is(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path
) -> None:
    settings = make_settings(deterministic=True)
    registry = Registry(settings.registry_dir)
    broken = train_small(shoppers, registry, seed=1)
    good = train_small(shoppers, registry, seed=2)
    first = train_small(shoppers, registry, seed=3)
    os.truncate(settings.registry_dir / broken.version / "weights.safetensors", 100)
    frame, half = shoppers.frame, len(shoppers.frame) // 2
    replay_frames(settings, [frame.iloc[:half]])
    with worker(settings, tmp_path) as process:
        process.wait_until(served(half), "the first half")
        for value in (b"", b"{", b'{"version":"none"}', json.dumps({"version": broken.version}).encode()):
            announce(settings, value)
        announce(settings, json.dumps({"version": good.version}).encode())
        status = process.wait_until(lambda s: s["model"] != first.version, "the swap")
        assert status["model"] == good.version
        assert process.log().count("version_refused") == 4
        replay_frames(settings, [frame.iloc[half:]])
        process.wait_until(all_committed(settings), "the rest")
        stop(process)
    versions = {shown.model_version for shown in by_event(all_lists(settings)).values()}
    assert versions == {first.version, good.version}


def test_after_a_swap_every_session_is_stepped_by_the_new_version_as_if_always(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path
) -> None:
    settings = make_settings(deterministic=True)
    registry = Registry(settings.registry_dir)
    train_small(shoppers, registry, seed=2)
    frame, half = shoppers.frame, len(shoppers.frame) // 2
    replay_frames(settings, [frame.iloc[:half]])
    run_to_the_end(settings, tmp_path)
    old = {shown.event_id for shown in by_event(all_lists(settings)).values()}
    assert len(old) == half
    new = train_small(shoppers, registry, seed=3)
    replay_frames(settings, [frame.iloc[half:]])
    run_to_the_end(settings, tmp_path)
    assert_equal_to_offline(settings, new, frame, without=old)
