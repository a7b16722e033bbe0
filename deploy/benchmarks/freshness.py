"""What retraining is worth where items age in hours: Recall@20 and MRR@20 of a log, live.

The log is played in event time. POP of the last hour and item-to-item transitions learn
from every event before the next is predicted; transitions that were seen equally often
rank by how lately. GRU4Rec is trained anew every `--every-h` hours, going on from its
last version with the events since, one pass, and then frozen: just what a worker serves
that takes up a new version by hot swap. Every model predicts the same next events, those
of items it cannot know yet included: they are misses. A session's own items are left out
of every model's lists.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import zlib
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[2]))

from model.config import ModelConfig
from model.evaluate import rank_targets
from model.metrics import RankingMetrics
from model.sessions import SessionRule, Sessions
from model.train import train
from model.vocabulary import Vocabulary
from model.warm_start import WarmStart
from replay import datasets

HOUR_MS = 3_600_000
Mask = npt.NDArray[np.bool_]


class LastHourPop:
    """Counts of the last hour, as of each event."""

    def __init__(self, items: int) -> None:
        self._counts = np.zeros(items, np.int64)
        self._window: deque[tuple[int, int]] = deque()

    def rank(self, last: int, target: int, time_ms: int, seen: set[int]) -> int:
        """Pessimistic rank of `target` among the items that its session has not `seen`."""
        while self._window and self._window[0][0] < time_ms - HOUR_MS:
            self._counts[self._window.popleft()[1]] -= 1
        count = self._counts[target]
        if not count or target in seen:
            return 0
        return int((self._counts >= count).sum()) - sum(int(self._counts[item] >= count) for item in seen)

    def learn(self, last: int | None, item: int, time_ms: int) -> None:
        """Count the event."""
        self._counts[item] += 1
        self._window.append((time_ms, item))


class LiveTransitions:
    """Counts of what followed each item, as of each event."""

    def __init__(self, items: int) -> None:
        self._next: list[dict[int, tuple[int, int]]] = [{} for _ in range(items)]

    def rank(self, last: int, target: int, time_ms: int, seen: set[int]) -> int:
        """Rank of `target` by count, then by recency, among the items that its session has not `seen`."""
        following = self._next[last]
        score = following.get(target)
        if not score or target in seen:
            return 0
        return sum(other >= score for item, other in following.items() if item not in seen)

    def learn(self, last: int | None, item: int, time_ms: int) -> None:
        """Count the pair."""
        if last is not None:
            count, _ = self._next[last].get(item, (0, 0))
            self._next[last][item] = (count + 1, time_ms)


def live_baselines(frame: pd.DataFrame, from_ms: int, evaluated: Mask) -> dict[str, RankingMetrics]:
    """Predict, then learn, event by event; `evaluated` marks the events of the sessions that count."""
    items, ids = pd.factorize(frame["item_id"])
    sessions = pd.factorize(frame["session_id"])[0]
    models: dict[str, LastHourPop | LiveTransitions] = {
        "last-hour POP": LastHourPop(len(ids)),
        "transitions": LiveTransitions(len(ids)),
    }
    metrics = {name: RankingMetrics(20) for name in models}
    last: dict[int, int] = {}
    seen: dict[int, set[int]] = {}
    counted: dict[int, bool] = {}
    times = frame["event_time_ms"].to_numpy()
    for item, session, time_ms, counts in zip(items, sessions, times, evaluated, strict=True):
        before = last.get(session)
        if before is None:
            counted[session] = bool(counts and time_ms >= from_ms)
        for name, model in models.items():
            if before is not None and counted[session]:
                metrics[name].update(np.array([model.rank(before, item, time_ms, seen[session])]))
            model.learn(before, item, time_ms)
        last[session] = item
        seen.setdefault(session, set()).add(item)
    return metrics


def retrained(
    frame: pd.DataFrame, from_ms: int, evaluated: Mask, config: ModelConfig, every_h: float
) -> tuple[RankingMetrics, int, int]:
    """GRU4Rec, trained at every tick on the events since the last: quality, versions, training events."""
    times = frame["event_time_ms"].to_numpy()
    begins_ms = frame.groupby("session_id")["event_time_ms"].transform("min").to_numpy()
    every_ms = int(every_h * HOUR_MS)
    rule = SessionRule(config.session_gap_s)
    metrics, versions, trained = RankingMetrics(20), 0, 0
    start: WarmStart | None = None
    network = vocabulary = None
    known = pd.DataFrame(columns=["item_id"])
    # One tick falls on `from_ms`, so that all models are evaluated on the same sessions.
    first_ms = from_ms - (from_ms - int(times[0]) + every_ms - 1) // every_ms * every_ms
    for tick_ms in range(first_ms, int(times[-1]) + every_ms, every_ms):
        window = frame[(times >= tick_ms) & (times < tick_ms + every_ms)]
        if window.empty:
            continue
        if network is not None and vocabulary is not None and tick_ms >= from_ms:
            # Whole sessions, by the version that they began with.
            begun = (begins_ms >= tick_ms) & (begins_ms < tick_ms + every_ms)
            chosen = frame[begun & evaluated]
            if len(chosen):
                ranks = rank_targets(
                    network,
                    Sessions.from_frame(chosen, vocabulary, rule),
                    exclude_session_items=config.exclude_session_items,
                    popularity_V=vocabulary.counts,
                )
                metrics.update(ranks.ranks)
        known = pd.concat([known, window[["item_id"]]]).drop_duplicates("item_id", ignore_index=True)
        counts = window["item_id"].value_counts()
        ids = known["item_id"].tolist()
        vocabulary = Vocabulary(ids, counts.reindex(ids, fill_value=0).to_numpy())
        sessions = Sessions.from_frame(window, vocabulary, rule)
        if not sessions.pairs:
            continue
        result = train(sessions, vocabulary, config, start=start)
        network, versions, trained = result.network, versions + 1, trained + result.events
        start = WarmStart(network.state_dict(), result.optimizer_state, vocabulary)
    return metrics, versions, trained


def main() -> int:
    """Play the log once for the live baselines and once for each cadence; print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", help="event files")
    parser.add_argument("--from", dest="from_", required=True, help="evaluate from this UTC time on")
    parser.add_argument("--until", help="end the log before this UTC time")
    parser.add_argument("--share", type=float, default=1.0, help="share of sessions evaluated, by hash")
    parser.add_argument("--every-h", type=float, nargs="+", default=[1.0], help="cadences in hours")
    parser.add_argument("--set", nargs="*", default=[], help="settings of the model, name=value")
    parser.add_argument("--skip-baselines", action="store_true")
    arguments = parser.parse_args()
    frame = datasets.load(arguments.files)
    if arguments.until:
        until_ms = pd.Timestamp(arguments.until, tz="UTC").value // 10**6
        frame = frame[frame["event_time_ms"] < until_ms].reset_index(drop=True)
    from_ms = pd.Timestamp(arguments.from_, tz="UTC").value // 10**6
    ids = frame["session_id"].unique()
    hashes = pd.Series([zlib.crc32(i.encode()) / 2**32 for i in ids], index=ids)
    evaluated = (frame["session_id"].map(hashes) < arguments.share).to_numpy()
    values: dict[str, Any] = {
        "epochs": 1,
        "negatives": 512,
        "session_gap_s": None,
        "exclude_session_items": True,
        "prior_half_lives_s": (600.0, 3600.0, 21600.0),
    }
    for setting in arguments.set:
        name, _, text = setting.partition("=")
        values[name] = json.loads(text)
    config = ModelConfig(**values)
    print(f"{len(frame):,} events, evaluated from {arguments.from_}, {arguments.share:.0%} of sessions")
    if not arguments.skip_baselines:
        for name, metrics in live_baselines(frame, from_ms, evaluated).items():
            print(f"{name}: Recall@20 {metrics.recall:.4f} MRR@20 {metrics.mrr:.4f} of {metrics.count:,}")
    for every_h in arguments.every_h:
        started = time.perf_counter()
        metrics, versions, trained = retrained(frame, from_ms, evaluated, config, every_h)
        seconds = time.perf_counter() - started
        print(
            f"GRU4Rec every {every_h:g} h: Recall@20 {metrics.recall:.4f} MRR@20 {metrics.mrr:.4f} "
            f"of {metrics.count:,}, {versions} versions, {trained:,} training events, {seconds:.0f} s",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
