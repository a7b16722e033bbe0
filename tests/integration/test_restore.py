"""The commands of the page on restoring, run as they stand there."""

import shlex
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

import nextclick
from model.registry.registry import Registry
from stream.settings import Settings
from tests.conftest import ROOT, train_small
from tests.harness.archives import archive_all
from tests.harness.markov_shoppers import SyntheticLog
from tests.harness.pages import Page
from tests.harness.serving import MakeSettings, all_lists, run_to_the_end

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]


def newest_lists(settings: Settings) -> dict[str, bytes]:
    """The newest list of each session, without the offset in its id."""
    return {
        received.recommendation.session_id: msgspec.json.encode(
            msgspec.structs.replace(received.recommendation, event_id="")
        )
        for received in all_lists(settings)
    }


def test_a_new_cluster_has_the_same_lists_from_archive_and_registry_by_the_commands_of_the_page(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path
) -> None:
    old = make_settings(deterministic=True, wave_size=4)
    train_small(shoppers, Registry(old.registry_dir), epochs=1)
    events = tmp_path / "events.csv"
    shoppers.frame.iloc[:600].to_csv(events, index=False)
    sent = CliRunner().invoke(nextclick.app, ["replay", str(events)], env=old.environment())
    assert sent.exit_code == 0, sent.output
    run_to_the_end(old, tmp_path)
    archive_all(old, tmp_path / "archive")
    before = newest_lists(old)
    assert len(before) > 50

    # Of the cluster before only two folders are left.
    new = make_settings(
        deterministic=True, wave_size=4, registry_dir=old.registry_dir, state_dir=old.state_dir
    )
    commands = Page(ROOT / "deploy" / "docs" / "restore.md").shell_lines()
    assert commands[-1] == "nextclick worker"
    for line in commands[:-1]:
        program, *words = shlex.split(line)
        assert program == "nextclick"
        arguments = [str(tmp_path / "archive") if word == "archive/" else word for word in words]
        done = CliRunner().invoke(nextclick.app, arguments, env=new.environment())
        assert done.exit_code == 0, (line, done.output, done.exception)
    status = run_to_the_end(new, tmp_path)
    assert status["accounting"]["stepped"] == 600
    assert newest_lists(new) == before
