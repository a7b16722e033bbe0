import random
import signal
from pathlib import Path

import pytest

from model.registry.registry import Registry
from replay.end_to_end.worker_process import WorkerProcess
from replay.sending.replay import replay_frames
from stream.failpoints import POINTS, VARIABLE, armed
from tests.conftest import train_small
from tests.harness.markov_shoppers import SyntheticLog, markov_shoppers
from tests.harness.serving import (
    MakeSettings,
    all_committed,
    assert_equal_to_offline,
    run_to_the_end,
    with_unknown_items,
    worker,
)

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]


def test_without_its_variable_no_point_does_anything() -> None:
    reach = armed(None)
    for point in POINTS:
        reach(point)
    with pytest.raises(ValueError, match="the points are"):
        armed("no-such-point:1")


def test_a_kill_at_each_point_of_a_wave_loses_nothing_and_steps_nothing_twice(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(deterministic=True, wave_size=4, commit_interval_ms=20)
    model = train_small(shoppers, Registry(settings.registry_dir))
    frame = with_unknown_items(shoppers.frame)
    replay_frames(settings, [frame])
    for point in POINTS:
        # Commits come by the clock, the other points with each wave.
        monkeypatch.setenv(VARIABLE, f"{point}:{2 if point == '9-committed' else 30}")
        process = WorkerProcess(settings, tmp_path / "worker.log")
        assert process.process.wait(240) == -signal.SIGKILL, f"{point}: {process.log()[-2000:]}"
    monkeypatch.delenv(VARIABLE)
    status = run_to_the_end(settings, tmp_path)
    assert status["accounting"]["read"] > 0, "the kills came too late to leave something"
    assert_equal_to_offline(settings, model, frame)


def test_kills_at_random_moments_lose_nothing_and_step_nothing_twice(
    make_settings: MakeSettings, tmp_path: Path, full: bool
) -> None:
    kills = 20 if full else 8
    log = markov_shoppers(sessions=125 * kills, items=120, seed=11)
    settings = make_settings(deterministic=True, wave_size=4, commit_interval_ms=20, scoring="bfloat16")
    model = train_small(log, Registry(settings.registry_dir))
    replay_frames(settings, [log.frame])
    moments = random.Random(5)
    in_mid_stream = 0
    for _ in range(kills):
        with worker(settings, tmp_path) as process:
            lists = moments.randrange(1, 400)
            process.wait_until(
                lambda s, lists=lists: s["lists"] >= lists or all_committed(settings)(s),  # type: ignore[misc]
                "some lists",
            )
            status = process.status()
            in_mid_stream += bool(status and status["accounting"]["in_flight"])
            process.kill()
    assert in_mid_stream, "no kill hit a wave under way"
    run_to_the_end(settings, tmp_path)
    assert_equal_to_offline(settings, model, log.frame)
