"""A simulation of sessions on Kafka's partitions and of the workers that serve them.

It checks, event by event in event time, what the arithmetic of `nextclick bench scale` predicts. Knows
how sessions arrive, last and hash; sizes and costs come from its plan. Every partition has its rate at
the target, so that the scale lies in their number. Equal seeds give equal results.

Legend: S sessions, E events (each session's together, in time's order), P partitions, T seconds of the
window. `expiry` and `moved` follow the rules of stream/sessions/partition.py and stream/worker/source.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deploy.benchmarks.capacity.session_laws import Floats, Ints, SessionLaw
from stream.kafka.batch_partitioner import partitions_of
from stream.sessions.partition import BUCKET_OFFSETS, EXPIRIES_PER_PASS, WAVES_BETWEEN_EXPIRIES

FIRST_ID = 1_506_825_423_000_000
SAMPLE_EVERY_S = 300
SKEW_WINDOW_S = 60
COHORT_S = 600


@dataclass(frozen=True)
class Plan:
    """What is simulated. `capacity_ratio`: a worker's capacity over its mean load."""

    partitions: int
    workers: int
    partition_events_per_s: float
    silence_s: float
    capacity_ratio: float
    outage_s: int
    reread_events_per_s: float
    recent_items: int
    wave_size: int
    warm_up_s: float
    window_s: int = 1_800

    @property
    def horizon_s(self) -> float:
        """Warm-up and window."""
        return self.warm_up_s + self.window_s

    @property
    def owner_P(self) -> Ints:
        """The worker of every partition."""
        return np.arange(self.partitions) % self.workers


@dataclass
class Stream:
    """One partition's sessions and events."""

    lengths_S: Ints
    times_E: Floats

    def __post_init__(self) -> None:
        self.ends_S = np.cumsum(self.lengths_S)
        self.begins_S = self.ends_S - self.lengths_S
        self.first_s_S = self.times_E[self.begins_S]
        self.last_s_S = self.times_E[self.ends_S - 1]

    def recovery(self, now_s: float, silence_s: float, recent_items: int) -> tuple[int, int, int]:
        """Open sessions, position, and `recover_from` now; the bucket rule of stream/sessions/partition.py.

        `recover_from` is the beginning of the bucket that has the oldest kept event of an open session.
        """
        open_S = (self.first_s_S <= now_s) & (self.last_s_S + silence_s >= now_s)
        position = int(np.count_nonzero(self.times_E <= now_s))
        kept = self.begins_S[open_S]
        long = np.flatnonzero(self.lengths_S[open_S] > recent_items)
        for number in long.tolist():
            begin, end = kept[number], kept[number] + self.lengths_S[open_S][number]
            seen = np.searchsorted(self.times_E[begin:end], now_s, "right")
            kept[number] = begin + max(0, seen - recent_items)
        if not len(kept):
            return 0, position, position
        oldest_s = self.times_E[kept].min()
        offset = int(np.count_nonzero(self.times_E < oldest_s))
        return int(open_S.sum()), position, offset // BUCKET_OFFSETS * BUCKET_OFFSETS


@dataclass
class Simulated:
    """The results: means over partitions and samples, unless the name says otherwise."""

    sessions: int
    events: int
    open_sessions: float
    recover_range_events: float
    recover_range_largest: int
    skew: float
    returned_catch_up_s: float
    moved_catch_up_s: float
    expiry_looks: float
    expiry_lag_s: float
    expiry_looks_per_pass_largest: int


def simulate(law: SessionLaw, plan: Plan, seed: int) -> Simulated:
    """Simulate sessions for the plan's horizon, and evaluate the window at its end."""
    rng = np.random.default_rng(seed)
    rate = plan.partitions * plan.partition_events_per_s / law.mean_events
    sessions = int(rng.poisson(rate * plan.horizon_s))
    starts_s = rng.random(sessions) * plan.horizon_s
    ids = (FIRST_ID + np.arange(sessions)).astype("S16")
    owner = partitions_of(ids.tolist(), plan.partitions)
    samples_s = plan.warm_up_s + np.arange(0, plan.window_s + 1, SAMPLE_EVERY_S)
    counts_PT = np.zeros((plan.partitions, plan.window_s), np.int64)
    opened: list[int] = []
    ranges_P: list[list[int]] = []
    mine: list[Stream] = []
    for number in range(plan.partitions):
        stream = stream_of(law, rng, starts_s[owner == number])
        inside_s = stream.times_E[stream.times_E >= plan.warm_up_s] - plan.warm_up_s
        counts_PT[number] = np.histogram(inside_s, plan.window_s, (0, plan.window_s))[0]
        looks = [stream.recovery(s, plan.silence_s, plan.recent_items) for s in samples_s.tolist()]
        opened += [sessions for sessions, _, _ in looks]
        ranges_P.append([position - first for _, position, first in looks])
        if plan.owner_P[number] == 0:
            mine.append(stream)
    windows = counts_PT.reshape(plan.partitions, -1, SKEW_WINDOW_S).sum(2)
    looks_per_session, lag_s, largest_pass = expiry(mine, plan)
    range_P = np.asarray(ranges_P).mean(1)
    return Simulated(
        sessions=sessions,
        events=int(sessions * law.mean_events),
        open_sessions=float(np.mean(opened)),
        recover_range_events=float(range_P.mean()),
        recover_range_largest=int(np.max(ranges_P)),
        skew=float((windows.max(0) / windows.mean(0)).mean()),
        returned_catch_up_s=returned(counts_PT, plan),
        moved_catch_up_s=moved(counts_PT, range_P, plan),
        expiry_looks=looks_per_session,
        expiry_lag_s=lag_s,
        expiry_looks_per_pass_largest=largest_pass,
    )


