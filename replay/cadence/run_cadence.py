"""A log replayed at several cadences of training: what each is worth, on the same next events.

1. Every cadence begins with the same version, trained on the events before `from_ms`.
2. At each tick the next version goes on from the last one with the events since, in one training.
3. It serves from its tick on: an event is ranked in a list of the version that serves at its time.

A version knows no event from its own tick on. Targets of unknown items are misses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.freshness.log_refresher import LogRefresher
from model.freshness.log_walk import RefreshTimes
from model.freshness.moving_tables import FreshnessConfig
from replay.cadence.live_baselines import HOUR_MS, LastHourPop, LiveTransitions, live_ranks
from replay.cadence.ranks import ranks_in_lists
from replay.cadence.study_log import StudyLog
from replay.cadence.trainer import Trainer

DAY_MS = 24 * HOUR_MS


@dataclass(frozen=True)
class Cadence:
    """A training every `every_ms`; None: only the first."""

    name: str
    every_ms: int | None


@dataclass(frozen=True)
class Contender:
    """Ranks of all targets, N, by one way of making lists, and what its versions cost.

    `cadence` is None for a baseline that learns from every event. `variant` is the baseline's name,
    or what keeps versions fresh between trainings ("" for nothing).

    >>> Contender("6h", "live popularity", np.zeros(0, np.int64)).name
    '6h + live popularity'
    """

    cadence: str | None
    variant: str
    ranks_N: npt.NDArray[np.int64]
    versions: int = 0
    training_events: int = 0
    training_seconds: float = 0.0

    @property
    def name(self) -> str:
        """The contender's row in tables."""
        return " + ".join(filter(None, (self.cadence, self.variant)))


def rank_baselines(
    log: StudyLog,
    *,
    exclude_session_items: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Contender]:
    """Rank by POP of the last hour and by transitions; both learn from every event before the next."""
    items = len(log.vocabulary)
    is_target = np.zeros(len(log.sessions.items), bool)
    is_target[log.inputs_N + 1] = True
    models = {"last-hour POP": LastHourPop(), "transitions": LiveTransitions(items)}
    ranks = live_ranks(models, log.sessions, is_target, exclude_session_items, progress)
    return [Contender(None, name, ranks_N) for name, ranks_N in ranks.items()]


def run_cadence(
    trainer: Trainer,
    cadence: Cadence,
    freshness: Sequence[FreshnessConfig],
    refresh_every_ms: int = 60_000,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Contender]:
    """Rank every target by the version of its time, once for each configuration of `freshness`.

    Tables are refreshed every `refresh_every_ms`, counted from each training.
    """
    log, version, versions = trainer.log, trainer.first, 1
    events, seconds = trainer.first_cost
    ranks = [np.zeros(len(log.inputs_N), np.int64) for _ in freshness]
    before_events, before_seconds = trainer.events, trainer.seconds
    step_ms = cadence.every_ms or DAY_MS
    for begin_ms in range(log.from_ms, log.end_ms, step_ms):
        if cadence.every_ms is not None and begin_ms > log.from_ms:
            newer = trainer.next(version, begin_ms)
            version, versions = newer or version, versions + (newer is not None)
        end_ms = begin_ms + step_ms
        now = np.flatnonzero((log.times_ms_N >= begin_ms) & (log.times_ms_N < end_ms))
        for config, ranks_N in zip(freshness, ranks, strict=True):
            if not len(now):
                continue
            tables = LogRefresher(
                version.fused or version.network,
                version.known,
                log.known_at(end_ms),
                log.events,
                version.trained_ms,
                config,
            )
            ranks_N[now] = ranks_in_lists(
                version,
                tables,
                log.sessions,
                log.inputs_N[now],
                RefreshTimes(begin_ms, None if config.is_frozen else refresh_every_ms),
                exclude_session_items=trainer.config.exclude_session_items,
            )
        progress(min(end_ms, log.end_ms) - log.from_ms, log.end_ms - log.from_ms)
    events += trainer.events - before_events
    seconds += trainer.seconds - before_seconds
    return [
        Contender(cadence.name, _described(config), ranks_N, versions, events, seconds)
        for config, ranks_N in zip(freshness, ranks, strict=True)
    ]


def _described(freshness: FreshnessConfig) -> str:
    new_items = f"new items after {freshness.after_sessions}" if freshness.new_items else ""
    return " + ".join(filter(None, ("live popularity" if freshness.popularity else "", new_items)))
