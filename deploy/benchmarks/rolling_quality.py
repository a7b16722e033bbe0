"""What rolling quality costs per event, and how often its intervals contain the truth.

The cost is processor time of one thread: of the record that the step thread makes, of adding it to
every window in the sink's thread, and of a scrape. The intervals are those of means over drawn sessions
with real ranks; the mean over all sessions is the truth. Compared are groups of sessions, as kept
online, the bootstrap, which needs all sessions in memory, and a Poisson bootstrap, which could be kept
online.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from prometheus_client import CollectorRegistry, generate_latest

sys.path.insert(0, str(Path(__file__).parents[2]))

from model.config import ModelConfig
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.evaluation.intervals import Floats, Interval, grouped_intervals, resampled_means
from model.evaluation.metrics import is_hit
from model.evaluation.rank_targets import rank_targets
from model.training.train import train
from replay.datasets.event_files import EventFiles
from stream.quality.metrics import QualityCollector
from stream.quality.observed_event import ObservedEvent
from stream.quality.prequential import Prequential

ITEMS = 46_033
ROUNDS = 5


def cost(events: int, wave: int) -> None:
    """Print the least processor time of some rounds."""
    rng = np.random.default_rng(1)
    items = [f"{item}" for item in rng.zipf(1.2, events) % ITEMS]
    sessions = [f"{session}" for session in rng.integers(0, events // 3, events)]
    times = (1_500_000_000_000 + np.cumsum(rng.exponential(1200, events))).astype(int).tolist()
    ranks = np.where((drawn := rng.integers(1, 40, (2, events))) <= 20, drawn, 0).tolist()
    columns = list(zip(times, sessions, items, *ranks, strict=True))
    found = []
    for _ in range(ROUNDS):
        prequential = Prequential(10_000, 0.9999)
        registry = CollectorRegistry()
        registry.register(QualityCollector(prequential))
        started = time.process_time()
        observed = [
            ObservedEvent(0, time_ms, time_ms, session, item, True, 1 + n % 7, "v", champion, pop, ())
            for n, (time_ms, session, item, champion, pop) in enumerate(columns)
        ]
        made = time.process_time()
        for start in range(0, events, wave):
            prequential.add(observed[start : start + wave])
        added = time.process_time()
        text = prequential.sums().to_json()
        told = time.process_time()
        generate_latest(registry)
        scraped = time.process_time()
        found.append((made - started, added - made, told - added, scraped - told))
    record, add, tell, scrape = np.min(found, axis=0)
    print(
        f"waves of {wave}: record {1e6 * record / events:.2f} µs per event, windows "
        f"{1e6 * add / events:.2f} µs per event, /api/quality {1e3 * tell:.1f} ms ({len(text):,} bytes), "
        f"scrape {1e3 * scrape:.1f} ms"
    )


def coverage(train_file: Path, test_file: Path, trials: int) -> None:
    """Print how often each kind of interval holds the mean over all sessions, and how wide it is."""
    config = ModelConfig(network="transitions")
    rule = SessionRule(config.session_gap_s)
    earlier, later = EventFiles([train_file]).load(), EventFiles([test_file]).load()
    vocabulary = Vocabulary.from_frame(earlier)
    network = train(Sessions.from_frame(earlier, vocabulary, rule), vocabulary, config).network
    ranked = rank_targets(network, Sessions.from_frame(later, vocabulary, rule))
    hits = np.bincount(ranked.sessions, is_hit(ranked.ranks, 20), ranked.session_count).astype(float)
    counts = np.bincount(ranked.sessions, minlength=ranked.session_count).astype(float)
    hits, counts = hits[counts > 0], counts[counts > 0]
    truth = hits.sum() / counts.sum()
    print(f"{len(counts):,} sessions, {counts.sum():,.0f} next events, Recall@20 {truth:.4f}")
    rng = np.random.default_rng(0)

    def bootstrap(hits: Floats, counts: Floats) -> Interval:
        draws = resampled_means(hits[None], counts, resamples=400, seed=int(rng.integers(1 << 30)))
        return Interval.of(hits.sum() / counts.sum(), draws[0])

    def poisson(hits: Floats, counts: Floats) -> Interval:
        weights = rng.poisson(1, (100, len(counts)))
        return Interval.of(hits.sum() / counts.sum(), weights @ hits / np.maximum(weights @ counts, 1))

    def jackknife(groups: int) -> Callable[[Floats, Floats], Interval]:
        def interval(hits: Floats, counts: Floats) -> Interval:
            group = rng.integers(groups, size=len(counts))
            sums, held = (np.bincount(group, of, groups).astype(float) for of in (hits, counts))
            return grouped_intervals(sums[None], held)[0]

        return interval

    kinds = {
        "bootstrap, 400 draws": bootstrap,
        "Poisson bootstrap, 100 draws": poisson,
        "jackknife, 20 groups": jackknife(20),
        "jackknife, 50 groups": jackknife(50),
        "jackknife, 100 groups": jackknife(100),
    }
    for size in (60, 300, 1500):
        found: dict[str, list[tuple[bool, float]]] = {name: [] for name in kinds}
        for _ in range(trials):
            drawn = rng.integers(len(counts), size=size)
            for name, kind in kinds.items():
                interval = kind(hits[drawn], counts[drawn])
                found[name].append((interval.low <= truth <= interval.high, interval.high - interval.low))
        for name, results in found.items():
            held, width = np.mean(results, axis=0)
            print(f"{size:5d} sessions, {name:30s} holds it {held:.3f}, width {width:.4f}")


def main() -> None:
    """Parse the options and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("train", type=Path, help="event file to learn transitions from")
    parser.add_argument("test", type=Path, help="event file whose ranks are drawn from")
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--trials", type=int, default=600)
    options = parser.parse_args()
    for wave in (64, 8):
        cost(options.events, wave)
    coverage(options.train, options.test, options.trials)


if __name__ == "__main__":
    main()
