"""A version in the shadow: it steps on the same events for a share of sessions, and nobody sees its lists.

Its hidden states and lists are kept in memory alone, for a bounded number of sessions, those stepped
last. What is not there (after a restart, or pushed out) is rebuilt from the recent items in the
champion's state, as after a hot swap. It steps after the champion's wave has been handed over, so
that no list waits for it, several waves' events together, since few cost nearly what many do, and
stands aside while the worker is behind. Both are scored on the
same events: those whose session was shown a list of the champion's own step. Nothing that is
published or stored depends on it.
"""

from __future__ import annotations

import threading
import zlib
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from model.evaluation.confidence_sequence import PairedDifference, SessionTally
from stream.sessions.session_state import NO_VERSION, SessionState
from stream.wave import step as model_part
from stream.wave.serving_model import ServingModel
from stream.wave.step import SessionEvent

CHALLENGER, FORMER = "challenger", "former"
SESSIONS = 20_000
# Events that are stepped together, and those that may wait while others are stepped.
TOGETHER, MOST_WAITING = 64, 512


@dataclass(slots=True)
class ShadowState:
    """A session after its event at `offset`: hidden state and list of the shadow, and its scores."""

    offset: int
    hidden: bytes
    items: list[str]
    recall: SessionTally
    mrr: SessionTally


@dataclass
class ShadowTrial:
    """One version in the shadow of the version `champion`; `role`: a challenger, or the former champion."""

    serving: ServingModel
    champion: str
    share: float
    role: str
    recall: PairedDifference = field(default_factory=PairedDifference)
    mrr: PairedDifference = field(default_factory=PairedDifference)
    kept: OrderedDict[str, ShadowState] = field(default_factory=OrderedDict)

    def report(self) -> dict[str, Any]:
        """Both qualities on the same events; differences are the shadow's less the champion's."""
        recall, mrr = self.recall.interval(), self.mrr.interval()
        scored = self.recall.events > 0
        return {
            "version": self.serving.version,
            "role": self.role,
            "share": self.share,
            "sessions": self.recall.sessions,
            "events": self.recall.events,
            "recall_at_20": dict(zip(("champion", "shadow"), self.recall.means, strict=True)),
            "mrr_at_20": dict(zip(("champion", "shadow"), self.mrr.means, strict=True)),
            "recall_difference": [recall.mean, recall.low, recall.high] if scored else None,
            "mrr_difference": [mrr.mean, mrr.low, mrr.high] if scored else None,
        }


@dataclass(slots=True)
class ShadowedEvent:
    """A shadowed visit, with the shadow's state in it, and the rank in the champion's list.

    `last_offset` is that of the session's event before, None without one. `rank` is 0 when the item
    is not in that list, None when there is none to be held against.
    """

    trial: ShadowTrial
    visit: SessionEvent
    last_offset: int | None
    rank: int | None


