"""The model's part of a wave: 5. rebuild stale states, 7. take one incremental step.

Puts hidden states and lists into the session states. Knows neither partitions nor what is published.
Tested by tests/unit/stream/wave/test_processor.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stream.sessions.session_state import SessionState
from stream.wave.serving_model import ServingModel
from stream.wave.session_event import SessionEvent

Columns = dict[str, npt.NDArray[Any]]
NOTHING = np.zeros(0, np.int64)


def rank_in(items: list[str], item_id: str) -> int:
    """The item's rank in a list, from 1; 0 when it is not listed.

    >>> rank_in(["i7", "i3"], "i3"), rank_in(["i7", "i3"], "i5")
    (2, 0)
    """
    return items.index(item_id) + 1 if item_id in items else 0


def rebuild(events: Sequence[SessionEvent], serving: ServingModel) -> tuple[int, int]:
    """5. rebuild: re-run the recent items of states of another version, or recovered without one.

    Where an event needs a list that its state lacks (lost in recovery, or left out to catch up, while
    an unknown item gives none), the last recent item is stepped, which makes the list, and not re-run.
    Returns how many states were rebuilt, and how many of them have more events than are kept.
    """
    stale = [e for e in events if _is_stale(e, serving)]
    if not stale:
        return 0, 0
    # These lack a list only: their hidden states are exact, and are kept.
    exact = [(e.state, e.state.hidden) for e in stale if e.state.model_version == serving.version]
    inexact = 0
    histories: list[list[int]] = []
    for event in stale:
        state = event.state
        kept = len(state.recent_items)
        # A recovered session with a full history may have had more events than are kept.
        inexact += state.position > kept or (not state.hidden and kept >= serving.recent_items)
        known = serving.vocabulary.encode(state.recent_items)
        histories.append([int(i) for i in np.flatnonzero(known >= 0)])
    relist = [
        bool(history) and event.needs_list and (not event.state.list_items or event.item < 0)
        for event, history in zip(stale, histories, strict=True)
    ]
    rows = serving.stepper.rebuild(
        [
            columns_of(event.state, history[:-1] if again else history, serving)
            for event, history, again in zip(stale, histories, relist, strict=True)
        ]
    )
    for event, row, history in zip(stale, rows, histories, strict=True):
        state = event.state
        state.model_version = serving.version
        state.hidden = row.tobytes()
        if not history:
            state.list_items, state.list_scores, state.source_lists = [], b"", b""
        elif not event.needs_list:
            # The stored list came from the previous version, so it must not be repeated.
            state.unlisted = max(1, state.unlisted)
    again = [(e, h[-1]) for e, h, needed in zip(stale, histories, relist, strict=True) if needed]
    if again:
        columns = [columns_of(event.state, [last], serving) for event, last in again]
        merged = {name: np.concatenate([c[name] for c in columns]) for name in columns[0]}
        _step([event.state for event, _ in again], merged, serving, None)
    for kept_state, hidden in exact:
        kept_state.hidden = hidden
    return len(stale), inexact


def row_of(state: SessionState, serving: ServingModel) -> npt.NDArray[np.uint8]:
    """A session's packed hidden state by the version in service, rebuilt if stale; `state` is unchanged."""
    if state.hidden and state.model_version == serving.version:
        return np.frombuffer(state.hidden, np.uint8)
    known = np.flatnonzero(serving.vocabulary.encode(state.recent_items) >= 0).tolist()
    row: npt.NDArray[np.uint8] = serving.stepper.rebuild([columns_of(state, known, serving)])[0]
    return row


def _is_stale(event: SessionEvent, serving: ServingModel) -> bool:
    state = event.state
    if not state.position:
        return False
    return state.model_version != serving.version or bool(
        state.unlisted and event.item < 0 and event.needs_list
    )


