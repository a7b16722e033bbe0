import hashlib
import json
import os
import urllib.request
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from safetensors.torch import load_file, save_file

from model.durable import write_durably
from model.networks.model_version import ModelVersion
from model.registry.registry import Registry
from model.registry.version_files import MANIFEST, WEIGHTS
from replay.end_to_end.worker_process import WorkerProcess
from stream.kafka.announcements import announce
from tests.conftest import train_small
from tests.harness.markov_shoppers import SyntheticLog, markov_shoppers
from tests.harness.serving import (
    MakeSettings,
    all_committed,
    all_lists,
    assert_equal_to_offline,
    by_event,
    some_lists,
    stop,
    worker,
)
from tests.harness.steady_load import SteadyLoad

pytestmark = pytest.mark.kafka


def metric(process: WorkerProcess, name: str) -> dict[str, float]:
    """A counter's or gauge's samples by the value of their only label."""
    with urllib.request.urlopen(f"{process.address}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    return {
        next(iter(sample.labels.values()), ""): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


def test_a_version_is_taken_up_mid_stream_without_a_gap_and_once_for_each_partition(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(deterministic=True, step_threads=2, partitions=4)
    log = markov_shoppers(sessions=1500, items=120, seed=7)
    registry = Registry(settings.registry_dir)
    new = train_small(log, registry, seed=2)
    old = train_small(log, registry, seed=3)
    with worker(settings, tmp_path) as process, SteadyLoad(settings, log.frame, 1500, (0.75,)) as load:
        process.wait_until(some_lists(len(log.frame) // 4), "a part of the lists")
        assert registry.promote(new.version) == old.version
        announce(settings, new.version)
        process.wait_until(lambda s: s["model"] == new.version, "the swap")
        load.send_the_rest()
        process.wait_until(all_committed(settings), "the rest")
        stop(process)
    received = all_lists(settings)
    lists = by_event(received)
    assert len(lists) == len(received) == len(log.frame)
    for number in range(settings.partitions):
        versions = [r.recommendation.model_version for r in received if r.partition == number]
        assert (versions[0], versions[-1]) == (old.version, new.version)
        assert sum(before != after for before, after in pairwise(versions)) == 1
    by_old = {event_id for event_id, shown in lists.items() if shown.model_version == old.version}
    assert_equal_to_offline(settings, old, log.frame, without=lists.keys() - by_old)
    assert_equal_to_offline(settings, new, log.frame, without=by_old)


def with_new_manifest(registry: Registry, model: ModelVersion, change: Callable[[Path], None]) -> str:
    """Change a version's files, and let its manifest say that they are as they should be."""
    folder = registry.root / model.version
    change(folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["sha256"] = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in manifest["sha256"]
    }
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return model.version


def cut_items(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    save_file({name: t[:-1].clone() for name, t in tensors.items()}, folder / WEIGHTS)


def spoil(value: float) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        tensors["item_VH"][:] = value
        save_file(tensors, folder / WEIGHTS)

    return change


def test_a_version_that_cannot_serve_is_refused_by_reason_and_the_old_one_goes_on(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path
) -> None:
    settings = make_settings(deterministic=True, step_threads=2)
    registry = Registry(settings.registry_dir)
    versions = [train_small(shoppers, registry, epochs=1, seed=seed) for seed in range(7)]
    truncated, altered, unread, nan, overflow, smaller, serving = versions
    os.truncate(registry.root / truncated.version / WEIGHTS, 100)
    write_durably(registry.root / altered.version / "config.json", b"{}")
    with_new_manifest(registry, unread, lambda folder: write_durably(folder / WEIGHTS, b"no tensors"))
    with_new_manifest(registry, nan, spoil(float("nan")))
    with_new_manifest(registry, overflow, spoil(3e38))
    with_new_manifest(registry, smaller, cut_items)
    expected = Counter(
        {"checksum": 2, "unreadable": 1, "not_finite": 2, "mismatch": 1, "unknown": 1, "announcement": 0}
    )
    with worker(settings, tmp_path) as process, SteadyLoad(settings, shoppers.frame, 500) as load:
        process.wait_until(some_lists(100), "some lists")
        for version in (*(model.version for model in versions[:-1]), "nowhere"):
            announce(settings, version)
        process.wait_until(
            lambda _: sum(metric(process, "nextclick_refused_versions_total").values()) >= 7, "the refusals"
        )
        refused = metric(process, "nextclick_refused_versions_total")
        load.send_the_rest()
        process.wait_until(all_committed(settings), "the rest")
        status = stop(process)
        log = process.log()
    assert {reason: refused[reason] for reason in expected} == dict(expected)
    assert status["model"] == serving.version
    for words in (
        f"{truncated.version} in {registry.root} is corrupt: {WEIGHTS} (100 bytes) does not match",
        "config.json (2 bytes) does not match",
        "weights that are no numbers in item_VH",
        f"version {overflow.version} gives scores that are no numbers",
        "the weights are not those of 120 items",
        "there is no version 'nowhere'",
    ):
        assert words in log
    assert log.count(f"; {serving.version} goes on") == 7
    assert_equal_to_offline(settings, serving, shoppers.frame)
