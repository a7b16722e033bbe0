import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from model.registry.registry import Registry
from model.training.trained_model import TrainedModel
from stream.app import registry_of
from stream.asking.metrics import AskingMetrics
from stream.quality.prequential import Prequential
from stream.sessions.offsets import AppliedOffsets, PendingOffsets
from stream.sessions.watermark import Watermark
from stream.settings import Settings
from stream.wave.serving_model import ModelSlot
from stream.worker.assignment import PartitionProgress
from stream.worker.counters import WorkerCounters
from stream.worker.partition_watch import AWAY_AFTER
from stream.worker.pipeline import Pipeline
from tests.conftest import train_small
from tests.harness.markov_shoppers import markov_shoppers

LOG = markov_shoppers(sessions=100, items=30, seed=1)


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[Pipeline]:
    """One that has not joined its group."""
    settings = Settings(
        bootstrap_servers="127.0.0.1:9", registry_dir=tmp_path / "registry", state_dir=tmp_path / "state"
    )
    train_small(LOG, Registry(settings.registry_dir), epochs=1)
    live = ModelSlot(settings)
    live.offer(live.prepare())
    counters = WorkerCounters(Prequential(settings.quality_window, settings.quality_fading))
    made = Pipeline(
        settings, live, counters, hand_to_step_thread=lambda waves: None, on_durable=[], on_failure=failed
    )
    yield made
    for number in list(made._processor.partitions):
        made.close_partition(number)


def failed(error: BaseException) -> None:
    raise error


def scraped(pipeline: Pipeline) -> dict[str, float]:
    """Series by name and label values, without the prefix."""
    text = generate_latest(registry_of(pipeline, AskingMetrics())).decode()
    return {
        " ".join([sample.name.removeprefix("nextclick_"), *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_gauges_of_a_partition_begin_when_it_is_opened_and_end_when_it_goes(pipeline: Pipeline) -> None:
    gauges = ["open_sessions", "store_bytes", "store_keys", "recovery_duration_seconds", "watermark_seconds"]
    before = scraped(pipeline)
    assert before["partitions"] == before["recovering_partitions"] == before["ready"] == 0
    # What the partitions of all workers must come to, told by a worker that has none.
    assert before["topic_partitions"] == pipeline._settings.partitions > 1
    pipeline.open_partition(3, None)
    opened = scraped(pipeline)
    assert opened["partitions"] == opened["recovery_progress_ratio 3"] == 1
    assert opened["recovery_duration_seconds 3"] > 0
    assert opened["store_bytes 3"] >= opened["store_memtable_bytes 3"] > 0
    assert opened["recovery_records 3"] == opened["store_writes_stopped 3"] == 0
    assert opened["events_read_total 3"] == opened["events_total stepped 3"] == 0
    pipeline.close_partition(3)
    closed = scraped(pipeline)
    for gauge in gauges:
        assert f"{gauge} 3" not in before
        assert f"{gauge} 3" in opened
        assert f"{gauge} 3" not in closed
    assert closed["events_read_total 3"] == 0


def test_a_recovery_tells_how_far_it_is(pipeline: Pipeline) -> None:
    pipeline.recovering[2] = (30, 120)
    series = scraped(pipeline)
    assert series["recovering_partitions"] == 1
    assert series["recovery_progress_ratio 2"] == 0.25
    assert "recovery_duration_seconds 2" not in series


def test_events_that_nothing_accounts_for_show(pipeline: Pipeline) -> None:
    pipeline.open_partition(0, None)
    pipeline.counters.add_read({0: 5})
    assert scraped(pipeline)["identity_difference_events"] == 5
    pipeline._events_under_way = 5
    assert scraped(pipeline)["identity_difference_events"] == 0
    pipeline.counters.outcomes[0]["stepped"] += 6
    assert scraped(pipeline)["identity_difference_events"] == -6


def test_one_version_serves_and_a_swap_is_counted_and_dated(pipeline: Pipeline) -> None:
    live, registry = pipeline.live, Registry(pipeline.live._settings.registry_dir)
    first = live.current.version
    before = scraped(pipeline)
    assert before["model_swaps_total"] == 0
    assert "model_trained_until_seconds" not in before
    model = registry.load()
    second = registry.save(
        TrainedModel(model.network, model.config, model.vocabulary),
        scores={},
        data={"last_event_time_ms": 1_700_000_000_500},
    )
    live.offer(live.prepare(second.version))
    after = scraped(pipeline)
    assert after["model_swaps_total"] == after[f"model_info {second.version}"] == 1
    assert after["model_trained_until_seconds"] == 1_700_000_000.5
    assert (
        after[f"model_serving_since_seconds {second.version}"]
        >= before[f"model_serving_since_seconds {first}"]
    )
    assert [name for name in after if first in name] == []


def test_a_store_is_not_closed_while_a_scrape_asks_it(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = pipeline.open_partition(0, None).store
    with ThreadPoolExecutor(1) as executor:
        closings: list[Future[AppliedOffsets]] = []
        asked = store.level0_files

        def ask() -> int:
            closings.append(executor.submit(pipeline.close_partition, 0))
            # Were it not held up, it would be over long before.
            wait(closings, timeout=0.5)
            return asked()

        monkeypatch.setattr(store, "level0_files", ask)
        assert scraped(pipeline)["store_level0_files 0"] == 0
        wait(closings, timeout=30)
    assert "store_level0_files 0" not in scraped(pipeline)


def test_while_no_broker_answers_lag_is_not_told_and_the_wait_for_lists_grows(pipeline: Pipeline) -> None:
    pipeline.stepping.set()
    pipeline.source.assigned.set()
    now_s = time.monotonic()
    progress = pipeline.source._assignment.progress
    progress[3] = PartitionProgress(PendingOffsets(), 5, Watermark(), 12, now_s, durable=5, moved_s=now_s)
    series = scraped(pipeline)
    assert series["brokers_reachable"] == series["ready"] == 1
    assert series["partition_lag_records 3"] == 7
    assert "lag_records" in series and pipeline.lag is not None and pipeline.why_not_ready == ""
    watch = pipeline._partition_watch
    watch._unanswered, watch._silent_since_s = AWAY_AFTER, now_s - 90
    series = scraped(pipeline)
    assert series["brokers_reachable"] == series["ready"] == 0
    assert "lag_records" not in series and "partition_lag_records 3" not in series
    assert series["list_wait_seconds 3"] >= 90
    assert pipeline.lag is None and pipeline.why_not_ready.startswith("no broker has answered for ")
    progress.clear()