class Shadow:
    """The trial under way, if there is one; called by all step threads."""

    def __init__(self, sessions: int = SESSIONS) -> None:
        self.trial: ShadowTrial | None = None
        self._sessions = sessions
        self._waiting: list[ShadowedEvent] = []
        self._lock = threading.Lock()
        self._stepping = threading.Lock()

    def choose(
        self, visits: Sequence[SessionEvent], serving: ServingModel, behind: bool
    ) -> list[ShadowedEvent]:
        """The shadowed ones of a wave's visits, as they are before the champion's step."""
        trial = self.trial
        if trial is None or behind or serving.version != trial.champion:
            return []
        limit = trial.share * 2**32
        # By the highest bits, which say nothing of the step thread.
        return [_watch(v, trial) for v in visits if zlib.crc32(v.event.session_id.encode()) < limit]

    def step(self, watched: list[ShadowedEvent]) -> None:
        """Score and step the shadowed ones of a wave, when enough wait for it and nobody is about it."""
        if not watched:
            return
        with self._lock:
            self._waiting += watched
            waiting = len(self._waiting)
        if waiting >= TOGETHER and self._stepping.acquire(blocking=waiting >= MOST_WAITING):
            try:
                self._step_waiting()
            finally:
                self._stepping.release()

    def step_waiting(self) -> None:
        """Score and step all that wait, however few."""
        with self._stepping:
            self._step_waiting()

    def _step_waiting(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        trial = self.trial
        if trial is None:
            return
        rounds: list[list[ShadowedEvent]] = []
        seen: Counter[str] = Counter()
        for w in waiting:
            if w.trial is not trial:
                continue
            place = seen[w.visit.event.session_id]
            seen[w.visit.event.session_id] += 1
            if place == len(rounds):
                rounds.append([])
            rounds[place].append(w)
        for watched in rounds:
            self._step_round(trial, watched)

    def _step_round(self, trial: ShadowTrial, watched: list[ShadowedEvent]) -> None:
        """Score the shadow's last lists, and take its own step of events of as many sessions."""
        visits = [w.visit for w in watched]
        before = [_continue(w, trial) for w in watched]
        model_part.rebuild(visits, trial.serving)
        ranks = [_rank(visit, trial.serving) for visit in visits]
        model_part.step(visits, trial.serving)
        with self._lock:
            for w, kept, rank in zip(watched, before, ranks, strict=True):
                recall, mrr = (kept.recall, kept.mrr) if kept else (SessionTally(), SessionTally())
                if w.rank is not None and rank is not None:
                    trial.recall.add(recall, w.rank > 0, rank > 0)
                    trial.mrr.add(mrr, 1 / w.rank if w.rank else 0.0, 1 / rank if rank else 0.0)
                session_id, state = w.visit.event.session_id, w.visit.state
                trial.kept[session_id] = ShadowState(
                    w.visit.arrival.offset, state.hidden, state.list_items, recall, mrr
                )
                trial.kept.move_to_end(session_id)
            while len(trial.kept) > self._sessions:
                trial.kept.popitem(last=False)

    def report(self) -> dict[str, Any] | None:
        """What the trial under way has found, None without one."""
        trial = self.trial
        if trial is None:
            return None
        with self._lock:
            return trial.report()


def _watch(visit: SessionEvent, trial: ShadowTrial) -> ShadowedEvent:
    state = visit.state
    own = SessionState(
        NO_VERSION,
        state.last_event_time_ms,
        state.position,
        # The champion's go on before the shadow steps.
        list(state.recent_items),
        [],
        {name: list(values) for name, values in state.recent_columns.items()},
        b"",
        [],
        b"",
    )
    item_id = visit.event.item_id
    item = trial.serving.vocabulary.index.get(item_id, -1)
    rank = None
    if state.list_items and not state.unlisted and state.model_version == trial.champion:
        rank = model_part.rank_in(state.list_items, item_id)
    last_offset = state.recent_offsets[-1] if state.recent_offsets else None
    return ShadowedEvent(
        trial, SessionEvent(visit.arrival, visit.event, own, None, item, True), last_offset, rank
    )


def _continue(watched: ShadowedEvent, trial: ShadowTrial) -> ShadowState | None:
    """Put what was kept of the session into its state; None where it is to be rebuilt.

    What another session of that name has left is not its own, nor what events have passed by.
    """
    kept = trial.kept.get(watched.visit.event.session_id)
    if kept is None or kept.offset != watched.last_offset:
        return None
    state = watched.visit.state
    state.model_version, state.hidden, state.list_items = trial.serving.version, kept.hidden, kept.items
    return kept


def _rank(visit: SessionEvent, serving: ServingModel) -> int | None:
    """The item's rank in the shadow's last list, 0 when it is not listed, None before the first event."""
    state = visit.state
    if not state.position:
        return None
    items = state.list_items or serving.popular_list(state.recent_items)[0]
    return model_part.rank_in(items, visit.event.item_id)
