"""One assigned partition: its store, its fence, and the states of waves in flight.

Used by the step thread alone, but for `write`, which the publishing thread calls. States
that are stepped and not yet written are read from the overlay, so that wave n+1 need not
wait for the write of wave n. `recover_from` is kept as counts per bucket of offsets.
"""

from __future__ import annotations

from collections import deque

from stream.state import SessionState, pack_state, unpack_state
from stream.store import Batch, Fence, SessionStore

BUCKET_OFFSETS = 10_000
# More than the bound on waves in flight: what an expiry pass changed is written before the next one reads.
WAVES_BETWEEN_EXPIRIES = 128
EXPIRIES_PER_PASS = 16_384


class OpenPartition:
    """The states of one partition, as of the last wave stepped."""

    def __init__(self, number: int, store: SessionStore) -> None:
        self.number = number
        self.store = store
        fence = store.fence or Fence()
        self.durable = fence
        self.position = fence.position
        self.watermark_ms = fence.watermark_ms
        self.sessions = fence.sessions
        self._beyond = set(fence.beyond)
        self._buckets = dict(fence.buckets)
        self._overlay: dict[str, tuple[int, SessionState | None]] = {}
        self._unwritten: deque[tuple[int, list[str]]] = deque()
        self._changed: list[str] = []
        self._batch = Batch()
        self._next_expiry_wave = 0

    def is_duplicate(self, offset: int) -> bool:
        """Whether the event at `offset` is in the states already."""
        return offset < self.position or offset in self._beyond

    def load(self, session_ids: list[str]) -> list[SessionState | None]:
        """The states of the sessions, None where there is none."""
        overlay = self._overlay
        absent = [session_id for session_id in session_ids if session_id not in overlay]
        stored = dict(zip(absent, self.store.load(absent), strict=True))
        states: list[SessionState | None] = []
        for session_id in session_ids:
            kept = overlay.get(session_id)
            if kept is not None:
                states.append(kept[1])
            else:
                value = stored[session_id]
                states.append(None if value is None else unpack_state(value))
        return states

    def put(self, wave: int, session_id: str, state: SessionState, oldest_before: int | None) -> None:
        """Keep a stepped state; `oldest_before` is the oldest kept offset it had, None when it is new."""
        oldest = state.recent_offsets[0] // BUCKET_OFFSETS
        if oldest_before is None:
            self.sessions += 1
            self._buckets[oldest] = self._buckets.get(oldest, 0) + 1
            self._batch.put_expiry(state.last_event_time_ms, session_id)
        elif oldest_before // BUCKET_OFFSETS != oldest:
            self._leave_bucket(oldest_before)
            self._buckets[oldest] = self._buckets.get(oldest, 0) + 1
        self._overlay[session_id] = (wave, state)
        self._changed.append(session_id)
        self._batch.put_state(session_id, pack_state(state))

    def delete(self, wave: int, session_id: str, oldest_before: int) -> None:
        """Drop an ended or expired session, whose oldest kept offset is `oldest_before`."""
        self.sessions -= 1
        self._leave_bucket(oldest_before)
        self._overlay[session_id] = (wave, None)
        self._changed.append(session_id)
        self._batch.delete_state(session_id)

    def _leave_bucket(self, offset: int) -> None:
        bucket = offset // BUCKET_OFFSETS
        left = self._buckets[bucket] - 1
        if left:
            self._buckets[bucket] = left
        else:
            del self._buckets[bucket]

    def expire(self, wave: int, silence_ms: int) -> int:
        """Drop sessions silent for more than `silence_ms` before the watermark; returns how many."""
        if wave < self._next_expiry_wave:
            return 0
        self._next_expiry_wave = wave + WAVES_BETWEEN_EXPIRIES
        before_ms = self.watermark_ms - silence_ms
        entries = self.store.due(before_ms, EXPIRIES_PER_PASS) if before_ms > 0 else []
        states = self.load([session_id for _, _, session_id in entries])
        expired = 0
        gone: set[str] = set()
        for (key, _, session_id), state in zip(entries, states, strict=True):
            self._batch.delete_key(key)
            if state is None or session_id in gone:
                continue
            if state.last_event_time_ms >= before_ms:
                self._batch.put_expiry(state.last_event_time_ms, session_id)
                continue
            gone.add(session_id)
            self.delete(wave, session_id, state.recent_offsets[0])
            expired += 1
        return expired

    def seal(self, wave: int, taken: list[int], position: int, watermark_ms: int) -> tuple[Batch, Fence]:
        """Close the wave here: move the fence and hand out the batch to be written.

        `taken` are the offsets in the wave; every record below `position` is taken.
        """
        self._beyond.update(taken)
        self._beyond = {offset for offset in self._beyond if offset >= position}
        self.position = max(self.position, position)
        self.watermark_ms = max(self.watermark_ms, watermark_ms)
        fence = Fence(
            self.position, self.watermark_ms, sorted(self._beyond), dict(self._buckets), self.sessions
        )
        batch = self._batch
        batch.put_fence(fence)
        self._batch = Batch()
        self._unwritten.append((wave, self._changed))
        self._changed = []
        return batch, fence

    def write(self, batch: Batch, fence: Fence) -> None:
        """Make a sealed wave durable; `durable` is the fence that the disk has."""
        self.store.write(batch)
        self.durable = fence

    def forget_written(self, wave: int) -> None:
        """Leave to the store what waves up to `wave` have written."""
        while self._unwritten and self._unwritten[0][0] <= wave:
            number, session_ids = self._unwritten.popleft()
            for session_id in session_ids:
                kept = self._overlay.get(session_id)
                if kept is not None and kept[0] <= number:
                    del self._overlay[session_id]


def recover_from(fence: Fence) -> int:
    """The offset from which re-reading `events` gives every kept recent item of every open session."""
    if not fence.buckets:
        return fence.position
    return min(min(fence.buckets) * BUCKET_OFFSETS, fence.position)
