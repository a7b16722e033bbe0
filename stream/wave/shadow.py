"""A version in the shadow: it steps on the events of a share of sessions, and its lists are not
published.

Its hidden states and lists are kept in memory alone, for a bounded number of sessions, the last
stepped. A missing one (after a restart, or pushed out) is rebuilt from the recent items in the
champion's state, as after a hot swap. It steps after the champion's wave is handed over, so that no
list waits for it, and the events of several waves together, since a few cost nearly as much as
many. It pauses while the worker sheds load. Champion and shadow are scored on the same events:
those whose session was shown a list of the champion's own step, and that neither version has
learned from. Nothing published or stored depends on it.
"""

from __future__ import annotations

import threading
import zlib
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from model.errors import NextclickError
from model.evaluation.confidence_sequence import PairedDifference, SessionTally
from model.registry.version_files import described
from stream.sessions.session_state import NO_VERSION, SessionState
from stream.wave.serving_model import ServingModel
from stream.wave.session_event import SessionEvent
from stream.wave.step import rank_in, rebuild, step

CHALLENGER, FORMER = "challenger", "former"
SESSIONS = 20_000
BATCH_EVENTS = 64  # stepped together
MOST_WAITING_EVENTS = 512  # more, and a step thread waits for the one that steps the shadow


@dataclass(slots=True)
class ShadowState:
    """A session after its event at `offset`: the shadow's hidden state and list, and its tallies."""

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
    states: OrderedDict[str, ShadowState] = field(default_factory=OrderedDict)

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
    """An event with the shadow's state beside it, and its item's rank in the champion's list.

    `last_offset` is the offset of the session's event before, None without one. `rank` is 0 when the
    item is not in the list, None when the champion has no list to compare with, or either version has
    learned from the event.
    """

    trial: ShadowTrial
    session_event: SessionEvent
    last_offset: int | None
    rank: int | None


