import urllib.request
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from prometheus_client.parser import text_string_to_metric_families

from model.registry.registry import Registry
from replay.end_to_end.worker_process import WorkerProcess
from replay.sending.replay import replay_frames
from stream.kafka.announcements import announce
from stream.kafka.lists_reader import Received
from stream.settings import Settings
from tests.conftest import train_small
from tests.harness.markov_shoppers import SyntheticLog, markov_shoppers
from tests.harness.serving import MakeSettings, all_committed, all_lists, events_by_id, stop, worker

pytestmark = pytest.mark.kafka

PRIOR = (600.0, 3600.0)
FOLLOW = {"follow": "both", "follow_every_s": 20, "step_threads": 2}


def afterwards(log: SyntheticLog, suffix: str = "later", hours: int = 2) -> pd.DataFrame:
    """The log again, hours later and by other sessions, a sixth of it an item that was not there before."""
    frame = log.frame.copy()
    frame["event_time_ms"] += hours * 3_600_000
    frame["session_id"] += suffix
    frame.loc[frame.index % 6 == 3, "item_id"] = "born"
    return frame


def gauge(process: WorkerProcess, name: str) -> float:
    with urllib.request.urlopen(f"{process.address}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
    return next(sample.value for sample in samples if sample.name == name)


def serve(process: WorkerProcess, settings: Settings, frame: pd.DataFrame) -> None:
    """Send a log, and wait until all of it has been served."""
    replay_frames(settings, [frame])
    process.wait_until(all_committed(settings), "the log")


def with_born(lists: list[Received]) -> list[Received]:
    return [one for one in lists if "born" in one.recommendation.items]


@pytest.mark.parametrize("follow", ["none", "popularity", "new-items", "both"])
def test_an_item_born_after_the_training_is_recommended_before_the_next_when_new_items_are_followed(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path, follow: str
) -> None:
    settings = make_settings(**{**FOLLOW, "follow": follow})
    model = train_small(shoppers, Registry(settings.registry_dir), prior_half_lives_s=PRIOR)
    assert "born" not in model.vocabulary.index
    frame = afterwards(shoppers)
    born = int((frame["item_id"] == "born").sum())
    with worker(settings, tmp_path) as process:
        serve(process, settings, frame)
        if follow != "none":
            listed = gauge(process, "nextclick_provisional_items")
            assert 0 <= gauge(process, "nextclick_follow_age_seconds") < 20
        accounting = stop(process)["accounting"]
    lists = all_lists(settings)
    assert len(lists) == len(frame)
    assert {one.recommendation.model_version for one in lists} == {model.version}
    if follow in ("none", "popularity"):
        assert not with_born(lists)
        assert accounting["unknown"] == born
        return
    assert listed == 1
    # Its own events are stepped on, too.
    assert accounting["unknown"] < born / 2
    assert with_born(lists)
    items = {event_id: event.item_id for event_id, event in events_by_id(settings).items()}
    own = [one for one in lists if items[one.recommendation.event_id] == "born"]
    assert sum("fallback" not in one.headers for one in own) == born - accounting["unknown"]


def test_sessions_lists_and_what_was_followed_survive_a_kill(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path
) -> None:
    settings = make_settings(**FOLLOW)
    train_small(shoppers, Registry(settings.registry_dir), prior_half_lives_s=PRIOR)
    frame = afterwards(shoppers)
    half = len(frame) // 2
    with worker(settings, tmp_path) as process:
        serve(process, settings, frame[:half])
        assert gauge(process, "nextclick_provisional_items") == 1
    # `worker` has killed it.
    before = all_lists(settings)
    with worker(settings, tmp_path) as process:
        assert "events of the log are followed" in process.log()
        serve(process, settings, frame[half:].reset_index(drop=True))
        assert gauge(process, "nextclick_provisional_items") == 1
        stop(process)
    lists = {one.recommendation.event_id: one for one in all_lists(settings)}
    assert len(lists) == len(frame)
    events = events_by_id(settings)
    positions: Counter[str] = Counter()
    for event_id in sorted(events, key=lambda name: [int(part) for part in name.split("-")]):
        session_id = events[event_id].session_id
        positions[session_id] += 1
        assert int(lists[event_id].headers["position"]) == positions[session_id]
    shown = {one.recommendation.event_id for one in before}
    after = sorted(
        (one for event_id, one in lists.items() if event_id not in shown),
        key=lambda one: one.recommendation.event_time_ms,
    )
    # At once again, not only when two more sessions have clicked it.
    assert with_born(after[:60])
    assert with_born(before)


def test_a_version_that_is_taken_up_goes_on_with_what_was_seen(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(**FOLLOW)
    log = markov_shoppers(sessions=600, items=120, seed=7)
    registry = Registry(settings.registry_dir)
    train_small(log, registry, prior_half_lives_s=PRIOR)
    frame = afterwards(log)
    half = len(frame) // 2
    with worker(settings, tmp_path) as process:
        serve(process, settings, frame[:half])
        new = train_small(log, registry, prior_half_lives_s=PRIOR, seed=3)
        announce(settings, new.version)
        process.wait_until(lambda s: s["model"] == new.version, "the swap")
        assert gauge(process, "nextclick_provisional_items") == 1
        serve(process, settings, frame[half:].reset_index(drop=True))
        stop(process)
    by_new = [one for one in all_lists(settings) if one.recommendation.model_version == new.version]
    assert len(by_new) > len(frame) // 3
    by_new.sort(key=lambda one: one.recommendation.event_time_ms)
    assert with_born(by_new[:60])
