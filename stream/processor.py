"""The heart of the worker: one wave in, its lists and its state changes out.

Runs in the step thread, one wave at a time, in the order of the design: fence, session
rule, score the past, rebuild what is stale, step once, lists. It publishes and writes
nothing itself: what it returns is to be published first and written after.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from stream.events import Event
from stream.live_model import LiveModel, Serving
from stream.partition import OpenPartition
from stream.state import SessionState, new_state
from stream.store import Batch, Fence
from stream.waves import Arrival, Wave

OUTCOMES = ("stepped", "duplicate", "unknown", "ended", "dead_lettered")
UNKNOWN_ITEM = "unknown_item"
EMPTY_SESSION = "empty_session"


@dataclass(slots=True)
class List:
    """A list to be published after one event. `fallback` is "" for a list of the event's own step."""

    arrival: Arrival
    session_id: str
    event_time_ms: int
    model_version: str
    items: list[str]
    scores: npt.NDArray[np.float32]
    position: int
    fallback: str


@dataclass(slots=True)
class SteppedWave:
    """What one wave leaves: lists, dead letters, batches to write, counts to add once written."""

    number: int
    started_ns: int
    size: int
    lists: list[List] = field(default_factory=list)
    dead: list[Arrival] = field(default_factory=list)
    writes: dict[int, tuple[OpenPartition, Batch, Fence]] = field(default_factory=dict)
    outcomes: dict[int, dict[str, int]] = field(default_factory=dict)
    ranks: list[tuple[int | None, int | None]] = field(default_factory=list)
    resets: int = 0
    late: int = 0
    rebuilt: int = 0
    rebuilt_inexact: int = 0
    expired: int = 0
    stepped_us: int = 0


@dataclass(slots=True)
class _Visit:
    """One event beside its session's state, on its way through the wave."""

    arrival: Arrival
    event: Event
    state: SessionState
    oldest_before: int | None
    item: int