def step(events: Sequence[SessionEvent], serving: ServingModel) -> None:
    """7. step: one incremental step for every event whose item the model knows.

    Events that need a list have all items scored and the top-20 selected.
    """
    listed = [e for e in events if e.item >= 0 and e.needs_list]
    if listed:
        states = [e.state for e in listed]
        _step(states, _inputs(listed, serving), serving, listed)
    unlisted = [e for e in events if e.item >= 0 and not e.needs_list]
    if unlisted:
        states = [e.state for e in unlisted]
        rows = serving.stepper.advance(_inputs(unlisted, serving), _pack(states, serving))
        for state, row in zip(states, rows, strict=True):
            state.model_version = serving.version
            state.hidden = row.tobytes()
            state.unlisted += 1


def _step(
    states: list[SessionState],
    columns: Columns,
    serving: ServingModel,
    current: Sequence[SessionEvent] | None,
) -> None:
    """Step `states`; set their hidden states and lists. `current` are events not in their histories yet."""
    exclude = _left_out(states, current, serving)
    ids_BN, scores_BN, rows, lists_BSk = serving.stepper.step_by_source(
        columns, _pack(states, serving), exclude, serving.listable.candidates
    )
    ids_Bk, scores_Bk = serving.listable.ordered(ids_BN, scores_BN)
    names = serving.vocabulary.item_ids[ids_Bk].tolist()
    full = bool((ids_Bk[:, -1] >= 0).all())
    for i, state in enumerate(states):
        items, scores = names[i], scores_Bk[i]
        if not full:
            listed = int((ids_Bk[i] >= 0).sum())
            items, scores = items[:listed], scores[:listed]
        state.model_version = serving.version
        state.hidden = rows[i].tobytes()
        state.list_items = items
        state.list_scores = scores.tobytes()
        state.source_lists = b"" if lists_BSk is None else lists_BSk[i].tobytes()
        state.unlisted = 0


def _pack(states: list[SessionState], serving: ServingModel) -> npt.NDArray[np.uint8]:
    """The hidden states as rows; initial ones for new sessions."""
    packed = [s.hidden for s in states]
    if not all(packed):
        packed = [row or serving.blank_row for row in packed]
    rows = np.frombuffer(b"".join(packed), np.uint8)
    return rows.reshape(len(states), serving.stepper.layout.row_bytes)


def _inputs(events: Sequence[SessionEvent], serving: ServingModel) -> Columns:
    columns: Columns = {"item": np.fromiter((e.item for e in events), np.int64, len(events))}
    for name in serving.columns:
        columns[name] = np.array([getattr(e.event, name) for e in events], dtype=object)
    return columns


def columns_of(state: SessionState, places: list[int], serving: ServingModel) -> Columns:
    """The recent events at `places`, as the network's input columns."""
    encoded = serving.vocabulary.encode([state.recent_items[i] for i in places])
    columns: Columns = {"item": np.asarray(encoded, np.int64)}
    for name in serving.columns:
        values = state.recent_columns.get(name, [])
        columns[name] = np.array([values[i] if i < len(values) else None for i in places], dtype=object)
    return columns


def _left_out(
    states: list[SessionState], current: Sequence[SessionEvent] | None, serving: ServingModel
) -> npt.NDArray[np.int64] | None:
    """What each session's list leaves out, (B, M) vocabulary indices, padded with -1; None for nothing.

    Its recent items where the version or a rule says so, and what it has bought or dismissed.
    """
    encode, kinds = serving.vocabulary.encode, serving.listable.hidden_kinds
    excludes = serving.excludes_session_items
    rows = [encode(state.recent_items) if excludes else NOTHING for state in states]
    for i, state in enumerate(states):
        if hidden := serving.hidden_from(state):
            rows[i] = np.append(rows[i], encode(hidden))
    added = [excludes or event.event.kind in kinds for event in current or ()]
    width = max(len(row) for row in rows)
    if not width and not any(added):
        return None
    exclude_BM = np.full((len(states), width + 1), -1, np.int64)
    for i, row in enumerate(rows):
        exclude_BM[i, : len(row)] = row
        if current is not None and added[i]:
            exclude_BM[i, -1] = current[i].item
    return exclude_BM
