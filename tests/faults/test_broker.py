import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from model.registry.registry import Registry
from replay.sending.replay import replay_frames
from tests.conftest import kafka_sh, settings_of_its_own, train_small
from tests.harness.markov_shoppers import markov_shoppers
from tests.harness.serving import all_committed, assert_equal_to_offline, some_lists, stop, supervise, worker

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]
# Longer than the session of the group that shares the events, here.
SESSION_TIMEOUT_MS = 12_000
UNREACHABLE_S = 30
# Longer than the session of Faust's own group, shorter than that of the group that shares the events.
PAUSE_S = 20


class Broker:
    """A broker of this test's own, which it may kill."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = self.command("start")

    def command(self, name: str) -> str:
        return kafka_sh(name, self.folder).stdout.strip()

    def signal(self, number: signal.Signals) -> None:
        os.kill(int((self.folder / "pid").read_text()), number)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    made = Broker(tmp_path_factory.mktemp("broker") / "kafka")
    yield made
    made.signal(signal.SIGCONT)
    made.command("kill")


def away(broker: Broker) -> None:
    """No broker answers, for longer than the group keeps a silent member; connections stay."""
    broker.signal(signal.SIGSTOP)
    time.sleep(UNREACHABLE_S)
    broker.signal(signal.SIGCONT)


def paused(broker: Broker) -> None:
    """Nobody answers for so long that Faust loses its group, and the worker does not lose its own."""
    broker.signal(signal.SIGSTOP)
    time.sleep(PAUSE_S)
    broker.signal(signal.SIGCONT)


def killed(broker: Broker) -> None:
    broker.command("kill")
    broker.command("start")


@pytest.mark.parametrize("harm", [killed, paused, away])
def test_without_its_broker_the_worker_loses_nothing_and_steps_nothing_twice(
    broker: Broker, tmp_path: Path, harm: Callable[[Broker], None]
) -> None:
    session = {"session_timeout_ms": SESSION_TIMEOUT_MS} if harm is away else {}
    settings = settings_of_its_own(
        broker.address, tmp_path, deterministic=True, wave_size=4, commit_interval_ms=20, **session
    )
    log = markov_shoppers(sessions=2_500, items=120, seed=9)
    model = train_small(log, Registry(settings.registry_dir))
    replay_frames(settings, [log.frame])
    with worker(settings, tmp_path) as process:
        process.wait_until(some_lists(300), "some lists")
        harm(broker)
        if harm is not away:
            process.wait_until(all_committed(settings), "the rest")
            assert stop(process)["accounting"]["read"] == len(log.frame)
        else:
            # For longer than the session timeout: the group gives its partitions away, and it ends.
            assert process.process.wait(240) == 1, process.log()
            assert "start it again" in process.log().lower()
    supervise(settings, tmp_path)
    assert_equal_to_offline(settings, model, log.frame)
