import json
import os
import re
from pathlib import Path
from unittest.mock import patch

import pytest
from typer.testing import CliRunner

import nextclick
from model.errors import NextclickError
from model.registry.registry import Registry
from stream.kafka.announcements import SHADOW_KEY, ShadowAnnouncement, decode_shadow
from stream.settings import Settings
from tests.conftest import train_small
from tests.harness.announced import announced, on_models
from tests.harness.markov_shoppers import SyntheticLog
from tests.harness.serving import MakeSettings, worker

pytestmark = pytest.mark.kafka


def run(settings: Settings, *arguments: str) -> str:
    """Run a command with a test's settings; → its standard output. Raises what it raises."""
    ended = CliRunner().invoke(nextclick.app, arguments, env=settings.environment(), catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    return ended.stdout


def test_versions_are_promoted_and_rolled_back_and_the_workers_are_told(
    make_settings: MakeSettings, shoppers: SyntheticLog
) -> None:
    settings = make_settings()
    registry = Registry(settings.registry_dir)
    a, b, c = (train_small(shoppers, registry, epochs=1, seed=seed).version for seed in (1, 2, 3))
    assert json.loads(run(settings, "promote", b, "--json")) == {"version": b, "before": c, "workers": []}
    assert registry.champion() == b
    said = run(settings, "rollback")
    assert f"{c} is champion (before: {b})" in said
    assert f"no worker is in the group {settings.group_id}" in said
    assert f"{a} is champion (before: {c})" in run(settings, "rollback", "--to", a)
    assert announced(settings) == [b, c, a]
    with pytest.raises(NextclickError, match=f"there is no champion before {a}"):
        run(settings, "rollback")
    assert f"{a} is champion (it was before; announced again)" in run(settings, "promote", a)
    assert announced(settings) == [b, c, a, a]


def test_with_the_gate_only_what_leads_an_experiment_is_promoted(
    make_settings: MakeSettings, shoppers: SyntheticLog
) -> None:
    settings = make_settings(gate_experiment="clicks")
    registry = Registry(settings.registry_dir)
    a, b = (train_small(shoppers, registry, epochs=1, seed=seed).version for seed in (1, 2))
    with pytest.raises(NextclickError, match=f"no experiment holds {a} against {b}: none runs"):
        run(settings, "promote", a)
    assert registry.champion() == b
    assert json.loads(run(settings, "promote", a, "--regardless", "--json"))["before"] == b
    assert registry.champion() == a


def test_a_promotion_says_which_workers_took_it_up_and_which_did_not(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path
) -> None:
    settings = make_settings()
    registry = Registry(settings.registry_dir)
    never, a, b = (train_small(shoppers, registry, epochs=1, seed=seed).version for seed in (1, 2, 3))
    with worker(settings, tmp_path) as process:
        process.wait_until(lambda status: bool(status["ready"]), "readiness")
        patience = ("--timeout", "240")
        taken = json.loads(run(settings, "promote", a, *patience, "--json"))["workers"]
        assert [(one["worker"], one["serves"]) for one in taken] == [(settings.worker_id, a)]
        assert f"{settings.worker_id}: serves it" in run(settings, "rollback", *patience)
        assert json.loads(run(settings, "promote", a, "--no-wait", "--json")) == {"version": a, "before": b}
        process.wait_until(lambda status: status["model"] == a, "the version that nobody waited for")
        # Its files go after the command has loaded it: the worker has none to load.
        files = registry.root / never
        with patch.object(Registry, "promote", lambda self, version: files.rename(tmp_path / "gone")):
            ended = CliRunner().invoke(
                nextclick.app, ["promote", never, "--timeout", "5"], env=settings.environment()
            )
        assert ended.exit_code == 1, ended.output
        assert f"{settings.worker_id}: serves {a}" in ended.output
        assert f"1 of 1 workers do not serve {never} after 5 s: {settings.worker_id}" in ended.output


def test_what_cannot_serve_is_not_promoted(make_settings: MakeSettings, shoppers: SyntheticLog) -> None:
    settings = make_settings()
    registry = Registry(settings.registry_dir)
    broken, good, never = (train_small(shoppers, registry, epochs=1, seed=seed).version for seed in (1, 2, 3))
    registry.promote(good)
    os.truncate(settings.registry_dir / broken / "weights.safetensors", 100)
    for arguments, words in (
        (("promote", "nowhere"), "there is no version 'nowhere'"),
        (("promote", broken), "weights.safetensors (100 bytes) does not match its SHA-256"),
        (("rollback", "--to", broken), "does not match its SHA-256"),
        (("rollback", "--to", good), f"{good} was not champion before {good}"),
    ):
        with pytest.raises(NextclickError, match=re.escape(words)):
            run(settings, *arguments)
    assert registry.champion() == good
    assert announced(settings) == []
    assert json.loads(run(settings, "rollback", "--json"))["version"] == never


def test_without_a_broker_or_a_topic_nothing_is_moved(
    make_settings: MakeSettings, shoppers: SyntheticLog
) -> None:
    settings = make_settings()
    registry = Registry(settings.registry_dir)
    first, second = (train_small(shoppers, registry, epochs=1, seed=seed).version for seed in (1, 2))
    for changes, words in (
        ({"bootstrap_servers": "127.0.0.1:9"}, "no Kafka broker answered"),
        ({"models_topic": f"{settings.models_topic}-absent"}, "there is no topic"),
    ):
        other = settings.model_copy(update=changes)
        for arguments in (("promote", first), ("rollback",)):
            with pytest.raises(NextclickError, match=words):
                run(other, *arguments)
            assert registry.champion() == second


def test_a_shadow_is_announced_and_ended_and_an_unknown_one_is_not(
    make_settings: MakeSettings, shoppers: SyntheticLog
) -> None:
    settings = make_settings()
    version = train_small(shoppers, Registry(settings.registry_dir), epochs=1).version
    assert "steps in the shadow of 20.0% of sessions" in run(settings, "shadow", version, "--share", "0.2")
    with pytest.raises(NextclickError, match="there is no version 'nowhere'"):
        run(settings, "shadow", "nowhere")
    run(settings, "shadow", "--stop")
    records = on_models(settings)
    assert [record.key() for record in records] == [SHADOW_KEY, SHADOW_KEY]
    assert [decode_shadow(record.value()) for record in records] == [ShadowAnnouncement(version, 0.2), None]