class Shadow:
    """Holds the trial under way, if any; called by all step threads."""

    def __init__(self, sessions: int = SESSIONS) -> None:
        self.trial: ShadowTrial | None = None
        # The id of the events topic, "" until it is known.
        self.topic_id = ""
        self._sessions = sessions
        self._waiting: list[ShadowedEvent] = []
        self._failure: NextclickError | None = None
        self._lock = threading.Lock()
        self._stepping = threading.Lock()

    def choose(
        self, events: Sequence[SessionEvent], serving: ServingModel, sheds_load: bool
    ) -> list[ShadowedEvent]:
        """The wave's events of shadowed sessions, with states as before the champion's step."""
        trial = self.trial
        if trial is None or sheds_load or serving.version != trial.champion:
            return []
        limit = trial.share * 2**32
        # By the highest bits of the hash, which are independent of the step thread.
        return [
            _shadowed(e, trial, serving, self.topic_id)
            for e in events
            if zlib.crc32(e.event.session_id.encode()) < limit
        ]

    def enqueue(self, shadowed: list[ShadowedEvent]) -> None:
        """Queue a wave's shadowed events; once enough are queued, step them, unless another thread does."""
        if not shadowed:
            return
        with self._lock:
            self._waiting += shadowed
            waiting = len(self._waiting)
        if waiting >= BATCH_EVENTS and self._stepping.acquire(blocking=waiting >= MOST_WAITING_EVENTS):
            try:
                self._step_waiting()
            finally:
                self._stepping.release()

    def step_waiting(self) -> None:
        """Score and step all queued events, however few.

        Raises NextclickError, once, when a step has failed, here or in a step thread: its trial has ended.
        """
        with self._stepping:
            self._step_waiting()
            failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _step_waiting(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        trial = self.trial
        if trial is None:
            return
        rounds: list[list[ShadowedEvent]] = []
        seen: Counter[str] = Counter()
        for shadowed in waiting:
            if shadowed.trial is not trial:
                continue
            session_id = shadowed.session_event.event.session_id
            place = seen[session_id]
            seen[session_id] += 1
            if place == len(rounds):
                rounds.append([])
            rounds[place].append(shadowed)
        try:
            for events in rounds:
                self._step_round(trial, events)
        except Exception as error:  # noqa: BLE001 - a version that nobody is served by ends no worker
            self._failure = NextclickError(
                f"version {trial.serving.version} failed in the shadow: {described(error)}",
                "Its trial has ended; the champion serves on.",
                "Train the version again, or announce another.",
            )
            if self.trial is trial:
                self.trial = None

    def _step_round(self, trial: ShadowTrial, shadowed: list[ShadowedEvent]) -> None:
        """Rebuild, score the shadow's last lists, and step: at most one event of each session."""
        events = [s.session_event for s in shadowed]
        before = [_restore(s, trial) for s in shadowed]
        rebuild(events, trial.serving)
        ranks = [_rank(event, trial.serving) for event in events]
        step(events, trial.serving)
        with self._lock:
            for s, restored, rank in zip(shadowed, before, ranks, strict=True):
                recall, mrr = (
                    (restored.recall, restored.mrr) if restored else (SessionTally(), SessionTally())
                )
                if s.rank is not None and rank is not None:
                    trial.recall.add(recall, s.rank > 0, rank > 0)
                    trial.mrr.add(mrr, 1 / s.rank if s.rank else 0.0, 1 / rank if rank else 0.0)
                session_id, state = s.session_event.event.session_id, s.session_event.state
                trial.states[session_id] = ShadowState(
                    s.session_event.arrival.offset, state.hidden, state.list_items, recall, mrr
                )
                trial.states.move_to_end(session_id)
            while len(trial.states) > self._sessions:
                trial.states.popitem(last=False)

    def forget(self, session_id: str) -> None:
        """Keep nothing of a session; what waits to be stepped has a state of the session that it was."""
        with self._lock:
            self._waiting = [s for s in self._waiting if s.session_event.event.session_id != session_id]
            if self.trial is not None:
                self.trial.states.pop(session_id, None)

    def report(self) -> dict[str, Any] | None:
        """The report of the trial under way, None without one."""
        trial = self.trial
        if trial is None:
            return None
        with self._lock:
            return trial.report()


def _shadowed(
    session_event: SessionEvent, trial: ShadowTrial, champion: ServingModel, topic_id: str
) -> ShadowedEvent:
    """The event with a state of the shadow's own: the champion's history, without its hidden state."""
    state = session_event.state
    own = SessionState(
        NO_VERSION,
        state.last_event_time_ms,
        state.position,
        # Copied: the champion's lists grow before the shadow steps.
        list(state.recent_items),
        [],
        {name: list(values) for name, values in state.recent_columns.items()},
        b"",
        [],
        b"",
        choices=state.choices,
        user_id=state.user_id,
    )
    item_id = session_event.event.item_id
    item = trial.serving.vocabulary.index.get(item_id, -1)
    rank = None
    arrival, time_ms = session_event.arrival, session_event.event.event_time_ms
    is_learned = any(
        version.learned.has(arrival.partition, arrival.offset, time_ms, topic_id)
        for version in (champion, trial.serving)
    )
    if not is_learned and state.list_items and not state.unlisted and state.model_version == trial.champion:
        rank = rank_in(state.list_items, item_id)
    last_offset = state.recent_offsets[-1] if state.recent_offsets else None
    return ShadowedEvent(
        trial,
        SessionEvent(session_event.arrival, session_event.event, own, None, item, True),
        last_offset,
        rank,
    )


def _restore(shadowed: ShadowedEvent, trial: ShadowTrial) -> ShadowState | None:
    """Put the session's shadow state into the event's state; None where it must be rebuilt.

    A state is of use only when it is of this very session and of its last event, which the offset says.
    """
    restored = trial.states.get(shadowed.session_event.event.session_id)
    if restored is None or restored.offset != shadowed.last_offset:
        return None
    state = shadowed.session_event.state
    state.model_version, state.hidden = trial.serving.version, restored.hidden
    state.list_items = restored.items
    return restored


def _rank(session_event: SessionEvent, serving: ServingModel) -> int | None:
    """The item's rank in the shadow's last list, 0 when it is not listed, None before the first event."""
    state = session_event.state
    if not state.position:
        return None
    items = state.list_items or serving.popular_list(state.recent_items, serving.hidden_from(state))[0]
    return rank_in(items, session_event.event.item_id)
