"""The guard over a promotion where the registry cannot be changed."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from model.registry.registry import Registry
from stream.quality.prequential import Prequential
from stream.settings import Settings
from stream.wave.serving_model import ModelSlot
from stream.wave.shadow import FORMER, Shadow, ShadowTrial
from stream.worker import model_switch
from stream.worker.counters import WorkerCounters
from stream.worker.model_switch import ModelSwitch

WORSE = {"sessions": 10**9, "recall_difference": [0.1, 0.05, 0.2]}


@pytest.mark.parametrize(
    "error", [OSError(30, "Read-only file system"), ValueError("a was not champion before b")]
)
def test_a_worker_that_may_not_roll_back_says_so_and_serves_on(
    tmp_path: Path,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*arguments: Any, **options: Any) -> bool:
        raise error

    monkeypatch.setattr(Registry, "go_back", refuse)
    trial = SimpleNamespace(serving=SimpleNamespace(version="a"), champion="b", role=FORMER)
    shadow = SimpleNamespace(trial=trial, report=lambda: WORSE, step_waiting=lambda: None)
    switch = ModelSwitch(
        Settings(registry_dir=tmp_path),
        cast(ModelSlot, SimpleNamespace()),
        cast(Shadow, shadow),
        WorkerCounters(Prequential(1_000, 0.99)),
    )
    with caplog.at_level(logging.ERROR):
        switch.review()
    assert cast("ShadowTrial | None", shadow.trial) is None
    assert f"b is worse than a, and the registry cannot be changed: {error}" in caplog.text


def test_the_champion_is_what_the_registry_names_and_not_known_while_it_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answers: list[str | OSError | None] = [
        "a",
        "b",
        OSError(116, "Stale file handle"),
        OSError(5, "I/O"),
        "b",
    ]

    def champion(registry: Registry) -> str | None:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(Registry, "champion", champion)
    monkeypatch.setattr(model_switch, "READ_CHAMPION_S", 0.0)
    live = SimpleNamespace(champion=None)
    shadow = SimpleNamespace(trial=None, step_waiting=lambda: None)
    switch = ModelSwitch(
        Settings(registry_dir=tmp_path),
        cast(ModelSlot, live),
        cast(Shadow, shadow),
        WorkerCounters(Prequential(1_000, 0.99)),
    )
    found = []
    for _ in range(5):
        switch.review()
        found.append(live.champion)
    assert found == ["a", "b", None, None, "b"]
    assert caplog.text.count("the registry cannot be read: ") == 1
