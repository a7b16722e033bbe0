"""Rebuilds the histories of a partition's sessions from events, without the model.

Applies events in offset order at decode speed and keeps the sessions in memory until they
are written. Hidden states and lists are left out: they are rebuilt from the histories when a
session returns.
"""

from __future__ import annotations

from model.data.session_rule import SessionRule
from stream.events import Event
from stream.sessions.partition import OpenPartition
from stream.sessions.session_state import NO_VERSION, SessionState, continued

SESSIONS_PER_WRITE = 250_000


class HistoryReplay:
    """The sessions of `partition` as its events, read again, leave them."""

    def __init__(
        self, partition: OpenPartition, rule: SessionRule, columns: tuple[str, ...], recent_items: int
    ) -> None:
        self._partition = partition
        self._rule = rule
        self._columns = columns
        self._recent_items = recent_items
        self._watermark = partition.watermark
        self._states: dict[str, SessionState | None] = {}
        # Oldest kept offset in the store of each session in `_states`, None for a new one.
        self._oldest_stored: dict[str, int | None] = {}

    def add(self, events: list[tuple[int, Event]], position: int) -> None:
        """Apply events with their offsets; afterwards every record below `position` is applied.

        Events that the store has already only advance the watermark.
        """
        self._load({event.session_id for _, event in events} - self._states.keys())
        states, partition = self._states, self._partition
        watermark = self._watermark
        for offset, event in events:
            if not partition.is_duplicate(offset):
                partition.ensure_bucket(offset, watermark)
                state = states[event.session_id]
                states[event.session_id] = self._extended(state, event, offset, watermark.ms)
            watermark = watermark.after(event.session_id, event.event_time_ms)
        self._watermark = watermark
        if len(states) >= SESSIONS_PER_WRITE:
            self.write(position)

    def _load(self, session_ids: set[str]) -> None:
        ids = list(session_ids)
        loaded = self._partition.load(ids) if self._partition.sessions else [None] * len(ids)
        for session_id, state in zip(ids, loaded, strict=True):
            self._states[session_id] = state
            self._oldest_stored[session_id] = None if state is None else state.oldest_offset

    def _extended(
        self, state: SessionState | None, event: Event, offset: int, watermark_ms: int
    ) -> SessionState | None:
        """A session's history after one more event, None when the event ends the session."""
        state = continued(state, event, watermark_ms, self._rule)
        if state is None:
            return None
        if state.hidden or state.list_items:
            state.model_version, state.hidden = NO_VERSION, b""
            state.list_items, state.list_scores, state.source_lists = [], b"", b""
        state.remember(event, offset, self._columns, self._recent_items)
        return state

    def write(self, position: int) -> None:
        """Write what was applied, up to `position`."""
        partition = self._partition
        for session_id, state in self._states.items():
            oldest = self._oldest_stored[session_id]
            if state is not None:
                partition.put(0, session_id, state, oldest)
            elif oldest is not None:
                partition.delete(0, session_id, oldest)
        partition.pending.advance(position, self._watermark)
        partition.write(*partition.seal(0, []))
        partition.drop_written(0)
        self._states.clear()
        self._oldest_stored.clear()
