import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from model.registry.registry import Registry
from replay.end_to_end.worker_process import WorkerProcess
from replay.sending.replay import replay_frames
from tests.conftest import train_small
from tests.harness.markov_shoppers import SyntheticLog
from tests.harness.serving import MakeSettings, assert_equal_to_offline, run_to_the_end, some_lists, worker

pytestmark = pytest.mark.kafka


def lose(store: Path) -> None:
    shutil.rmtree(store)


def corrupt_the_manifest(store: Path) -> None:
    manifest = next(store.glob("MANIFEST-*"))
    manifest.write_bytes(random.Random(1).randbytes(manifest.stat().st_size))


def truncate_the_journal(store: Path) -> None:
    """What a power cut does: the newest writes are gone, the store is behind the committed offset."""
    journal = max(store.glob("*.log"))
    journal.write_bytes(journal.read_bytes()[: journal.stat().st_size // 3])


def remove_current(store: Path) -> None:
    (store / "CURRENT").unlink()


@pytest.mark.parametrize("damage", [lose, corrupt_the_manifest, truncate_the_journal, remove_current])
def test_a_damaged_store_is_recovered_from_the_log_and_kept_aside(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    settings = make_settings(deterministic=True, wave_size=4, commit_interval_ms=20)
    model = train_small(shoppers, Registry(settings.registry_dir))
    replay_frames(settings, [shoppers.frame])
    with worker(settings, tmp_path) as process:
        process.wait_until(some_lists(700), "some lists")
        process.kill()
    stores = sorted(settings.state_dir.glob(f"{settings.events_topic}-*"))
    assert len(stores) == settings.partitions
    for store in stores:
        damage(store)
    status = run_to_the_end(settings, tmp_path)
    assert status["accounting"]["read"] > 0
    aside = list(settings.state_dir.glob("*.corrupt-*"))
    assert len(aside) == (settings.partitions if damage in (corrupt_the_manifest, remove_current) else 0)
    assert_equal_to_offline(settings, model, shoppers.frame)


def test_a_full_disk_ends_the_worker_and_space_lets_it_go_on_where_it_was(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path, small_disk: Path
) -> None:
    settings = make_settings(deterministic=True, commit_interval_ms=20, state_dir=small_disk / "state")
    model = train_small(shoppers, Registry(settings.registry_dir))
    replay_frames(settings, [shoppers.frame])
    for _ in range(2):  # and once more while it is still full
        process = WorkerProcess(settings, tmp_path / "worker.log")
        assert process.process.wait(240) == 1, process.log()
        assert "No space left on device" in process.log()
        assert "cannot be used" in process.log()
    assert not list(settings.state_dir.glob("*.corrupt-*")), "a full disk is no damage"
    subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True)
    run_to_the_end(settings, tmp_path)
    assert_equal_to_offline(settings, model, shoppers.frame)
