from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from model.registry.registry import Registry
from replay.end_to_end.worker_process import WorkerProcess, free_port
from replay.sending.replay import replay_frames
from stream.settings import Settings
from tests.conftest import train_small
from tests.harness.markov_shoppers import markov_shoppers
from tests.harness.serving import (
    MakeSettings,
    all_committed,
    assert_equal_to_offline,
    stop,
    with_unknown_items,
    worker,
)

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]


def of_worker(settings: Settings, name: str, tmp_path: Path) -> Settings:
    changes: dict[str, Any] = {
        "worker_id": f"{settings.worker_id}-{name}",
        "state_dir": tmp_path / f"state-{name}",
        "web_port": free_port(),
    }
    return Settings(**{field: getattr(settings, field) for field in settings.model_fields_set} | changes)


def partitions_of(process: WorkerProcess) -> int:
    status = process.status()
    return len(status["partitions"]) if status else 0


def wait_for_shares(processes: list[WorkerProcess], partitions: int) -> None:
    """Until every worker has a partition and all partitions have a worker."""
    processes[-1].wait_until(
        lambda _: min(shares := [partitions_of(p) for p in processes]) > 0 and sum(shares) == partitions,
        "a share for every worker",
    )


def test_lists_are_the_same_through_rebalances_and_a_kill_from_one_worker_to_three_and_back(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(
        deterministic=True, wave_size=4, commit_interval_ms=20, partitions=4, session_timeout_ms=30_000
    )
    log = markov_shoppers(sessions=3_000, items=120, seed=3)
    model = train_small(log, Registry(settings.registry_dir))
    frame = with_unknown_items(log.frame)
    parts = [frame.iloc[at : at + len(frame) // 6 + 1] for at in range(0, len(frame), len(frame) // 6 + 1)]
    names = ("a", "b", "c")
    a, b, c = (of_worker(settings, name, tmp_path) for name in names)
    with ExitStack() as stack:
        replay_frames(settings, [parts[0]])
        first = stack.enter_context(worker(a, tmp_path))
        replay_frames(settings, [parts[1]])
        others = [stack.enter_context(worker(other, tmp_path)) for other in (b, c)]
        wait_for_shares([first, *others], settings.partitions)
        replay_frames(settings, [parts[2]])
        # Under load, one leaves in peace and one is killed: the first takes up what it had before,
        # with a store that is behind.
        replay_frames(settings, [parts[3]])
        assert others[0].stop() == 0, others[0].log()
        others[1].kill()
        replay_frames(settings, [parts[4]])
        first.wait_until(
            lambda status: len(status["partitions"]) == settings.partitions, "all partitions", timeout_s=120
        )
        replay_frames(settings, [parts[5]])
        first.wait_until(all_committed(settings), "the rest")
        stop(first)
    assert_equal_to_offline(settings, model, frame)


def test_the_older_of_two_workers_with_one_id_gives_way_with_a_clear_error(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(deterministic=True, wave_size=4, commit_interval_ms=20)
    log = markov_shoppers(sessions=600, items=120, seed=4)
    model = train_small(log, Registry(settings.registry_dir))
    half = len(log.frame) // 2
    twin = of_worker(settings, "", tmp_path).model_copy(update={"worker_id": settings.worker_id})
    with worker(settings, tmp_path) as older:
        replay_frames(settings, [log.frame.iloc[:half]])
        (tmp_path / "twin").mkdir()
        with worker(twin, tmp_path / "twin") as younger:
            assert older.process.wait(240) == 1
            assert f"another worker has joined with the id {settings.worker_id}" in older.log()
            replay_frames(settings, [log.frame.iloc[half:]])
            younger.wait_until(all_committed(settings), "the whole log")
            assert younger.stop() == 0
    assert_equal_to_offline(settings, model, log.frame)
