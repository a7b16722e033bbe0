import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rocksdict import Options, Rdict

from model.registry.registry import Registry
from replay.end_to_end.worker_process import WorkerProcess
from replay.sending.replay import replay_frames
from stream.sessions.session_state import SessionState
from stream.sessions.store import STATE_PREFIX
from tests.conftest import train_small
from tests.harness.markov_shoppers import SyntheticLog
from tests.harness.serving import (
    MakeSettings,
    all_committed,
    assert_equal_to_offline,
    run_to_the_end,
    some_lists,
    supervise,
    worker,
)

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


def rewrite_states(store: Path, change: Callable[[list[Any]], bytes]) -> int:
    """Put each state as a program of another release would have it; returns how many there are."""
    database = Rdict(str(store), Options(raw_mode=True))
    entries: list[tuple[Any, Any]] = list(database.items())
    states = [(key, value) for key, value in entries if key.startswith(STATE_PREFIX)]
    for key, value in states:
        database[key] = change(msgspec.msgpack.decode(value))
    database.close()
    return len(states)


def test_states_of_an_earlier_release_are_read_in_place(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path
) -> None:
    settings = make_settings(deterministic=True, wave_size=4, commit_interval_ms=20)
    model = train_small(shoppers, Registry(settings.registry_dir))
    half = len(shoppers.frame) // 2
    replay_frames(settings, [shoppers.frame.iloc[:half]])
    with worker(settings, tmp_path) as process:
        process.wait_until(all_committed(settings), "the first half")
        assert process.stop() == 0
    stores = sorted(settings.state_dir.glob(f"{settings.events_topic}-*"))
    first_fields = SessionState.__struct_fields__[: -len(SessionState.__struct_defaults__)]
    # Before sources, choices, challengers and users there were these fields alone.
    assert sum(
        rewrite_states(store, lambda fields: msgspec.msgpack.encode(fields[: len(first_fields)]))
        for store in stores
    )
    replay_frames(settings, [shoppers.frame.iloc[half:]])
    run_to_the_end(settings, tmp_path)
    assert not list(settings.state_dir.glob("*.corrupt-*")), "nothing was recovered that could be read"
    assert_equal_to_offline(settings, model, shoppers.frame)


def test_states_of_a_layout_that_cannot_be_read_are_recovered_from_the_log(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path
) -> None:
    settings = make_settings(deterministic=True, wave_size=4, commit_interval_ms=20)
    model = train_small(shoppers, Registry(settings.registry_dir))
    half = len(shoppers.frame) // 2
    replay_frames(settings, [shoppers.frame.iloc[:half]])
    with worker(settings, tmp_path) as process:
        process.wait_until(all_committed(settings), "the first half")
        assert process.stop() == 0
    store = min(settings.state_dir.glob(f"{settings.events_topic}-*"))
    assert rewrite_states(store, lambda fields: msgspec.msgpack.encode({"layout": 2, "state": fields}))
    replay_frames(settings, [shoppers.frame.iloc[half:]])
    # It ends at the first state that it cannot read, and the next start moves that store aside.
    status = supervise(settings, tmp_path, timeout_s=600)
    assert status["accounting"]["holds"]
    assert len(list(settings.state_dir.glob("*.corrupt-*"))) == 1
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
