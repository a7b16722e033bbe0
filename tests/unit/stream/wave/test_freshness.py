import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from model.errors import NextclickError
from model.networks.fused.fused_list import FusedList
from model.networks.fused.live_tables import live_data
from model.registry.registry import Registry
from replay.sending.encoding import events_of
from stream.events import Event
from stream.sessions.partition import OpenPartition
from stream.sessions.store import SessionStore
from stream.sessions.watermark import NO_WATERMARK
from stream.settings import Settings, load_settings
from stream.wave.metrics import FreshnessMetrics
from stream.wave.processor import Processor
from stream.wave.serving_model import ModelSlot, ServingModel
from stream.wave.shadow import CHALLENGER, Shadow, ShadowTrial
from stream.wave.stepped_wave import RecommendedList, SteppedWave
from stream.wave.waves import Arrival
from stream.worker.lanes import Lanes
from tests.conftest import train_small
from tests.harness.markov_shoppers import markov_shoppers

LOG = markov_shoppers(sessions=300, items=60, seed=1)
PRIOR = (600.0, 3600.0)


def afterwards() -> pd.DataFrame:
    """The log again, two hours later, a sixth of it an item that was not there before."""
    frame = LOG.frame.copy()
    frame["event_time_ms"] += 7_200_000
    frame["session_id"] += "later"
    frame.loc[frame.index % 6 == 3, "item_id"] = "born"
    return frame


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(registry_dir=tmp_path / "registry", wave_size=8, follow="both", follow_every_s=20)


def serve(
    live: ModelSlot, events: list[Event], folder: Path, threads: int = 1, shadow: Shadow | None = None
) -> list[RecommendedList]:
    """Step events in as many lanes; → the lists."""
    store = SessionStore(folder)
    processor = Processor(live, recent_items=50, shadow=shadow)
    processor.partitions[0] = partition = OpenPartition(0, store)
    lanes, watermark = Lanes(threads, 8), NO_WATERMARK
    for offset, event in enumerate(events):
        arrival = Arrival(0, offset, event, watermark, 0)
        watermark = watermark.after(event.session_id, event.event_time_ms)
        partition.pending.add(offset, arrival.watermark, watermark)
        lanes.add(arrival)
    lists: list[RecommendedList] = []

    def keep(stepped: SteppedWave) -> None:
        lists.extend(stepped.lists)

    def step(lane: int) -> None:
        while waves := lanes.cut(lane, 1):
            processor.process(waves[0], keep)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(step, range(threads)))
    store.close()
    return lists


def followed(serving: ServingModel) -> int:
    assert serving.refresher is not None
    return serving.refresher.vocabulary.added_items


@pytest.mark.parametrize("threads", [1, 3])
def test_every_event_has_a_list_of_item_ids_whichever_thread_takes_up_what_has_come(
    settings: Settings, tmp_path: Path, threads: int
) -> None:
    live = ModelSlot(settings)
    train_small(LOG, Registry(settings.registry_dir), prior_half_lives_s=PRIOR)
    live.offer(live.prepare())
    frame = afterwards()
    lists = serve(live, list(events_of(frame)), tmp_path / "state", threads)
    assert sorted(shown.arrival.offset for shown in lists) == list(range(len(frame)))
    ids = {f"i{n}" for n in range(60)} | {"born"}
    assert all(set(shown.items) <= ids and len(shown.items) == 20 for shown in lists)
    assert followed(live.current) == 1
    assert sum("born" in shown.items for shown in lists) > len(lists) / 2


def test_the_version_in_the_shadow_follows_too(settings: Settings, tmp_path: Path) -> None:
    live, registry = ModelSlot(settings), Registry(settings.registry_dir)
    first, second = (train_small(LOG, registry, prior_half_lives_s=PRIOR, seed=seed) for seed in (1, 2))
    live.offer(live.warm(first))
    shadow = Shadow()
    shadow.trial = ShadowTrial(live.warm(second), first.version, 1.0, CHALLENGER)
    serve(live, list(events_of(afterwards())), tmp_path / "state", shadow=shadow)
    shadow.step_waiting()
    assert followed(shadow.trial.serving) == followed(live.current) == 1
    assert shadow.trial.recall.means[1] > 0.1


