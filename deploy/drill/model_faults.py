"""Faults of versions and of retraining: a bad version announced, a registry that cannot be written."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from deploy.drill.disks import second_place
from deploy.drill.fault import Fault, Step, nothing_heals
from deploy.drill.stage import Stage
from replay.end_to_end.worker_process import free_port
from stream.kafka.announcements import announce

RUN_EVERY = "10s"


@contextmanager
def bad_version(stage: Stage) -> Iterator[Step]:
    """A champion whose weights are cut off is announced; workers must refuse it and serve on."""
    registry = stage.group.registry
    before = registry.champion() or ""
    bad = stage.group.train(seed=3)
    os.truncate(registry.root / bad / "weights.safetensors", 100)
    announce(stage.settings, bad)
    stage.strike()
    try:
        yield nothing_heals
    finally:
        registry.promote(before)
        announce(stage.settings, before)


@contextmanager
def registry_read_only(stage: Stage) -> Iterator[Step]:
    """A retraining that runs on a schedule cannot write into its registry any more.

    One that cannot at its start ends, which NextclickServiceDown tells.
    """
    port, registry = free_port(), stage.folder / "registry-read-only"
    with (
        second_place(stage.group.registry.root, registry) as forbid_writing,
        stage.command(
            "retrain",
            "retrain",
            "--every",
            RUN_EVERY,
            registry_dir=registry,
            metrics_port=port,
            worker_id="retrain",
        ),
    ):
        stage.group.wait(lambda: _answers(port), "the retraining to answer")
        stage.watch.watch("retrain", [f"127.0.0.1:{port}"])
        forbid_writing()
        stage.strike()
        try:
            yield nothing_heals
        finally:
            stage.watch.watch("retrain", [])


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


MODEL_FAULTS = [
    Fault(
        "bad-version",
        "version that cannot be loaded announced",
        ("NextclickVersionsDiffer",),
        600,
        bad_version,
    ),
    Fault(
        "retrain",
        "retraining cannot write its registry",
        ("NextclickRetrainFailing",),
        600,
        registry_read_only,
    ),
]
