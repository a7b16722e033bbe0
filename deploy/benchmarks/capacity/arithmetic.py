"""From measured figures to what a target rate needs: workers, partitions, brokers, disks, recovery.

Formulas and bounds only; session laws say how long sessions last. Knows no simulation.
"""

from __future__ import annotations

import math
from typing import Any

from deploy.benchmarks.capacity.brokers import add_brokers
from deploy.benchmarks.capacity.session_laws import (
    SessionLaw,
    catch_up_s,
    expiry_looks,
    oldest_age_bound_s,
    oldest_age_s,
    open_sessions,
    recover_range,
    skew_bound,
)
from deploy.benchmarks.capacity.sheet import Sheet, Target
from stream.sessions.partition import BUCKET_OFFSETS, EXPIRIES_PER_PASS, WAVES_BETWEEN_EXPIRIES
from stream.settings import Settings

MAX_POLL_INTERVAL_S = 900
MAX_PARTITIONS = 4_096
SKEW_WINDOW_S = 60


class Arithmetic(Sheet):
    """The sheet of a target."""

    def __init__(self, figures: dict[str, Any], target: Target, law: SessionLaw) -> None:
        super().__init__(figures)
        self.target = target
        self.law = law
        self.settings = Settings()
        self.silence_s = target.session_gap_s + self.settings.allowed_lateness_s
        self._sessions()
        self._workers()
        self._recovery()
        self._stores()
        add_brokers(self, target, self.settings.commit_interval_ms)
        self._gpus()

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def _sessions(self) -> None:
        self.group, t, law, add = "Sessions", self.target, self.law, self.add
        lateness_s = self.settings.allowed_lateness_s
        add("target | events/s | asked for, of the peak hour |", t.events_per_s)
        add("session events | events | mean of a session | log.mean_session_events", law.mean_events)
        add(
            "session duration | s | (session events − 1) × mean gap | session events, log.mean_gap_s",
            law.mean_duration_s,
        )
        new = t.events_per_s / law.mean_events
        add("new sessions | sessions/s | target / session events | target, session events", new)
        add(
            f"open sessions | sessions | Little: new sessions × (duration + gap {t.session_gap_s:,.0f} s + "
            f"lateness {lateness_s:,.0f} s) | new sessions, session duration, log.session_gap_s",
            open_sessions(new, law, self.silence_s),
        )

    def _workers(self) -> None:
        self.group, t, add = "Workers and partitions", self.target, self.add
        timeout_s = self.settings.session_timeout_ms / 1000
        add(
            "rebalance | s | rounds × heartbeat interval | assumed.heartbeat_rounds, assumed.heartbeat_s",
            self["assumed.heartbeat_rounds"] * self["assumed.heartbeat_s"],
        )
        outage_s = timeout_s + self["rebalance"]
        add(f"outage | s | session timeout {timeout_s:.0f} s + rebalance | rebalance", outage_s)
        use = t.catch_up_s / (t.catch_up_s + outage_s)
        add(
            "utilisation | of a worker's rate | C / (C + outage): its backlog is gone in C = "
            f"{t.catch_up_s:.0f} s | outage",
            use,
        )
        if use > (t.racks - 1) / t.racks:
            self.warnings.append(f"at a utilisation of {use:.2f} the workers cannot do without a rack")
        capacity = self["worker.events_per_s"]
        # Skew and what does not divide follow from the counts; they are added then.
        least = max(2, math.ceil(t.events_per_s / (capacity * use)))
        partitions = 1 << math.ceil(math.log2(least * t.spread))
        add(
            f"partitions | of each topic | power of two ≥ {t.spread} × target / (worker rate × "
            "utilisation), so that a lost worker's are spread | target, worker.events_per_s, utilisation",
            partitions,
        )
        if partitions > MAX_PARTITIONS:
            self.warnings.append(
                f"{partitions:,} partitions: the setting `partitions` allows {MAX_PARTITIONS:,}"
            )
        sessions = self["new sessions"] * SKEW_WINDOW_S
        skew = skew_bound(sessions / least, self.law, least)
        add(
            "worker skew | busiest / mean | 1 + √(E[L²] / n) / E[L] × √(2 ln workers), n: sessions that "
            f"a worker gets in {SKEW_WINDOW_S} s | new sessions, session events",
            skew,
        )
        workers = least
        while t.events_per_s * math.ceil(partitions / workers) / partitions * skew > capacity * use:
            workers += 1
        add(
            "workers | processes | least W with target × ⌈partitions / W⌉ / partitions × skew ≤ worker "
            "rate × utilisation | target, partitions, worker skew, worker.events_per_s, utilisation",
            workers,
        )
        most = math.ceil(partitions / workers)
        add("partitions of a worker | at most | ⌈partitions / workers⌉ | partitions, workers", most)
        core_us = self["worker.core_us_per_event"]
        add(
            "busy cores | cores | target × worker's core-µs / 10⁶ | target, worker.core_us_per_event",
            t.events_per_s * core_us / 1e6,
        )
        each = capacity * core_us / 1e6
        add(
            f"worker cores | cores, {each:.2f} each | workers × worker rate × core-µs / 10⁶ | workers, "
            "worker.events_per_s, worker.core_us_per_event",
            workers * each,
        )
        rate = t.events_per_s / partitions
        add("partition rate | events/s | target / partitions | target, partitions", rate)
        add(
            "partition skew | busiest / mean | as worker skew, of the partitions | new sessions, partitions, "
            "session events",
            skew_bound(sessions / partitions, self.law, partitions),
        )
        add(
            "worker load | of its rate, before skew | partitions of a worker × partition rate / worker "
            "rate | partitions of a worker, partition rate, worker.events_per_s",
            rate * most / capacity,
        )

    def _recovery(self) -> None:
        self.group, add = "Recovery", self.add
        partitions, workers, racks = self["partitions"], self["workers"], self.target.racks
        rate, capacity, most = (
            self["partition rate"],
            self["worker.events_per_s"],
            self["partitions of a worker"],
        )
        new, recent = self["new sessions"] / partitions, self.settings.recent_items
        add(
            "oldest kept event | s ago, mean of partitions | ∫ 1 − e^(−a partition's new sessions × "
            "∫ₐ P(D + silence > u) du) da | new sessions, partitions, session duration",
            oldest_age_s(new, self.law, self.silence_s, recent)[0],
        )
        add(
            "oldest of all | s ago, in the worst partition | the age that one partition of all exceeds | "
            "oldest kept event",
            oldest_age_bound_s(new, self.law, self.silence_s, recent, 1 / partitions),
        )
        add(
            f"re-read range | events of a partition | partition rate × oldest kept event + half a bucket of "
            f"{BUCKET_OFFSETS:,} | partition rate, oldest kept event",
            recover_range(rate, self["oldest kept event"]),
        )
        self._lost("one worker's disk", most, 1)
        rack = math.ceil(workers / racks)
        self._lost(f"a rack of {racks}", math.ceil(rack * partitions / workers), rack)
        restart_s = self["recovery.restart_s"]
        add(
            "plain restart: fresh after | s | restart + restart × load / (worker rate − load); static "
            "membership: no rebalance | recovery.restart_s, worker load, worker.events_per_s",
            restart_s + catch_up_s(rate * most * restart_s, capacity, rate * most),
        )
        add(
            "all disks lost: re-read | s | partitions of a worker × re-read range / re-read rate; the "
            "brokers may be slower | partitions of a worker, re-read range, recovery.reread_events_per_s",
            most * self["re-read range"] / self["recovery.reread_events_per_s"],
        )

    def _lost(self, what: str, gone: int, workers_gone: int) -> None:
        """Lines of a loss: the other workers re-read `gone` partitions, each receiver at a standstill."""
        add, rate, capacity = self.add, self["partition rate"], self["worker.events_per_s"]
        left = self["workers"] - workers_gone
        each = math.ceil(gone / left)
        reread_s = each * self["re-read range"] / self["recovery.reread_events_per_s"]
        add(
            f"{what}: re-read | s, {each} partitions for a receiver | ⌈{gone:,} partitions / {left:,} "
            "workers left⌉ × re-read range / re-read rate | workers, partitions, re-read range, "
            "recovery.reread_events_per_s",
            reread_s,
        )
        if reread_s > MAX_POLL_INTERVAL_S:
            self.warnings.append(
                f"{what}: {reread_s:,.0f} s of re-reading exceed max.poll.interval.ms: the receivers are "
                "taken for dead, one after another"
            )
        # The busiest receiver has as many of its own as the busiest worker, or what the total leaves.
        own = min(self["partitions of a worker"], math.ceil(self["partitions"] / left) - each + 1)
        backlog = rate * (each * (self["outage"] + reread_s) + own * reread_s)
        again_s = catch_up_s(backlog, capacity, rate * (own + each))
        add(
            f"{what}: catch-up | s | (received × rate × (outage + re-read) + own {own} × rate × re-read) "
            f"/ (worker rate − load) | partition rate, outage, {what}: re-read, worker.events_per_s",
            again_s,
        )
        if math.isinf(again_s):
            self.warnings.append(f"{what}: the workers that are left cannot carry the load")
        add(
            f"{what}: fresh after | s | outage + re-read + catch-up | outage, {what}: re-read, {what}: "
            "catch-up",
            self["outage"] + reread_s + again_s,
        )

    def _stores(self) -> None:
        self.group, add = "Stores and memory", self.add
        rate, workers, most = self["target"], self["workers"], self["partitions of a worker"]
        sessions = self["open sessions"] / 1e9
        add(
            "stores | GB | open sessions × bytes on disk | open sessions, store.session_bytes",
            sessions * self["store.session_bytes"],
        )
        add(
            "stores, recovered | GB | the same without hidden states and lists | open sessions, "
            "store.recovered_session_bytes",
            sessions * self["store.recovered_session_bytes"],
        )
        add("store of a worker | GB | stores / workers | stores, workers", self["stores"] / workers)
        add(
            "written | MB/s of a worker's disk | target × RocksDB's bytes per event / workers | target, "
            "workers, store.written_bytes_per_event",
            rate * self["store.written_bytes_per_event"] / workers / 1e6,
        )
        add(
            "read | MB/s of a worker's disk, at most | target × a block / workers, as if no state were "
            "cached | target, workers, assumed.read_block_bytes",
            rate * self["assumed.read_block_bytes"] / workers / 1e6,
        )
        add(
            "worker memory | GB | base + partitions of a worker × one partition's | memory.worker_bytes, "
            "partitions of a worker, memory.partition_bytes",
            (self["memory.worker_bytes"] + most * self["memory.partition_bytes"]) / 1e9,
        )
        add("memory | GB | workers × worker memory | workers, worker memory", workers * self["worker memory"])
        add(
            "expiry looks | index entries per event | (1 + P(D > 0) + Σ P(D > k × silence)) / session "
            "events | session events, session duration",
            expiry_looks(self.law, self.silence_s) / self.law.mean_events,
        )
        bound = EXPIRIES_PER_PASS * most / WAVES_BETWEEN_EXPIRIES / self["expiry looks"]
        add(
            f"largest wave | events, for expiry to keep up | {EXPIRIES_PER_PASS:,} entries of each "
            f"partition in {WAVES_BETWEEN_EXPIRIES} waves / expiry looks | partitions of a worker, expiry "
            "looks",
            bound,
        )
        if bound < self.settings.wave_size:
            self.warnings.append(f"expiry falls behind with waves of {self.settings.wave_size}")

    def _gpus(self) -> None:
        """Add what GPUs would take over, where the rate of one has been measured."""
        if "gpu.events_per_s" not in self._values:
            return
        self.group, rate, use = "With GPUs", self["target"], self["utilisation"]
        self.add(
            "GPUs | of one kind | target / (its rate × utilisation) | target, gpu.events_per_s, utilisation",
            math.ceil(rate / (self["gpu.events_per_s"] * use)),
        )
        if self.target.items > self["gpu.items"]:
            self.warnings.append(
                f"a GPU's rate is measured with {self['gpu.items']:,} items; for {self.target.items:,} "
                "the count of GPUs says nothing"
            )
        beside_us = self["worker.core_us_per_event"] - self["worker.model_core_us_per_event"]
        self.add(
            "cores beside GPUs | cores | target × (worker's core-µs − the model's) / 10⁶ / utilisation: "
            "decoding, Kafka and stores remain | target, worker.core_us_per_event, "
            "worker.model_core_us_per_event, utilisation",
            rate * beside_us / 1e6 / use,
        )