def test_a_version_that_is_prepared_meanwhile_has_taken_up_what_was_seen(
    settings: Settings, tmp_path: Path
) -> None:
    live, registry = ModelSlot(settings), Registry(settings.registry_dir)
    first, second = (train_small(LOG, registry, prior_half_lives_s=PRIOR, seed=seed) for seed in (1, 2))
    live.offer(live.warm(first))
    serve(live, list(events_of(afterwards())), tmp_path / "state")
    assert followed(live.warm(second)) == 1


def test_the_sources_of_a_fused_list_follow_and_a_version_prepared_meanwhile_has_what_they_learned(
    settings: Settings, tmp_path: Path
) -> None:
    live, registry = ModelSlot(settings), Registry(settings.registry_dir)
    first, second = (
        train_small(LOG, registry, network="fused", prior_half_lives_s=PRIOR, seed=seed) for seed in (1, 2)
    )
    live.offer(live.warm(first))
    lists = serve(live, list(events_of(afterwards())), tmp_path / "state", threads=2)
    assert sum("born" in shown.items for shown in lists) > len(lists) / 2
    learned, kept = [], []
    later_ms = int(afterwards()["event_time_ms"].max()) + 60_000
    for serving in (live.current, live.warm(second)):
        fused = serving.stepper.network
        assert isinstance(fused, FusedList)
        assert all(live_data(fused.live).values())
        # The version in service has not learned of the newest moments before.
        assert serving.refresher is not None
        serving.refresher.refresh(later_ms)
        # Neighbours are the sessions of the stream, too.
        kept.append(fused.live.sessions.end)
        learned.append({serving.vocabulary.item_ids[item] for item in fused.live.popular_N[:10]})
    assert learned[0] == learned[1]
    assert 0 < kept[0] == kept[1] <= afterwards()["session_id"].nunique()
    assert "born" in learned[0]
    standing = ModelSlot(settings.model_copy(update={"follow": "none"}))
    still = standing.prepare(second.version).stepper.network
    assert isinstance(still, FusedList)
    assert not still.follows


def test_one_wrong_stamp_does_not_make_all_that_was_counted_old(settings: Settings, tmp_path: Path) -> None:
    live = ModelSlot(settings)
    train_small(LOG, Registry(settings.registry_dir), prior_half_lives_s=PRIOR)
    live.offer(live.prepare())
    events = list(events_of(afterwards()))
    last_ms = max(event.event_time_ms for event in events)
    events.insert(len(events) // 2, Event("ahead", last_ms + 80_000_000, "i1"))
    serve(live, events, tmp_path / "state")
    refresher = live.current.refresher
    assert refresher is not None
    assert refresher.refreshed_ms is not None
    # Event time follows what two thirds of the newest sessions have passed.
    assert last_ms - 600_000 < refresher.refreshed_ms <= last_ms
    gauges = {family.name: family.samples[0].value for family in FreshnessMetrics(live).collect()}
    assert gauges["nextclick_provisional_items"] == 1
    assert 0 <= gauges["nextclick_follow_age_seconds"] < 20


def test_following_and_equal_bytes_exclude_each_other() -> None:
    with pytest.raises(NextclickError, match=r"follow: .*`deterministic` is set"):
        load_settings(follow="popularity", deterministic=True)
    assert load_settings(follow="popularity").follow == "popularity"
    assert load_settings(deterministic=True).follow == "none"


def test_a_version_that_counts_is_refused_and_one_without_a_prior_is_warned_of(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    live, registry = ModelSlot(settings), Registry(settings.registry_dir)
    counts = train_small(LOG, registry, network="transitions")
    with pytest.raises(NextclickError, match=f"{counts.version} is a Transitions on cpu"):
        live.prepare()
    plain = train_small(LOG, registry)
    with caplog.at_level(logging.WARNING):
        live.prepare()
    assert f"version {plain.version} has no prior" in caplog.text


def test_nothing_is_kept_where_versions_stand_still(settings: Settings, tmp_path: Path) -> None:
    live = ModelSlot(settings.model_copy(update={"follow": "none"}))
    train_small(LOG, Registry(settings.registry_dir), prior_half_lives_s=PRIOR)
    live.offer(live.prepare())
    lists = serve(live, list(events_of(afterwards())), tmp_path / "state")
    assert live.recent is None
    assert live.current.refresher is None
    assert not any("born" in shown.items for shown in lists)
    assert not list(FreshnessMetrics(live).collect())
