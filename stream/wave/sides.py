"""The sides of an experiment in a wave: whose events they are, and lists that both versions make.

A session that is split to the challenger has the challenger's state and no other, as after a hot swap.
Where lists are interleaved the session's state is the champion's, as without an experiment, and the
challenger's hidden state and own list lie packed in it (`SessionState.challenger`): a crash loses neither,
so the same event gives the same list again. Where the challenger has not stepped every event (the experiment
began later, or lists were left out to catch up) its state is rebuilt from the recent items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from model.config import LIST_LENGTH
from stream.events import DISMISS
from stream.experiments.experiment import CHALLENGER, INTERLEAVED
from stream.experiments.team_draft import OF_NONE, coins_of, team_draft
from stream.sessions.session_state import NO_VERSION, SessionState, pack_state, unpack_state
from stream.wave.serving_model import InService, ServingModel
from stream.wave.session_event import SessionEvent
from stream.wave.stepped_wave import RecommendedList


@dataclass(frozen=True)
class Part:
    """The events of a wave that one version serves, at most one of each session."""

    serving: ServingModel
    events: Sequence[SessionEvent]


def parts_of(events: list[SessionEvent], serving: InService) -> list[Part]:
    """The wave's events by the version that serves them, the champion's first."""
    if serving.challenger is None:
        return [Part(serving.champion, events)]
    challenged = [event for event in events if event.side == CHALLENGER]
    others = [event for event in events if event.side != CHALLENGER]
    return [Part(serving.champion, others), Part(serving.challenger, challenged)]


class ChallengersOwn:
    """The challenger's own states beside those of a wave's interleaved sessions."""

    def __init__(self, events: Sequence[SessionEvent], serving: InService) -> None:
        self._in_service = serving
        self._by_session: dict[str, SessionEvent] = {}
        challenger = serving.challenger
        if challenger is None:
            return
        for event in events:
            if event.side == INTERLEAVED and event.needs_list:
                # A dismissal is no step, but its list is without what was dismissed.
                item_id = "" if event.event.kind == DISMISS else event.event.item_id
                item = challenger.vocabulary.index.get(item_id, -1)
                own = SessionEvent(event.arrival, event.event, _restored(event.state), None, item, True)
                self._by_session[event.event.session_id] = own

    @property
    def part(self) -> Part | None:
        """These events to rebuild and step; None without any."""
        challenger = self._in_service.challenger
        if challenger is None or not self._by_session:
            return None
        return Part(challenger, list(self._by_session.values()))

    def keep(self, event: SessionEvent) -> None:
        """Pack the challenger's state into the session's, whose history has the event already."""
        own = self._by_session.get(event.event.session_id)
        if own is None:
            return
        stepped = msgspec.structs.replace(
            own.state,
            position=event.state.position,
            recent_items=[],
            recent_columns={},
            source_lists=b"",
            choices=[],
        )
        event.state.challenger = pack_state(stepped)

    def with_side(self, event: SessionEvent, shown: RecommendedList) -> RecommendedList:
        """The list of an experiment's session with the headers of its side, interleaved where that is asked.

        Where the challenger did not step, to catch up, a list stays the champion's, of no side.
        """
        own, serving = self._by_session.get(event.event.session_id), self._in_service
        if serving.challenger is None or serving.experiment is None:
            return shown
        if event.side != INTERLEAVED:
            return replace(shown, side=event.side, headers=serving.experiment.headers(event.side))
        if own is None:
            return shown
        history, hidden = event.state.recent_items, serving.challenger.hidden_from(event.state)
        if own.state.list_items:
            listed = own.state.list_items, np.frombuffer(own.state.list_scores, np.float32)
            items, _ = serving.challenger.obeyed_list(*listed, history, hidden, is_new=own.item >= 0)
        else:
            items, _ = serving.challenger.popular_list(history, hidden)
        event_id = f"{shown.arrival.partition}-{shown.arrival.offset}"
        coins = coins_of(serving.experiment.experiment, event_id)
        # A pin puts its item into both lists: it is of no team, and takes neither's turn.
        pinned = serving.champion.listable.pinned
        first, second = ([item for item in own if item not in pinned] for own in (shown.items, items))
        drafted, owners = team_draft(first, second, LIST_LENGTH, coins)
        # The champion's: its places' scores, which fall along the list as those of the items do.
        scores = np.full(len(drafted), shown.scores[-1] if len(shown.scores) else 0, np.float32)
        scores[: len(shown.scores)] = shown.scores[: len(drafted)]
        # Caps and pins are of the list that is shown, and each of the two had obeyed them alone.
        final, scores = serving.champion.obeyed_list(drafted, scores, history, hidden, is_new=False)
        owner_of = dict(zip(drafted, owners, strict=True))
        placed = "".join(owner_of.get(item, OF_NONE) for item in final)
        headers = (*serving.experiment.headers(INTERLEAVED), ("owners", placed.encode()))
        return replace(shown, items=final, scores=scores, side=INTERLEAVED, headers=headers)


def _restored(state: SessionState) -> SessionState:
    """The challenger's state of a session before its event, without hidden state where it must be rebuilt."""
    kept = unpack_state(state.challenger) if state.challenger else None
    if kept is None or kept.position != state.position:
        kept = SessionState(NO_VERSION, state.last_event_time_ms, state.position, [], [], {}, b"", [], b"")
    kept.choices, kept.user_id = state.choices, state.user_id
    # Copied: the champion's lists grow.
    kept.recent_items = list(state.recent_items)
    kept.recent_columns = {name: list(values) for name, values in state.recent_columns.items()}
    return kept
