"""The guard over a promotion where the registry cannot be changed, and experiments that are announced."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from model.data.learned_events import LearnedEvents
from model.data.session_rule import SessionRule
from model.registry.registry import Registry
from model.registry.version_files import RefusedVersion
from stream.experiments.experiment import SPLIT, Experiment, encode_experiment
from stream.kafka.announcements import EXPERIMENT_KEY, KEY, encode_announcement
from stream.quality.prequential import Prequential
from stream.settings import Settings
from stream.wave.serving_model import InService, ModelSlot, ServingModel
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


def test_a_champion_file_that_cannot_be_read_leaves_the_version_in_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "CHAMPION").mkdir()
    monkeypatch.setattr(model_switch, "READ_CHAMPION_S", 0.0)
    live = SimpleNamespace(champion="a")
    switch = ModelSwitch(
        Settings(registry_dir=tmp_path),
        cast(ModelSlot, live),
        cast(Shadow, SimpleNamespace(trial=None, step_waiting=lambda: None)),
        WorkerCounters(Prequential(1_000, 0.99)),
    )
    switch.review()
    assert live.champion is None
    assert "the version in service goes on" in caplog.text


class Slot(ModelSlot):
    """Has versions "a" and "b", and "long", whose sessions end later."""

    def prepare(self, version: str | None = None, *, any_gap: bool = False) -> ServingModel:
        if version not in ("a", "b", "long"):
            raise RefusedVersion("corrupt", f"there is no version {version!r}", "It cannot serve.", "Train.")
        fake = SimpleNamespace(
            version=version,
            rule=SessionRule(7200 if version == "long" else 1800),
            learned=LearnedEvents(until_ms=0),
            trained_on=None,
            refresher=None,
            stepper=SimpleNamespace(device="cpu"),
        )
        return cast(ServingModel, fake)


def switch_of(tmp_path: Path) -> tuple[ModelSwitch, Slot]:
    settings = Settings(registry_dir=tmp_path)
    live = Slot(settings)
    live.offer(live.prepare("a"))
    return ModelSwitch(settings, live, Shadow(), WorkerCounters(Prequential(1_000, 0.99))), live


def test_a_former_champion_of_another_gap_is_not_gone_back_to(tmp_path: Path) -> None:
    """The first version by the mapping's gap after an upgrade: workers would refuse the one before."""
    switch, live = switch_of(tmp_path)
    (tmp_path / "CHAMPION").write_text("b\n")
    (tmp_path / "CHAMPIONS").write_text("long\na\nb\n")
    a, b, long = (live.prepare(version) for version in ("a", "b", "long"))
    trial = switch._trial_of_former(a, b)
    assert trial is not None and trial.serving.version == "a"
    assert switch._trial_of_former(long, b) is None


def announce(switch: ModelSwitch, name: str, champion: str, challenger: str) -> None:
    one = Experiment(name, champion, challenger, 0.5, SPLIT)
    switch.on_announcement(EXPERIMENT_KEY, encode_experiment(one))


def test_an_experiment_runs_from_its_announcement_to_its_end(tmp_path: Path) -> None:
    switch, live = switch_of(tmp_path)
    announce(switch, "e1", "a", "b")
    now = live.in_service
    assert now.challenger is not None
    assert (now.champion.version, now.challenger.version) == ("a", "b")
    assert live.experiment_report() == {
        "experiment": "e1", "champion": "a", "challenger": "b", "share": 0.5, "mode": "split", "served": True,
    }  # fmt: skip
    # Told again, as on every start: the same challenger goes on.
    announce(switch, "e1", "a", "b")
    assert live.in_service is now
    switch.on_announcement(EXPERIMENT_KEY, None)
    assert live.in_service == InService(now.champion)
    assert live.experiment_report() is None


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (encode_experiment(Experiment("e2", "a", "nowhere", 0.5, SPLIT)), "there is no version 'nowhere'"),
        (encode_experiment(Experiment("e2", "a", "long", 0.5, SPLIT)), "ends sessions after 7200 s"),
        (b'{"experiment": "e2", "champion": "a", "challenger": "b", "share": 1.5}', "cannot be read"),
        (b"nonsense", "cannot be read"),
    ],
)
def test_a_refused_experiment_leaves_every_session_to_the_champion(
    tmp_path: Path, value: bytes, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Also the one that ran before is over: it was replaced."""
    switch, live = switch_of(tmp_path)
    announce(switch, "e1", "a", "b")
    with caplog.at_level(logging.ERROR):
        switch.on_announcement(EXPERIMENT_KEY, value)
    assert live.in_service.experiment is None
    assert live.in_service.challenger is None
    assert why in caplog.text
    report = live.experiment_report()
    assert report is None or not report["served"]


def test_an_experiment_waits_for_its_champion_and_ends_with_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    switch, live = switch_of(tmp_path)
    with caplog.at_level(logging.WARNING):
        announce(switch, "e1", "b", "a")
    assert "it waits, and a serves every session" in caplog.text
    assert live.in_service.experiment is None
    switch.on_announcement(KEY, encode_announcement("b"))
    running = live.in_service
    assert running.experiment is not None
    assert running.challenger is not None
    assert (running.champion.version, running.challenger.version) == ("b", "a")
    # The challenger is promoted: it is warm already, and serves every session.
    switch.on_announcement(KEY, encode_announcement("a"))
    assert live.in_service == InService(running.challenger)
    report = live.experiment_report()
    assert report is not None
    assert not report["served"]
