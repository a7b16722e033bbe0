from pathlib import Path

import numpy as np
import pytest

from model.registry.registry import Registry
from model.training.trained_model import TrainedModel
from stream.kafka.announcements import ShadowAnnouncement, announce, announce_shadow
from tests.conftest import train_small
from tests.harness.markov_shoppers import SyntheticLog, markov_shoppers
from tests.harness.serving import (
    MakeSettings,
    all_committed,
    all_lists,
    assert_equal_to_offline,
    by_event,
    some_lists,
    stop,
    worker,
)
from tests.harness.steady_load import SteadyLoad

pytestmark = pytest.mark.kafka


def test_a_challenger_is_compared_on_the_same_events_and_nobody_sees_its_lists(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(deterministic=True, step_threads=2)
    log = markov_shoppers(sessions=900, items=120, seed=7)
    registry = Registry(settings.registry_dir)
    challenger = train_small(log, registry, seed=2, epochs=1, learning_rate=0.01)
    champion = train_small(log, registry, seed=3, epochs=4)
    with worker(settings, tmp_path) as process, SteadyLoad(settings, log.frame, 600, (0.25,)) as load:
        process.wait_until(some_lists(200), "some lists")
        announce_shadow(settings, ShadowAnnouncement("nowhere", 0.5))
        announce_shadow(settings, ShadowAnnouncement(challenger.version, 0.5))
        process.wait_until(lambda s: s["shadow"] is not None, "the shadow")
        load.send_the_rest()
        process.wait_until(all_committed(settings), "the rest")
        status = process.wait_until(lambda s: s["shadow"]["sessions"] > 200, "the comparison")
        announce_shadow(settings, None)
        process.wait_until(lambda s: s["shadow"] is None, "its end")
        assert stop(process)["model"] == champion.version
        assert "there is no version 'nowhere'" in process.log()
    found = status["shadow"]
    assert (found["version"], found["role"]) == (challenger.version, "challenger")
    assert found["sessions"] < 0.6 * 900
    assert found["recall_at_20"]["shadow"] < found["recall_at_20"]["champion"]
    mean, low, high = found["recall_difference"]
    assert low < mean < high < 0
    assert_equal_to_offline(settings, champion, log.frame)


def test_a_worse_version_is_rolled_back_by_the_worker_itself_and_an_equal_one_stays(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(
        step_threads=2, rollback_share=1.0, rollback_min_sessions=50, rollback_max_sessions=200
    )
    log = markov_shoppers(sessions=3000, items=120, seed=7)
    registry = Registry(settings.registry_dir)
    rng = np.random.default_rng(0)
    shuffled = log.frame.assign(item_id=rng.permutation(log.frame["item_id"].to_numpy()))
    worse = train_small(SyntheticLog(shuffled, log.successors), registry, epochs=1).version
    model = train_small(log, registry, epochs=3)
    first, equal = (
        model.version,
        registry.save(
            TrainedModel(model.network, model.config, model.vocabulary), scores={}, data={}
        ).version,
    )
    # What `worse` came before in the line is of no matter here.
    assert registry.champion() == first
    with worker(settings, tmp_path) as process, SteadyLoad(settings, log.frame, 500, (0.1, 0.6)) as load:
        process.wait_until(some_lists(500), "some lists")
        registry.promote(equal)
        announce(settings, equal)
        process.wait_until(lambda s: s["model"] == equal and s["shadow"] is not None, "the guard")
        load.release()
        process.wait_until(lambda s: s["shadow"] is None, "its end")
        assert registry.champion() == equal
        assert f"the promotion of {equal} stands" in process.log()
        registry.promote(worse)
        announce(settings, worse)
        process.wait_until(lambda s: s["model"] == worse, "the promotion")
        load.release()
        process.wait_until(lambda s: s["model"] == equal and s["shadow"] is None, "the rollback")
        assert registry.champion() == equal
        assert registry.champions.before()[-1] == first
        assert process.log().count("rolled back") == 1
        load.send_the_rest()
        process.wait_until(all_committed(settings), "the rest")
        assert stop(process)["model"] == equal
    versions = {shown.model_version for shown in by_event(all_lists(settings)).values()}
    assert versions == {first, equal, worse}