class Processor:
    """Steps waves with the model in service, over the partitions that are open."""

    def __init__(
        self, live: LiveModel, recent_items: int, now_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self.partitions: dict[int, OpenPartition] = {}
        self.written = -1
        self._live = live
        self._recent_items = recent_items
        self._now_ns = now_ns
        self._wave = 0

    def process(self, wave: Wave) -> SteppedWave:
        """Step one wave. The states change in memory at once; nothing is durable yet."""
        serving = self._live.current
        out = SteppedWave(self._wave, self._now_ns(), len(wave.arrivals))
        self._wave += 1
        for number in wave.positions:
            self.partitions[number].forget_written(self.written)
            out.outcomes[number] = dict.fromkeys(OUTCOMES, 0)
        fresh = self._fence(wave, out)
        visits = self._load(fresh, serving, out)
        self._apply_rule(visits, serving, out)
        self._rebuild(visits, serving, out)
        self._score(visits, serving, out)
        self._step([v for v in visits if v.item >= 0], serving)
        self._list(visits, serving, out)
        self._seal(wave, serving, out)
        out.stepped_us = (self._now_ns() - out.started_ns) // 1000
        return out

    def _fence(self, wave: Wave, out: SteppedWave) -> list[tuple[Arrival, Event]]:
        """The arrivals that are events and not in the states yet."""
        fresh: list[tuple[Arrival, Event]] = []
        for arrival in wave.arrivals:
            if self.partitions[arrival.partition].is_duplicate(arrival.offset):
                out.outcomes[arrival.partition]["duplicate"] += 1
            elif arrival.event is None:
                out.outcomes[arrival.partition]["dead_lettered"] += 1
                out.dead.append(arrival)
            else:
                fresh.append((arrival, arrival.event))
        return fresh

    def _load(self, fresh: list[tuple[Arrival, Event]], serving: Serving, out: SteppedWave) -> list[_Visit]:
        """Each event with its session's state, new where there is none; ended sessions leave here."""
        by_partition: dict[int, list[str]] = {}
        for arrival, event in fresh:
            by_partition.setdefault(arrival.partition, []).append(event.session_id)
        loaded = {
            number: iter(self.partitions[number].load(session_ids))
            for number, session_ids in by_partition.items()
        }
        index = serving.vocabulary.index
        visits: list[_Visit] = []
        for arrival, event in fresh:
            partition = self.partitions[arrival.partition]
            state = next(loaded[arrival.partition])
            if event.kind == "session_end":
                out.outcomes[arrival.partition]["ended"] += 1
                if state is not None:
                    partition.delete(out.number, event.session_id, state.recent_offsets[0])
                continue
            oldest = None if state is None else state.recent_offsets[0]
            item = index.get(event.item_id, -1)
            visits.append(_Visit(arrival, event, state or new_state(), oldest, item))
        return visits

    def _apply_rule(self, visits: list[_Visit], serving: Serving, out: SteppedWave) -> None:
        """Start a session anew after silence, by its own events or by the watermark; count late events."""
        lateness_ms = serving.rule.allowed_lateness_s * 1000
        for visit in visits:
            state, time_ms = visit.state, visit.event.event_time_ms
            if not state.position:
                continue
            if serving.rule.ends(state.last_event_time_ms, time_ms, visit.arrival.watermark_ms):
                visit.state = new_state()
                out.resets += 1
            elif time_ms < state.last_event_time_ms - lateness_ms:
                out.late += 1

    def _score(self, visits: list[_Visit], serving: Serving, out: SteppedWave) -> None:
        """Look each event's item up in the list that its session was shown last, and in POP's."""
        for visit in visits:
            items, item_id = visit.state.list_items, visit.event.item_id
            if items:
                rank = items.index(item_id) + 1 if item_id in items else None
                out.ranks.append((rank, serving.popular_rank(item_id, visit.state.recent_items)))

    def _rebuild(self, visits: list[_Visit], serving: Serving, out: SteppedWave) -> None:
        """Bring states of another version, or recovered without one, up to the version in service.

        Where the list shown last is missing too, or an unknown item will need it, the last
        recent item is stepped rather than replayed, which gives the list.
        """
        stale = [v for v in visits if v.state.position and v.state.model_version != serving.version]
        if not stale:
            return
        out.rebuilt += len(stale)
        histories: list[list[int]] = []
        for visit in stale:
            state = visit.state
            out.rebuilt_inexact += state.position > len(state.recent_items)
            known = serving.vocabulary.encode(state.recent_items)
            histories.append([int(i) for i in np.flatnonzero(known >= 0)])
        relist = [
            bool(history) and (not visit.state.list_items or visit.item < 0)
            for visit, history in zip(stale, histories, strict=True)
        ]
        replayed = [
            history[:-1] if again else history for history, again in zip(histories, relist, strict=True)
        ]
        rows = serving.stepper.rebuild(
            [
                _columns_of(visit.state, history, serving)
                for visit, history in zip(stale, replayed, strict=True)
            ]
        )
        for visit, row, history in zip(stale, rows, histories, strict=True):
            state = visit.state
            state.model_version = serving.version
            state.hidden = row.tobytes()
            if not history:
                state.list_items, state.list_scores = [], b""
        again = [(v, h[-1]) for v, h, needed in zip(stale, histories, relist, strict=True) if needed]
        if again:
            columns = [_columns_of(visit.state, [last], serving) for visit, last in again]
            merged = {name: np.concatenate([c[name] for c in columns]) for name in columns[0]}
            self._run([visit.state for visit, _ in again], merged, serving, None)

    def _step(self, visits: list[_Visit], serving: Serving) -> None:
        """The one incremental step of every event whose item the model knows."""
        if not visits:
            return
        columns: dict[str, npt.NDArray[np.generic]] = {
            "item": np.fromiter((v.item for v in visits), np.int64, len(visits))
        }
        for name in serving.columns:
            columns[name] = np.array([getattr(v.event, name) for v in visits], dtype=object)
        self._run([v.state for v in visits], columns, serving, [v.item for v in visits])

    def _run(
        self,
        states: list[SessionState],
        columns: dict[str, npt.NDArray[np.generic]],
        serving: Serving,
        current: Sequence[int] | None,
    ) -> None:
        """Step `states` and put hidden state and list back; `current` are the items not yet remembered."""
        stepper = serving.stepper
        width = stepper.layout.row_bytes
        packed = [s.hidden for s in states]
        if not all(packed):
            blank = stepper.initial_rows(1).tobytes()
            packed = [row or blank for row in packed]
        rows = np.frombuffer(b"".join(packed), np.uint8).reshape(len(states), width)
        exclude = _session_items(states, current, serving) if serving.excludes_session_items else None
        ids_Bk, scores_Bk, rows_after = stepper.step(columns, rows, exclude)
        names = serving.vocabulary.item_ids[ids_Bk].tolist()
        full = bool((ids_Bk[:, -1] >= 0).all())
        for i, state in enumerate(states):
            items, scores = names[i], scores_Bk[i]
            if not full:
                listed = int((ids_Bk[i] >= 0).sum())
                items, scores = items[:listed], scores[:listed]
            state.model_version = serving.version
            state.hidden = rows_after[i].tobytes()
            state.list_items = items
            state.list_scores = scores.tobytes()

    def _list(self, visits: list[_Visit], serving: Serving, out: SteppedWave) -> None:
        """Remember each event and hand out its list: the step's, the last one, or POP's."""
        for visit in visits:
            state, event, arrival = visit.state, visit.event, visit.arrival
            fallback = ""
            items, version = state.list_items, state.model_version
            if visit.item < 0:
                fallback = UNKNOWN_ITEM if items else EMPTY_SESSION
            out.outcomes[arrival.partition]["unknown" if visit.item < 0 else "stepped"] += 1
            state.remember(event, arrival.offset, serving.columns, self._recent_items)
            if items:
                scores = np.frombuffer(state.list_scores, np.float32)
            else:
                items, scores = serving.popular_list(state.recent_items)
                # The session was shown POP's list, so that is what its next event is scored against.
                state.list_items, state.list_scores = items, scores.tobytes()
                state.model_version = version = serving.version
            out.lists.append(
                List(
                    arrival,
                    event.session_id,
                    event.event_time_ms,
                    version,
                    items,
                    scores,
                    state.position,
                    fallback,
                )
            )
            self.partitions[arrival.partition].put(out.number, event.session_id, state, visit.oldest_before)

    def _seal(self, wave: Wave, serving: Serving, out: SteppedWave) -> None:
        """Expire what the watermark has left behind, and close each partition's batch."""
        taken: dict[int, list[int]] = {number: [] for number in wave.positions}
        for arrival in wave.arrivals:
            taken[arrival.partition].append(arrival.offset)
        silence_ms = serving.rule.silence_before_expiry_ms
        for number, (position, watermark_ms) in wave.positions.items():
            partition = self.partitions[number]
            if silence_ms is not None:
                out.expired += partition.expire(out.number, silence_ms)
            batch, fence = partition.seal(out.number, taken[number], position, watermark_ms)
            out.writes[number] = (partition, batch, fence)


def _columns_of(
    state: SessionState, places: list[int], serving: Serving
) -> dict[str, npt.NDArray[np.generic]]:
    """The recent events at `places` as columns of the network's inputs."""
    encoded = serving.vocabulary.encode([state.recent_items[i] for i in places])
    columns: dict[str, npt.NDArray[np.generic]] = {"item": np.asarray(encoded, np.int64)}
    for name in serving.columns:
        values = state.recent_columns.get(name, [])
        columns[name] = np.array([values[i] if i < len(values) else None for i in places], dtype=object)
    return columns


def _session_items(
    states: list[SessionState], current: Sequence[int] | None, serving: Serving
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
