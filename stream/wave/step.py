"""A visit: one event beside its session's state, on its way through a wave; and the model's part.

Brings stale states up to the version in service, takes the one incremental step, and puts
hidden states and lists back. Knows neither partitions nor what is published.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stream.events import Event
from stream.sessions.session_state import SessionState
from stream.wave.serving_model import ServingModel
from stream.wave.waves import Arrival

Columns = dict[str, npt.NDArray[Any]]


@dataclass(slots=True)
class SessionEvent:
    """`item` is the event's vocabulary index, -1 unknown; `lists`: it is to have a list of its own step.

    `oldest_before` is the oldest kept offset that the stored state had, None without one.
    """

    arrival: Arrival
    event: Event
    state: SessionState
    oldest_before: int | None
    item: int
    lists: bool


def rank_in(items: list[str], item_id: str) -> int:
    """The item's rank in a list, from 1; 0 when it is not listed."""
    return items.index(item_id) + 1 if item_id in items else 0


def rebuild(visits: Sequence[SessionEvent], serving: ServingModel) -> tuple[int, int]:
    """Bring states of another version, or recovered without one, up to the version in service.

    Where a list is needed that the state has not (it was lost, or not computed to catch up,
    and an unknown item will give none), the last recent item is stepped rather than replayed.
    → how many states, and how many of them are longer than the history they are rebuilt from.
    """
    stale = [v for v in visits if _is_stale(v, serving)]
    if not stale:
        return 0, 0
    # These lack a list only: their hidden states are exact, and stay.
    exact = [(v.state, v.state.hidden) for v in stale if v.state.model_version == serving.version]
    inexact = 0
    histories: list[list[int]] = []
    for visit in stale:
        state = visit.state
        kept = len(state.recent_items)
        # Of a recovered session nobody knows whether it had more than what is kept.
        inexact += state.position > kept or (not state.hidden and kept >= serving.recent_items)
        known = serving.vocabulary.encode(state.recent_items)
        histories.append([int(i) for i in np.flatnonzero(known >= 0)])
    relist = [
        bool(history) and visit.lists and (not visit.state.list_items or visit.item < 0)
        for visit, history in zip(stale, histories, strict=True)
    ]
    rows = serving.stepper.rebuild(
        [
            _columns_of(visit.state, history[:-1] if again else history, serving)
            for visit, history, again in zip(stale, histories, relist, strict=True)
        ]
    )
    for visit, row, history in zip(stale, rows, histories, strict=True):
        state = visit.state
        state.model_version = serving.version
        state.hidden = row.tobytes()
        if not history:
            state.list_items, state.list_scores = [], b""
        elif not visit.lists:
            # Its list is the other version's: the next one that is due is not to be that.
            state.unlisted = max(1, state.unlisted)
    again = [(v, h[-1]) for v, h, needed in zip(stale, histories, relist, strict=True) if needed]
    if again:
        columns = [_columns_of(visit.state, [last], serving) for visit, last in again]
        merged = {name: np.concatenate([c[name] for c in columns]) for name in columns[0]}
        _step([visit.state for visit, _ in again], merged, serving, None)
    for kept_state, hidden in exact:
        kept_state.hidden = hidden
    return len(stale), inexact


def row_of(state: SessionState, serving: ServingModel) -> npt.NDArray[np.uint8]:
    """The packed hidden state that the version in service has for a session, rebuilt where it is stale.

    `state` stays as it is.
    """
    if state.hidden and state.model_version == serving.version:
        return np.frombuffer(state.hidden, np.uint8)
    known = np.flatnonzero(serving.vocabulary.encode(state.recent_items) >= 0).tolist()
    row: npt.NDArray[np.uint8] = serving.stepper.rebuild([_columns_of(state, known, serving)])[0]
    return row


def _is_stale(visit: SessionEvent, serving: ServingModel) -> bool:
    state = visit.state
    if not state.position:
        return False
    return state.model_version != serving.version or bool(state.unlisted and visit.item < 0 and visit.lists)


def step(visits: Sequence[SessionEvent], serving: ServingModel) -> None:
    """The one incremental step of every event whose item the model knows."""
    listing = [v for v in visits if v.item >= 0 and v.lists]
    if listing:
        states = [v.state for v in listing]
        _step(states, _inputs(listing, serving), serving, [v.item for v in listing])
    quiet = [v for v in visits if v.item >= 0 and not v.lists]
    if quiet:
        states = [v.state for v in quiet]
        rows = serving.stepper.advance(_inputs(quiet, serving), _pack(states, serving))
        for state, row in zip(states, rows, strict=True):
            state.model_version = serving.version
            state.hidden = row.tobytes()
            state.unlisted += 1


def _step(
    states: list[SessionState], columns: Columns, serving: ServingModel, current: Sequence[int] | None
) -> None:
    """Step `states` and put hidden state and list back; `current` are the items not yet remembered."""
    exclude = _session_items(states, current, serving) if serving.excludes_session_items else None
    ids_Bk, scores_Bk, rows = serving.stepper.step(columns, _pack(states, serving), exclude)
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
        state.unlisted = 0


def _pack(states: list[SessionState], serving: ServingModel) -> npt.NDArray[np.uint8]:
    """The hidden states as rows, initial ones where a session has none."""
    packed = [s.hidden for s in states]
    if not all(packed):
        packed = [row or serving.blank_row for row in packed]
    rows = np.frombuffer(b"".join(packed), np.uint8)
    return rows.reshape(len(states), serving.stepper.layout.row_bytes)


def _inputs(visits: Sequence[SessionEvent], serving: ServingModel) -> Columns:
    columns: Columns = {"item": np.fromiter((v.item for v in visits), np.int64, len(visits))}
    for name in serving.columns:
        columns[name] = np.array([getattr(v.event, name) for v in visits], dtype=object)
    return columns


def _columns_of(state: SessionState, places: list[int], serving: ServingModel) -> Columns:
    """The recent events at `places` as columns of the network's inputs."""
    encoded = serving.vocabulary.encode([state.recent_items[i] for i in places])
    columns: Columns = {"item": np.asarray(encoded, np.int64)}
    for name in serving.columns:
        values = state.recent_columns.get(name, [])
        columns[name] = np.array([values[i] if i < len(values) else None for i in places], dtype=object)
    return columns


def _session_items(
    states: list[SessionState], current: Sequence[int] | None, serving: ServingModel
) -> npt.NDArray[np.int64]:
    """Items not to be listed, (B, M) vocabulary indices padded with -1: each session's recent ones."""
    encode = serving.vocabulary.encode
    rows = [encode(state.recent_items) for state in states]
    width = max(len(row) for row in rows) + 1
    exclude_BM = np.full((len(states), width), -1, np.int64)
    for i, row in enumerate(rows):
        exclude_BM[i, : len(row)] = row
        if current is not None:
            exclude_BM[i, -1] = current[i]
    return exclude_BM