def stream_of(law: SessionLaw, rng: np.random.Generator, starts_s_S: Floats) -> Stream:
    """The stream of sessions with these start times."""
    lengths_S, gaps_E = law.sample(rng, len(starts_s_S))
    through_E = np.cumsum(gaps_E)
    first_S = np.cumsum(lengths_S) - lengths_S
    return Stream(lengths_S, through_E + np.repeat(starts_s_S - through_E[first_S], lengths_S))


def drain_s(arrivals_T: Floats, capacity: float, stands_until_s: float) -> float:
    """Seconds from `stands_until_s` until a worker that served nothing before it has no backlog."""
    backlog = 0.0
    for second, arrived in enumerate(arrivals_T.tolist()):
        serves = capacity * min(1.0, max(0.0, second + 1 - stands_until_s))
        before, backlog = backlog, backlog + arrived - serves
        if backlog <= 0 and serves:
            return float(second - stands_until_s + before / max(serves - arrived, before))
    return float("inf")


def capacities(plan: Plan) -> Floats:
    """Of every worker: as much as the one with the most partitions needs for the plan's ratio."""
    largest = np.bincount(plan.owner_P).max()
    return np.full(plan.workers, plan.capacity_ratio * largest * plan.partition_events_per_s)


def returned(counts_PT: Ints, plan: Plan) -> float:
    """Static membership: a worker is away for the outage, returns with its disk, and catches up."""
    took: list[float] = []
    for worker, capacity in enumerate(capacities(plan).tolist()):
        load_T = counts_PT[plan.owner_P == worker].sum(0).astype(float)
        for at in range(0, plan.window_s // 2, SAMPLE_EVERY_S):
            took.append(drain_s(load_T[at:], capacity, plan.outage_s))
    return float(np.mean(took))


def moved(counts_PT: Ints, range_P: Floats, plan: Plan) -> float:
    """A worker and its disk are lost: each of its partitions goes to the least loaded of the others.

    A receiver re-reads `recover_from` on in the thread that reads, so that all it has stands still.
    Seconds from the end of the outage until the receivers have caught up, the slowest of each loss.
    """
    took: list[float] = []
    capacity = float(capacities(plan)[0])
    for lost in range(plan.workers):
        held = {w: np.flatnonzero(plan.owner_P == w).tolist() for w in range(plan.workers) if w != lost}
        received: dict[int, list[int]] = {w: [] for w in held}
        for number in np.flatnonzero(plan.owner_P == lost).tolist():
            least = min(held, key=lambda w: (len(held[w]) + len(received[w]), w))
            received[least].append(number)
        for at in range(0, plan.window_s // 2, SAMPLE_EVERY_S):
            slowest = 0.0
            for worker, numbers in received.items():
                reread_s = float(range_P[numbers].sum()) / plan.reread_events_per_s
                load_T = counts_PT[held[worker] + numbers, at:].sum(0).astype(float)
                # Until the outage's end the receiver has served its own, and nothing of what it receives.
                load_T[: plan.outage_s] = counts_PT[numbers, at : at + plan.outage_s].sum(0)
                if numbers:
                    slowest = max(slowest, reread_s + drain_s(load_T, capacity, plan.outage_s + reread_s))
            took.append(slowest)
    return float(np.mean(took))


def expiry(streams: list[Stream], plan: Plan) -> tuple[float, float, int]:
    """Index entries looked at per session, mean lag of the deletion in seconds, most entries of a pass.

    One worker's first partition. A pass comes with every 16th wave of the worker and takes 1,024 entries at
    most; an entry is due a silence after its time, and is moved to the session's last event if that is later.
    """
    end_s = plan.horizon_s
    begin_s = end_s - plan.silence_s - plan.window_s
    times = np.concatenate([s.times_E[(s.times_E > begin_s) & (s.times_E < end_s)] for s in streams])
    passes_s = np.sort(times)[:: WAVES_BETWEEN_EXPIRIES * plan.wave_size]
    stream = streams[0]
    first_look_s = stream.first_s_S + plan.silence_s
    open_S = np.flatnonzero(first_look_s > passes_s[0])
    # Only sessions of the cohort are counted, as they have the rest of the span to end in.
    cohort_S = (first_look_s > passes_s[0]) & (first_look_s <= passes_s[0] + COHORT_S)
    # One ascending key for all sessions, so that one search finds each one's last event before a time.
    span_s = 4 * end_s
    key_E = stream.times_E + np.repeat(np.arange(len(stream.lengths_S)), stream.lengths_S) * span_s
    known_s = stream.first_s_S[open_S]
    per_pass = np.zeros(len(passes_s), np.int64)
    looks, lag_s, lagged = 0, 0.0, 0
    while len(open_S):
        due = np.searchsorted(passes_s, known_s + plan.silence_s)
        open_S, known_s, due = (a[due < len(passes_s)] for a in (open_S, known_s, due))
        looked_s = passes_s[due]
        looks += int(cohort_S[open_S].sum())
        per_pass += np.bincount(due, minlength=len(passes_s))
        at = np.searchsorted(key_E, open_S * span_s + looked_s, "right") - 1
        last_s = stream.times_E[at]
        over = looked_s - last_s > plan.silence_s
        lag_s += float((looked_s - last_s - plan.silence_s)[over].sum())
        lagged += int(over.sum())
        open_S, known_s = open_S[~over], last_s[~over]
    waiting = largest = 0
    for entries in per_pass.tolist():
        waiting = max(0, waiting + entries - EXPIRIES_PER_PASS)
        largest = max(largest, entries + waiting)
    return looks / max(1, int(cohort_S.sum())), lag_s / max(1, lagged), largest
