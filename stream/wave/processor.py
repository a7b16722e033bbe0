"""Steps 3 to 7 of a wave: its arrivals in, its lists and its state changes out.

Several threads may step, each with sessions that no other has: side by side where the model works,
one at a time where the partitions change. Publishes and writes nothing: the sink publishes what is
handed over (8), then writes it (9).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np

from stream.catalogue.purchases import encode_purchase
from stream.events import DISMISS, EMPTY_SESSION, FORGET, LAG, LEFT_OUT_REASONS, PURCHASE, UNKNOWN_ITEM, Event
from stream.failpoints import reach
from stream.sessions.partition import OpenPartition
from stream.sessions.session_state import SessionState, continued
from stream.wave.freshness import FreshnessFeed
from stream.wave.load_shedding import FULL, POPULAR
from stream.wave.serving_model import InService, ModelSlot, ServingModel
from stream.wave.session_event import SessionEvent
from stream.wave.shadow import Shadow
from stream.wave.shown_list import ShownList, score
from stream.wave.sides import ChallengersOwn, parts_of
from stream.wave.step import rebuild, step
from stream.wave.stepped_wave import Placed, PlacementMaker, RecommendedList, SteppedWave
from stream.wave.waves import Arrival, Wave

OUTCOMES = ("stepped", "duplicate", "unknown", "ended", "left_out", "dead_lettered")


class Processor:
    """Steps waves with the model in service, over the open `partitions`.

    Other threads hold `changed` to read the partitions; it is notified after each wave. `written` is the
    number of the newest durable wave.
    """

    def __init__(
        self,
        live: ModelSlot,
        recent_items: int,
        now_ns: Callable[[], int] = time.monotonic_ns,
        shadow: Shadow | None = None,
        placements: PlacementMaker | None = None,
    ) -> None:
        self.partitions: dict[int, OpenPartition] = {}
        self.written = -1
        self._live = live
        self._shadow = shadow or Shadow()
        self._placements = placements
        self._freshness = FreshnessFeed(live, self._shadow)
        self._in_service: InService | None = None
        self._next_number = 0
        self._stepping = 0
        self.changed = threading.Condition()
        self._recent_items = recent_items
        self._now_ns = now_ns

    def process(self, wave: Wave, hand_over: Callable[[SteppedWave], None]) -> None:
        """Step one wave in memory; nothing is durable when this returns.

        3. load     the states of the wave's sessions; skip duplicates
        4. rule     reset sessions after silence, drop those that end; count late events
        5. rebuild  hidden states that another version made, or that recovery left out
        6. score    each event's item against the list that its session was shown last
        7. step     once; select the top-20; hand over to the sink (8. publish, 9. write)

        3, 4 and the handing over hold `changed`; 5 to 7 run beside the waves of other threads.
        `hand_over` is called in the order of the waves' numbers.
        """
        with self.changed:
            # Before the step, which obeys these words or more.
            words = self._live.catalogue.position
            serving = self._versions_of_wave()
            self._freshness.refresh_first(wave, serving)
            out = SteppedWave(-1, self._now_ns(), len(wave.arrivals), wave.level, words)
            self._stepping += 1
            for number in wave.partitions:
                self.partitions[number].drop_written(self.written)
                out.outcomes[number] = dict.fromkeys(OUTCOMES, 0)
            # 3. load
            fresh = self._skip_duplicates(wave, out)
            stored = self._load(fresh)
            reach("3-loaded")
            # 4. rule
            events, ended = self._apply_rule(fresh, stored, serving, out)
        reach("4-ruled")
        # A dismissal is obeyed by the next lists; nothing is scored by it, stepped or learned from it.
        clicks = [event for event in events if event.event.kind != DISMISS]
        parts, own = parts_of(clicks, serving), ChallengersOwn(events, serving)
        champions = parts[0]
        shadowed = self._shadow.choose(champions.events, champions.serving, sheds_load=out.level > FULL)
        shown = [[ShownList.of(event.state) for event in part.events] for part in parts]
        stepped_parts = [*parts, own.part] if own.part else parts
        # 5. rebuild
        for part in stepped_parts:
            rebuilt, inexact = rebuild(part.events, part.serving)
            out.rebuilt += rebuilt
            out.rebuilt_inexact += inexact
        reach("5-rebuilt")
        # 6. score
        for part, lists in zip(parts, shown, strict=True):
            out.observed += score(part.events, lists, part.serving, self._live)
        reach("6-scored")
        # 7. step
        for part in stepped_parts:
            step(part.events, part.serving)
        reach("7-stepped")
        placed = self._placements.make(events, serving, out.level) if self._placements else {}
        out.stepped_us = (self._now_ns() - out.started_ns) // 1000
        with self.changed:
            out.number = self._next_number
            self._next_number += 1
            for number, session_id, oldest in ended:
                self.partitions[number].delete(out.number, session_id, oldest)
            self._make_lists(events, serving, own, placed, out)
            self._seal(wave, serving.champion, out)
            hand_over(out)
            self._stepping -= 1
            self.changed.notify_all()
        self._shadow.enqueue(shadowed)
        self._freshness.add_events(clicks)

    def _versions_of_wave(self) -> InService:
        """What is in service; waits until no wave of what was before is under way.

        So a partition's lists change to the new version once, and not back and forth.
        """
        while (serving := self._live.in_service) is not self._in_service and self._stepping:
            self.changed.wait()
        self._in_service = serving
        return serving

    def _skip_duplicates(self, wave: Wave, out: SteppedWave) -> list[tuple[Arrival, Event]]:
        """The events whose offsets are not in the states yet; counts the others."""
        fresh: list[tuple[Arrival, Event]] = []
        for arrival in wave.arrivals:
            partition = self.partitions[arrival.partition]
            if partition.is_duplicate(arrival.offset):
                out.outcomes[arrival.partition]["duplicate"] += 1
                continue
            partition.ensure_bucket(arrival.offset, arrival.watermark)
            if arrival.event is not None:
                fresh.append((arrival, arrival.event))
            elif arrival.reason in LEFT_OUT_REASONS:
                out.outcomes[arrival.partition]["left_out"] += 1
                out.left_out[arrival.reason] = out.left_out.get(arrival.reason, 0) + 1
            else:
                out.outcomes[arrival.partition]["dead_lettered"] += 1
                out.dead.append(arrival)
        return fresh

    def _load(self, fresh: list[tuple[Arrival, Event]]) -> list[SessionState | None]:
        """The stored state of each event's session, None where there is none."""
        by_partition: dict[int, list[str]] = {}
        for arrival, event in fresh:
            by_partition.setdefault(arrival.partition, []).append(event.session_id)
        loaded = {
            number: iter(self.partitions[number].load_for_step(session_ids))
            for number, session_ids in by_partition.items()
        }
        return [next(loaded[arrival.partition]) for arrival, _ in fresh]

    def _apply_rule(
        self,
        fresh: list[tuple[Arrival, Event]],
        stored: list[SessionState | None],
        serving: InService,
        out: SteppedWave,
    ) -> tuple[list[SessionEvent], list[tuple[int, str, int | None]]]:
        """Give each event the state that it continues, new after silence; count resets and late events.

        Returns these events, and partition, id and oldest kept offset of each session that ends.
        """
        rule, kinds = serving.champion.rule, serving.champion.kinds
        lateness_ms = rule.allowed_lateness_s * 1000
        events: list[SessionEvent] = []
        ended: list[tuple[int, str, int | None]] = []
        for (arrival, event), before in zip(fresh, stored, strict=True):
            oldest = None if before is None else before.oldest_offset
            state = continued(before, event, arrival.watermark.ms, rule)
            if state is None:
                out.outcomes[arrival.partition]["ended"] += 1
                ended.append((arrival.partition, event.session_id, oldest))
                if event.kind == FORGET:
                    self._shadow.forget(event.session_id)
                    out.add_emptied(arrival, event, serving.champion.version, self._live.catalogue.held_rules)
                continue
            if before is not None:
                if state is not before:
                    out.resets += 1
                elif event.event_time_ms < before.last_event_time_ms - lateness_ms:
                    out.late += 1
            state.meet(event)
            unlisted = out.level >= POPULAR or (out.level > FULL and arrival.superseded)
            side = serving.side_of(event.session_id)
            index = serving.of(side).vocabulary.index
            item = -1 if event.kind == DISMISS else index.get(event.item_id, -1)
            out.other_kinds += bool(kinds) and event.kind not in (*kinds, DISMISS)
            events.append(SessionEvent(arrival, event, state, oldest, item, not unlisted, side))
        return events, ended

    def _make_lists(
        self,
        events: list[SessionEvent],
        serving: InService,
        own: ChallengersOwn,
        placed: Placed,
        out: SteppedWave,
    ) -> None:
        """Add each event to its session's history, and make its list: the step's, the last one, or POP's."""
        for session_event in events:
            state, event, arrival = session_event.state, session_event.event, session_event.arrival
            outcome = "unknown" if session_event.item < 0 else "stepped"
            if event.kind == DISMISS:
                outcome = "left_out"
                out.left_out[DISMISS] = out.left_out.get(DISMISS, 0) + 1
            out.outcomes[arrival.partition][outcome] += 1
            state.remember(event, arrival.offset, serving.columns, self._recent_items)
            own.keep(session_event)
            self._keep_purchase(event, state, out)
            if out.level and arrival.superseded:
                out.unlisted += 1
            else:
                shown = self._list_of(session_event, serving.of(session_event.side), out.level)
                if session_event.side:
                    shown = own.with_side(session_event, shown)
                out.lists.append(shown)
                out.add_placed(placed.get(event.session_id, ()), shown)
            self.partitions[arrival.partition].put(
                out.number, event.session_id, state, session_event.oldest_before
            )

    def _keep_purchase(self, event: Event, state: SessionState, out: SteppedWave) -> None:
        """Say on a topic of its own what a user has bought, for the user's later sessions, anywhere."""
        purchases = self._live.catalogue.purchases
        if event.kind == PURCHASE and state.user_id and purchases.is_kept:
            time_ms = purchases.time_of(state.user_id, event.item_id, event.event_time_ms)
            out.purchases.append(encode_purchase(state.user_id, event.item_id, time_ms))

    def _list_of(self, session_event: SessionEvent, serving: ServingModel, level: int) -> RecommendedList:
        state, event = session_event.state, session_event.event
        fallback = ""
        if level >= POPULAR:
            fallback = LAG
        elif session_event.item < 0:
            fallback = UNKNOWN_ITEM if state.list_items else EMPTY_SESSION
            fallback = DISMISS if event.kind == DISMISS else fallback
        hidden = serving.hidden_from(state)
        if fallback == LAG or not state.list_items:
            items, scores = serving.popular_list(state.recent_items, hidden)
            # The session is shown POP's list, so its next event is scored against that list.
            state.list_items, state.list_scores, state.source_lists = items, scores.tobytes(), b""
            state.model_version = serving.version
            state.unlisted = max(state.unlisted, level)
        else:
            shown = state.list_items, np.frombuffer(state.list_scores, np.float32)
            items, scores = serving.obeyed_list(*shown, state.recent_items, hidden, is_new=not fallback)
            if items is not state.list_items:
                # The session is shown what may still be listed, and its next event is scored against that.
                state.list_items, state.list_scores = items, scores.tobytes()
        return RecommendedList(
            session_event.arrival,
            event.session_id,
            event.event_time_ms,
            state.model_version,
            items,
            scores,
            state.position,
            fallback,
        )

    def _seal(self, wave: Wave, serving: ServingModel, out: SteppedWave) -> None:
        """Drop sessions that the watermark has passed, and close each partition's batch."""
        taken: dict[int, list[int]] = {number: [] for number in wave.partitions}
        for arrival in wave.arrivals:
            taken[arrival.partition].append(arrival.offset)
        silence_ms = serving.rule.silence_before_expiry_ms
        for number in wave.partitions:
            partition = self.partitions[number]
            if silence_ms is not None and wave.arrivals:
                out.expired += partition.expire(out.number, silence_ms, len(taken[number]))
            elif silence_ms is not None:
                out.expired += partition.expire_idle(out.number, silence_ms)
            batch, applied = partition.seal(out.number, taken[number])
            out.writes[number] = (partition, batch, applied)
