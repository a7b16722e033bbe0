import json
import lzma
import os
import re
import subprocess
import urllib.request
from collections.abc import Callable
from itertools import islice, pairwise
from pathlib import Path

import pytest

from model.registry.registry import Registry
from replay.end_to_end.demo import bundled_log
from replay.end_to_end.worker_process import WorkerProcess, free_port
from replay.sending.replay import replay_frames
from stream.kafka.announcements import announce
from stream.kafka.lists_reader import recommendations
from stream.settings import Settings
from tests.conftest import ROOT, train_small
from tests.harness.fork_server import run
from tests.harness.markov_shoppers import SyntheticLog
from tests.harness.serving import served, worker

pytestmark = pytest.mark.kafka


def nextclick(settings: Settings, *arguments: str) -> str:
    """Run a command with a test's settings; → its standard output."""
    ended = run(*arguments, env={**os.environ, **settings.environment()}, timeout=200)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_commands_take_a_real_log_from_file_to_lists(
    make_settings: Callable[..., Settings], shared_data: Path, tmp_path: Path
) -> None:
    settings = make_settings(partitions=4)
    folder = shared_data / "rsc15"
    log = str(folder / "yoochoose-clicks-100k_test.txt")
    train_file = str(folder / "yoochoose-clicks-100k_train_full.txt")
    trained = json.loads(nextclick(settings, "train", train_file, "--test", log, "--epochs", "1", "--json"))
    sent = json.loads(nextclick(settings, "replay", log, "--json"))
    assert sent["sent"] == sent["sure"] == 13_568
    with worker(settings, tmp_path) as process:
        status = process.wait_until(served(sent["sure"]), "the whole log")
        metrics = urllib.request.urlopen(f"{process.address}/metrics", timeout=60).read().decode()
    # What was measured event by event in the stream is what the offline evaluation measures.
    online = status["quality"]["champion"]["total"]
    assert online["events"] == trained["evaluation"]["targets"]
    assert online["recall_at_20"] == pytest.approx(trained["evaluation"]["recall"], abs=2e-4)
    assert online["mrr_at_20"] == pytest.approx(trained["evaluation"]["mrr"], abs=2e-4)
    pop = status["quality"]["pop"]["total"]
    assert pop["recall_at_20"] == pytest.approx(trained["pop"]["recall"], abs=2e-4)
    read = sum(float(v) for v in re.findall(r"^nextclick_events_read_total\S* (\S+)$", metrics, re.M))
    done = sum(float(v) for v in re.findall(r"^nextclick_events_total\S* (\S+)$", metrics, re.M))
    assert read == done == 13_568
    assert f'nextclick_model_info{{version="{trained["version"]}"}} 1.0' in metrics
    lines = nextclick(settings, "watch", "--json", "--from-start", "--limit", "50").splitlines()
    shown = [json.loads(line) for line in lines]
    assert len(shown) == 50
    assert all(len(one["items"]) == len(one["scores"]) == 20 for one in shown)
    assert all(one["model_version"] == trained["version"] for one in shown)
    assert len(nextclick(settings, "watch", "--from-start", "--limit", "5").splitlines()) == 5


def test_an_announced_version_serves_without_a_restart_and_a_bad_one_does_not(
    make_settings: Callable[..., Settings], shoppers: SyntheticLog, tmp_path: Path
) -> None:
    settings = make_settings(deterministic=True)
    registry = Registry(settings.registry_dir)
    first = train_small(shoppers, registry)
    second = train_small(shoppers, registry, seed=1)
    registry.promote(first.version)
    half = len(shoppers.frame) // 2

    with worker(settings, tmp_path) as process:
        replay_frames(settings, [shoppers.frame[:half]])
        process.wait_until(served(half), "the first half")
        announce(settings, "no-such-version")
        announce(settings, second.version)
        process.wait_until(lambda s: s["model"] == second.version, "the swap")
        replay_frames(settings, [shoppers.frame[half:]])
        status = process.wait_until(served(len(shoppers.frame)), "the second half")
        assert "announced version refused" in process.log()
    assert status["accounting"]["holds"]
    received = list(recommendations(settings, from_start=True, idle_s=1.5))
    assert len(received) == len(shoppers.frame)
    for partition in range(settings.partitions):
        versions = [r.recommendation.model_version for r in received if r.partition == partition]
        swaps = sum(before != after for before, after in pairwise(versions))
        assert swaps == 1
        assert {versions[0], versions[-1]} == {first.version, second.version}


def test_a_second_worker_with_the_same_state_folder_ends_with_a_clear_error(
    make_settings: Callable[..., Settings], shoppers: SyntheticLog, tmp_path: Path
) -> None:
    settings = make_settings()
    train_small(shoppers, Registry(settings.registry_dir))
    with worker(settings, tmp_path):
        other = settings.model_copy(
            update={"group_id": f"{settings.group_id}-2", "web_port": free_port(), "worker_id": "other"}
        )
        second = WorkerProcess(other, tmp_path / "second.log")
        assert second.process.wait(240) == 1
        assert "is in use" in second.log()
        assert "--state-dir" in second.log()


def test_the_demo_ends_with_everything_adding_up(tmp_path: Path) -> None:
    earliest = tmp_path / "earliest.csv"
    with lzma.open(bundled_log(), "rt") as bundled:
        earliest.write_text("".join(islice(bundled, 60_001)))
    ended = subprocess.run(
        [str(ROOT / "deploy" / "demo"), "--file", str(earliest), "--epochs", "1", "--seconds", "5"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ": holds" in ended.stdout
    network, pop = (float(value) for value in re.findall(r"Recall@20 (\d\.\d+), MRR", ended.stdout))
    assert network > 3 * pop
