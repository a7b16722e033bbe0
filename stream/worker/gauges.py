"""The states of one worker as Prometheus series, read when somebody scrapes.

Gauges of the model in service, of lag, partitions, their stores and their recovery. Labels
are the numbers of the partitions that are open, and the one version that serves: the series of a
partition that went elsewhere, or of a version that was replaced, end.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from model.memory import peak_memory_bytes
from stream.worker.pipeline import Pipeline

# Series behind nextclick_store_: what it is, and the RocksDB figures that are added.
STORE_FIGURES = {
    "bytes": ("tables and memtables", ("total-sst-files-size", "cur-size-all-mem-tables")),
    "memtable_bytes": ("of these, in memory and in the write-ahead log", ("cur-size-all-mem-tables",)),
    "keys": ("sessions, index entries and buckets, estimated", ("estimate-num-keys",)),
    "pending_compaction_bytes": ("to be rewritten, estimated", ("estimate-pending-compaction-bytes",)),
    "running_compactions": ("under way", ("num-running-compactions",)),
    "writes_stopped": ("1 while RocksDB takes no write", ("is-write-stopped",)),
}


class WorkerGauges(Collector):
    """The gauges of one pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def describe(self) -> list[Metric]:
        """Nothing before the first scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All of them, in some microseconds for each partition."""
        yield from self._model()
        yield from self._flow()
        yield from self._partitions()
        yield from self._recovery()
        yield GaugeMetricFamily(
            "nextclick_block_cache_bytes",
            "blocks of all stores in memory",
            value=self._pipeline.block_cache.get_usage(),
        )
        yield GaugeMetricFamily(
            "nextclick_resident_memory_peak_bytes", "largest so far", value=peak_memory_bytes()
        )

    def _model(self) -> Iterator[Metric]:
        live = self._pipeline.live
        yield CounterMetricFamily("nextclick_model_swaps", "versions changed over to", value=live.swaps)
        if not live.ready:
            return
        serving = live.current
        info = GaugeMetricFamily("nextclick_model_info", "1 for the version that serves", labels=["version"])
        info.add_metric([serving.version], 1)
        yield info
        champion = GaugeMetricFamily(
            "nextclick_registry_champion_info",
            "1 for the version that this worker's registry names; absent while it cannot be read",
            labels=["version"],
        )
        if live.champion is not None:
            champion.add_metric([live.champion], 1)
        yield champion
        since = GaugeMetricFamily(
            "nextclick_model_serving_since_seconds",
            "wall time at which it began here, epoch",
            labels=["version"],
        )
        since.add_metric([serving.version], live.serving_since_s)
        yield since
        yield GaugeMetricFamily(
            "nextclick_model_items", "items that it can list", value=len(serving.vocabulary)
        )
        if serving.trained_until_ms is not None:
            yield GaugeMetricFamily(
                "nextclick_model_trained_until_seconds",
                "event time of the newest event it has learned from, epoch",
                value=serving.trained_until_ms / 1000,
            )

    def _flow(self) -> Iterator[Metric]:
        pipeline, source = self._pipeline, self._pipeline.source
        away_s = pipeline.brokers_away_s
        yield GaugeMetricFamily(
            "nextclick_ready", "1 while events are stepped", value=not pipeline.why_not_ready
        )
        yield GaugeMetricFamily("nextclick_brokers_reachable", "0 while no broker answers", value=not away_s)
        lag = GaugeMetricFamily("nextclick_lag_records", "records not read yet; absent while not known")
        by_partition = GaugeMetricFamily(
            "nextclick_partition_lag_records",
            "records not read yet; absent while not known",
            labels=["partition"],
        )
        if not away_s:
            lag.add_metric([], source.lag)
            for number, at in source.progress.items():
                by_partition.add_metric([str(number)], at.lag)
        yield from (lag, by_partition)
        waits = GaugeMetricFamily(
            "nextclick_list_wait_seconds",
            "that records have waited since the newest durable list; 0 while none waits",
            labels=["partition"],
        )
        for number, at in source.progress.items():
            # While no broker answers, no list is published, whether or not more events wait.
            waits.add_metric([str(number)], max(at.wait_s, away_s))
        yield waits
        yield GaugeMetricFamily(
            "nextclick_waiting_partitions",
            "read no further until the registry gives a schema",
            value=len(source.held.waiting),
        )
        in_flight = pipeline.in_flight
        yield GaugeMetricFamily("nextclick_events_in_flight", "read, not durable", value=in_flight)
        yield GaugeMetricFamily(
            "nextclick_identity_difference_events",
            "read, less all outcomes, less in flight; other than 0 only while a wave moves",
            value=pipeline.counters.difference(in_flight),
        )
        yield GaugeMetricFamily(
            "nextclick_ladder_level", "0 full, 1 newest only, 2 popular", value=source.level
        )

    def _partitions(self) -> Iterator[Metric]:
        sessions = GaugeMetricFamily("nextclick_open_sessions", "in the store", labels=["partition"])
        watermark = GaugeMetricFamily(
            "nextclick_watermark_seconds", "event-time watermark, epoch", labels=["partition"]
        )
        level0 = GaugeMetricFamily(
            "nextclick_store_level0_files", "tables that no compaction has taken in", labels=["partition"]
        )
        stores = {
            name: GaugeMetricFamily(f"nextclick_store_{name}", help_, labels=["partition"])
            for name, (help_, _) in STORE_FIGURES.items()
        }
        with self._pipeline.open_partitions() as partitions:
            for partition in partitions:
                labels, store = [str(partition.number)], partition.store
                sessions.add_metric(labels, partition.durable.sessions)
                watermark.add_metric(labels, partition.durable.watermark.ms / 1000)
                level0.add_metric(labels, store.level0_files())
                for name, family in stores.items():
                    family.add_metric(labels, sum(store.rocksdb_number(of) for of in STORE_FIGURES[name][1]))
        yield GaugeMetricFamily("nextclick_partitions", "open here", value=len(sessions.samples))
        yield GaugeMetricFamily(
            "nextclick_topic_partitions", "of the topic, over all workers", value=self._pipeline.partitions
        )
        yield from (sessions, watermark, level0, *stores.values())

    def _recovery(self) -> Iterator[Metric]:
        recovering = dict(self._pipeline.recovering)
        openings = dict(self._pipeline.openings)
        yield GaugeMetricFamily(
            "nextclick_recovering_partitions", "whose histories are read again now", value=len(recovering)
        )
        progress = GaugeMetricFamily(
            "nextclick_recovery_progress_ratio", "of the newest recovery, 1 when done", labels=["partition"]
        )
        seconds = GaugeMetricFamily(
            "nextclick_recovery_duration_seconds",
            "that opening the partition took, histories included",
            labels=["partition"],
        )
        records = GaugeMetricFamily(
            "nextclick_recovery_records", "of the log that were read again for it", labels=["partition"]
        )
        for number, (done, total) in recovering.items():
            progress.add_metric([str(number)], done / max(1, total))
        for number, opening in openings.items():
            progress.add_metric([str(number)], 1)
            seconds.add_metric([str(number)], opening.seconds)
            records.add_metric([str(number)], opening.records)
        yield from (progress, seconds, records)
