import json
import os
import re

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
from tests.harness.serving import MakeSettings

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
    assert json.loads(run(settings, "promote", b, "--json")) == {"version": b, "before": c}
    assert registry.champion() == b
    assert f"{c} is champion (before: {b})" in run(settings, "rollback")
    assert f"{a} is champion (before: {c})" in run(settings, "rollback", "--to", a)
    assert announced(settings) == [b, c, a]
    with pytest.raises(NextclickError, match=f"there is no champion before {a}"):
        run(settings, "rollback")
    assert f"{a} is champion (it was before; announced again)" in run(settings, "promote", a)
    assert announced(settings) == [b, c, a, a]


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
