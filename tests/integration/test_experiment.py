"""An experiment from its command to the lists, and over a worker that is killed."""

import json
import signal
from pathlib import Path

import pytest
from typer.testing import CliRunner

import nextclick
from model.errors import NextclickError
from model.registry.registry import Registry
from replay.end_to_end.worker_process import WorkerProcess
from replay.sending.replay import replay_frames
from stream.experiments.experiment import Experiment, decode_experiment
from stream.failpoints import VARIABLE
from stream.kafka.announcements import EXPERIMENT_KEY, kept_values
from stream.settings import Settings
from tests.conftest import train_small
from tests.harness.markov_shoppers import SyntheticLog
from tests.harness.serving import MakeSettings, all_committed, all_lists, by_event, stop, worker

pytestmark = pytest.mark.kafka


def run(settings: Settings, *arguments: str) -> str:
    """Run a command with a test's settings; → its standard output. Raises what it raises."""
    ended = CliRunner().invoke(nextclick.app, arguments, env=settings.environment(), catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    return ended.stdout


def test_two_versions_serve_from_a_command_to_its_end_also_after_a_kill(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(deterministic=True, wave_size=4, commit_interval_ms=20)
    registry = Registry(settings.registry_dir)
    challenger = train_small(shoppers, registry, seed=2, epochs=1).version
    champion = train_small(shoppers, registry, epochs=1).version
    assert run(settings, "experiment", "show") == "no experiment runs\n"
    for wrong, why in ((champion, "is the champion"), ("nowhere", "there is no version 'nowhere'")):
        with pytest.raises(NextclickError, match=why):
            run(settings, "experiment", "start", wrong)
    shown = json.loads(run(settings, "experiment", "start", challenger, "--share", "0.4", "--json"))
    one = decode_experiment(kept_values(settings)[0].get(EXPERIMENT_KEY))
    assert one == Experiment(shown["experiment"], champion, challenger, 0.4, "split")
    with pytest.raises(NextclickError, match="runs already"):
        run(settings, "experiment", "start", challenger)
    replay_frames(settings, [shoppers.frame])
    # The worker reads the experiment before its first wave, also after a kill.
    monkeypatch.setenv(VARIABLE, "9-written:40")
    killed = WorkerProcess(settings, tmp_path / "killed.log")
    assert killed.process.wait(300) == -signal.SIGKILL, killed.log()[-2000:]
    monkeypatch.delenv(VARIABLE)
    with worker(settings, tmp_path) as process:
        status = process.wait_until(all_committed(settings), "the rest", timeout_s=300)
        assert status["experiment"] == {**shown, "served": True}
        assert "the experiment has ended" in run(settings, "experiment", "stop")
        process.wait_until(lambda s: s["experiment"] is None, "its end", timeout_s=300)
        stop(process)
    lists = all_lists(settings)
    assert len(by_event(lists)) == len(shoppers.frame)
    for received in lists:
        side = one.side_of(received.recommendation.session_id)
        assert received.headers["side"] == side
        assert received.headers["experiment"] == one.experiment
        assert received.headers["propensity"] == ("0.4" if side == "challenger" else "0.6")
        made_by = challenger if side == "challenger" else champion
        assert received.recommendation.model_version == made_by
