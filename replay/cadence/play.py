"""A log replayed at several cadences of retraining: what each is worth, on the same next events.

Every cadence begins with the same version, trained on the events before `from_ms`. At each
of its ticks the next one goes on from the last with the events since, one training, and is
taken up at once: a list is that of the version whose turn it is when its event comes. A
version knows no event from its own tick on. Targets of unknown items are misses.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from model.config import ModelConfig
from model.data.co_clicks import CoClicks
from model.data.sessions import SessionRule, Sessions
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.freshness.moving_tables import FreshnessConfig
from model.networks.network import GradientNetwork
from model.training.train import Progress, TrainingResult, train
from model.training.warm_start import WarmStart
from replay.cadence.live_baselines import HOUR_MS, LastHourPop, LiveTransitions, live_ranks
from replay.cadence.log_refresher import LoggedEvents, LogRefresher
from replay.cadence.ranks import ranks_in_lists

DAY_MS = 24 * HOUR_MS


@dataclass(frozen=True)
class Cadence:
    """A training every `every_ms`; None: only the first."""

    name: str
    every_ms: int | None


@dataclass(frozen=True)
class Version:
    """A trained network, the `known` items it was trained with, and the events it was trained on."""

    network: GradientNetwork
    start: WarmStart
    trained_ms: int
    known: int


@dataclass(frozen=True)
class Contender:
    """Ranks of all targets, N, by one way of making lists; what its versions cost.

    `cadence` is None for a baseline that learns live; `followed` says what is between trainings.
    """

    cadence: str | None
    followed: str
    ranks_N: npt.NDArray[np.int64]
    versions: int = 0
    training_events: int = 0
    training_seconds: float = 0.0

    @property
    def name(self) -> str:
        """As people read it."""
        return " + ".join(filter(None, (self.cadence, self.followed)))


class StudyLog:
    """A log as sessions of numbered items, and the targets that every system has to rank.

    Items are numbered by first appearance: what a version can know at a moment is a range
    from 0. Targets follow another event of a session that begins from `from_ms` on; of these
    sessions a `share`, by hash of their id, is asked for. Raises NextclickError when the log
    ends before, or begins after, `from_ms`, or when there is no target.
    """

    def __init__(self, frame: pd.DataFrame, rule: SessionRule, from_ms: int, share: float) -> None:
        self.vocabulary = Vocabulary.from_frame(frame)
        self.sessions = sessions = Sessions.from_frame(frame, self.vocabulary, rule)
        self.from_ms = from_ms
        self.end_ms = int(sessions.times_ms.max()) + 1
        begins_ms = sessions.times_ms[sessions.offsets[:-1]]
        order = np.argsort(sessions.times_ms, kind="stable")
        items, times_ms = sessions.items[order].astype(np.int64), sessions.times_ms[order]
        self.events = LoggedEvents(items, times_ms, CoClicks.of(sessions))
        first = np.full(len(self.vocabulary), self.end_ms)
        np.minimum.at(first, items, times_ms)
        self._first_ms_V = first
        is_asked_S = (begins_ms >= from_ms) & (_hash(sessions.session_ids) < share)
        is_input = np.repeat(is_asked_S, sessions.lengths)
        is_input[sessions.offsets[1:] - 1] = False
        self.inputs_N = np.flatnonzero(is_input)
        self.session_N = np.searchsorted(sessions.offsets, self.inputs_N, side="right") - 1
        self.times_ms_N = sessions.times_ms[self.inputs_N]
        if not len(self.inputs_N) or not self.window(0, from_ms).pairs:
            first_text, from_text, last_text = (
                str(pd.Timestamp(ms, unit="ms", tz="UTC"))
                for ms in (int(times_ms[0]), from_ms, self.end_ms - 1)
            )
            raise NextclickError(
                f"of the log from {first_text} to {last_text} there is nothing to "
                f"{'evaluate' if not len(self.inputs_N) else 'learn from before'} from {from_text} on",
                "A first version needs sessions of two events before that time, and every list one after it.",
                "Name another --from, a larger --share, or a longer log.",
            )

    def known_at(self, now_ms: int) -> int:
        """How many items came before `now_ms`."""
        return int(np.searchsorted(self._first_ms_V, now_ms))

    def window(self, begin_ms: int, end_ms: int) -> Sessions:
        """The events from `begin_ms` on and before `end_ms`, by session, those of the first event first."""
        sessions = self.sessions
        kept = (sessions.times_ms >= begin_ms) & (sessions.times_ms < end_ms)
        of = np.repeat(np.arange(len(sessions)), sessions.lengths)[kept]
        lengths = np.bincount(of, minlength=len(sessions))
        chosen = np.flatnonzero(lengths)
        offsets = np.r_[0, np.cumsum(lengths[chosen])].astype(np.int64)
        inside = Sessions(
            offsets, sessions.items[kept], sessions.times_ms[kept], sessions.session_ids[chosen]
        )
        return inside.select(np.argsort(inside.times_ms[offsets[:-1]], kind="stable"))


def _hash(ids: npt.NDArray[np.object_]) -> npt.NDArray[np.float64]:
    return np.array([zlib.crc32(str(i).encode()) / 2**32 for i in ids])


def baselines(
    log: StudyLog,
    *,
    exclude_session_items: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Contender]:
    """POP of the last hour and item-to-item transitions, learning from every event before the next."""
    items = len(log.vocabulary)
    is_target = np.zeros(len(log.sessions.items), bool)
    is_target[log.inputs_N + 1] = True
    models = {"last-hour POP": LastHourPop(items), "transitions": LiveTransitions(items)}
    ranks = live_ranks(models, log.sessions, is_target, exclude_session_items, progress)
    return [Contender(None, name, ranks_N) for name, ranks_N in ranks.items()]


class Trainer:
    """Trains the versions of a log: the first on all events before `from_ms`, each other on those since."""

    def __init__(
        self, log: StudyLog, config: ModelConfig, progress: Callable[[Progress], None] = lambda p: None
    ) -> None:
        self._log, self._config = log, config
        self.events, self.seconds = 0, 0.0
        self.first = self._train(log.window(0, log.from_ms), None, log.from_ms, progress)
        self.first_cost = (self.events, self.seconds)

    def next(self, before: Version, tick_ms: int) -> Version | None:
        """The version of `tick_ms`, which goes on from `before`; None when there is nothing to learn."""
        window = self._log.window(before.trained_ms, tick_ms)
        return self._train(window, before.start, tick_ms) if window.pairs else None

    def _train(
        self,
        window: Sessions,
        start: WarmStart | None,
        tick_ms: int,
        progress: Callable[[Progress], None] = lambda p: None,
    ) -> Version:
        known = self._log.known_at(tick_ms)
        counts = np.bincount(window.items, minlength=known)
        vocabulary = Vocabulary(self._log.vocabulary.decode(np.arange(known)), counts)
        result = train(window, vocabulary, self._config, start=start, progress=progress)
        self.events, self.seconds = self.events + result.events, self.seconds + result.seconds
        return _version(result, vocabulary, tick_ms)


def _version(result: TrainingResult, vocabulary: Vocabulary, trained_ms: int) -> Version:
    if not isinstance(result.network, GradientNetwork):
        raise NextclickError(
            f"a {type(result.network).__name__} counts, it is not trained further",
            "A cadence goes on from the version before.",
            "Name a network that learns by gradients, such as gru4rec.",
        )
    start = WarmStart(result.network.state_dict(), result.optimizer_state, vocabulary)
    return Version(result.network, start, trained_ms, len(vocabulary))


def play(
    log: StudyLog,
    trainer: Trainer,
    config: ModelConfig,
    cadence: Cadence,
    betweens: Sequence[FreshnessConfig],
    follow_every_ms: int = 60_000,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Contender]:
    """Every target ranked by the version whose turn it is, once for each way of following in between.

    What is followed is taken up every `follow_every_ms`, counted from each training.
    """
    version, versions = trainer.first, 1
    events, seconds = trainer.first_cost
    ranks = [np.zeros(len(log.inputs_N), np.int64) for _ in betweens]
    before_events, before_seconds = trainer.events, trainer.seconds
    step_ms = cadence.every_ms or DAY_MS
    for begin_ms in range(log.from_ms, log.end_ms, step_ms):
        if cadence.every_ms is not None and begin_ms > log.from_ms:
            newer = trainer.next(version, begin_ms)
            version, versions = newer or version, versions + (newer is not None)
        end_ms = begin_ms + step_ms
        now = np.flatnonzero((log.times_ms_N >= begin_ms) & (log.times_ms_N < end_ms))
        for between, ranks_N in zip(betweens, ranks, strict=True):
            if not len(now):
                continue
            follower = LogRefresher(
                version.network, version.known, log.known_at(end_ms), log.events, version.trained_ms, between
            )
            ranks_N[now] = ranks_in_lists(
                version.network,
                follower,
                version.start.vocabulary.counts,
                log.sessions,
                log.inputs_N[now],
                begin_ms=begin_ms,
                every_ms=None if between.is_frozen else follow_every_ms,
                exclude_session_items=config.exclude_session_items,
            )
        progress(min(end_ms, log.end_ms) - log.from_ms, log.end_ms - log.from_ms)
    events += trainer.events - before_events
    seconds += trainer.seconds - before_seconds
    return [
        Contender(cadence.name, _followed(between), ranks_N, versions, events, seconds)
        for between, ranks_N in zip(betweens, ranks, strict=True)
    ]


def _followed(between: FreshnessConfig) -> str:
    new_items = f"new items after {between.after_sessions}" if between.new_items else ""
    return " + ".join(filter(None, ("live popularity" if between.popularity else "", new_items)))
