"""One assigned partition: its store, its offsets, and the states of waves in flight.

Step threads use it, one at a time; the publishing thread calls `write`, and `pending` is thread-safe.
States that are stepped and not yet written are read from the overlay, so that wave n+1 need not wait
for the write of wave n. The offset at which recovery would begin follows from counts of open
sessions per bucket of offsets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec

from stream.sessions.offsets import AppliedOffsets, Bucket, PendingOffsets
from stream.sessions.session_state import SessionState, pack_state, unpack_state
from stream.sessions.store import EXPIRY_PREFIX, Batch, SessionStore, expiry_key
from stream.sessions.watermark import Watermark

BUCKET_OFFSETS = 10_000
WAVES_BETWEEN_EXPIRIES = 16
EXPIRIES_PER_PASS = 1_024


class OpenPartition:
    """The states of one partition, as of the last wave stepped.

    `pending` are the records that are read and not stepped; `durable` the applied offsets on disk;
    `begun_anew`: its store, or what the group knew of it, was another topic's and counts for nothing;
    `skipped`: so many events get no list, because another program set the committed offset after them.
    """

    def __init__(self, number: int, store: SessionStore) -> None:
        self.number = number
        self.store = store
        self.pending = PendingOffsets()
        applied = store.applied or AppliedOffsets()
        self.durable = applied
        self.position = applied.position
        self.watermark = applied.watermark
        self.sessions = applied.sessions
        self.topic_id = applied.topic_id
        self.begun_anew = False
        self.skipped = 0
        self._top = self._top_when_opened = applied.top
        self._pending_when_opened = set(applied.pending)
        self._buckets = store.buckets()
        self._changed_buckets: set[int] = set()
        self._oldest_bucket = 0
        self._oldest_is_known = False
        self._overlay: dict[str, tuple[int, SessionState | None]] = {}
        self._in_step: set[str] = set()
        self._unwritten: deque[tuple[int, list[str], bytes | None]] = deque()
        self._changed: list[str] = []
        self._batch = Batch()
        self._next_expiry_wave = 0
        self._events_since_expiry = 0
        # After the keys that expiry has deleted: reading from the prefix on would step over all of them.
        self._expiry_start = EXPIRY_PREFIX
        self._first_indexed: bytes | None = None

    def set_topic_id(self, topic_id: str) -> None:
        """Name the topic that the offsets are of, at once in a store that has some."""
        self.topic_id = topic_id
        self.durable = msgspec.structs.replace(self.durable, topic_id=topic_id)
        if self.store.applied is not None:
            batch = Batch()
            batch.put_applied(self.durable)
            self.store.write(batch)

    def is_duplicate(self, offset: int) -> bool:
        """Whether the event at `offset` is in the states already."""
        if offset < self.position:
            return True
        return offset < self._top_when_opened and offset not in self._pending_when_opened

    def ensure_bucket(self, offset: int, before: Watermark) -> None:
        """Make the bucket of a new record, with the watermark before the record, unless it has one."""
        number = offset // BUCKET_OFFSETS
        bucket = self._buckets.get(number)
        if bucket is None:
            self._buckets[number] = Bucket(0, before, offset)
        elif offset < bucket.first:
            bucket.watermark, bucket.first = before, offset
        else:
            return
        self._changed_buckets.add(number)

    def load_for_step(self, session_ids: list[str]) -> list[SessionState | None]:
        """The states of sessions to step, None for a new one; each is `put` or deleted afterwards."""
        self._in_step.update(session_ids)
        return self.load(session_ids)

    def load(self, session_ids: list[str]) -> list[SessionState | None]:
        """The states of the sessions, None for a session without one."""
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
                states.append(None if value is None else self._unpack(value))
        return states

    def is_in_step(self, session_id: str) -> bool:
        """Whether the session is being stepped, so that its state in memory is neither old nor new."""
        return session_id in self._in_step

    def read_state(self, session_id: str) -> SessionState | None:
        """A copy of a session's state as of the last wave, or of the last write while it is stepped."""
        kept = self._overlay.get(session_id)
        if kept is not None and session_id not in self._in_step:
            return None if kept[1] is None else unpack_state(pack_state(kept[1]))
        (value,) = self.store.load([session_id])
        return None if value is None else self._unpack(value)

    def _unpack(self, value: bytes) -> SessionState:
        try:
            return unpack_state(value)
        except msgspec.DecodeError as error:
            raise self.store.failed(error) from error

    def put(self, wave: int, session_id: str, state: SessionState, oldest_before: int | None) -> None:
        """Store a stepped state; `oldest_before` was its oldest kept offset, None if it is new."""
        bucket = state.oldest_offset // BUCKET_OFFSETS
        if oldest_before is None:
            self.sessions += 1
            self._count(bucket, 1)
            self._index(state.last_event_time_ms, session_id)
        elif oldest_before // BUCKET_OFFSETS != bucket:
            self._count(oldest_before // BUCKET_OFFSETS, -1)
            self._count(bucket, 1)
        self._overlay[session_id] = (wave, state)
        self._in_step.discard(session_id)
        self._changed.append(session_id)
        self._batch.put_state(session_id, pack_state(state))

    def delete(self, wave: int, session_id: str, oldest_before: int | None) -> None:
        """Delete an ended or expired session with its oldest kept offset, None for one that is not stored."""
        self._in_step.discard(session_id)
        if oldest_before is None:
            return
        self.sessions -= 1
        self._count(oldest_before // BUCKET_OFFSETS, -1)
        self._overlay[session_id] = (wave, None)
        self._changed.append(session_id)
        self._batch.delete_state(session_id)

    def _count(self, number: int, change: int) -> None:
        bucket = self._buckets[number]
        bucket.sessions += change
        self._changed_buckets.add(number)
        if number <= self._oldest_bucket:
            self._oldest_is_known = False

    def _index(self, last_event_time_ms: int, session_id: str) -> None:
        self._batch.put_expiry(last_event_time_ms, session_id)
        key = expiry_key(last_event_time_ms, session_id)
        self._first_indexed = key if self._first_indexed is None else min(key, self._first_indexed)

    def expire(self, wave: int, silence_ms: int, events: int) -> int:
        """Delete sessions silent for more than `silence_ms` before the watermark. Returns their number.

        Deletes a bounded number at a time, so that no wave waits long: at least twice the `events`
        stepped since, which bounds the sessions that opened.
        """
        self._events_since_expiry += events
        before_ms = self.watermark.ms - silence_ms
        if wave < self._next_expiry_wave or before_ms <= 0:
            return 0
        self._next_expiry_wave = wave + WAVES_BETWEEN_EXPIRIES
        most = max(EXPIRIES_PER_PASS, 2 * self._events_since_expiry)
        self._events_since_expiry = 0
        return self._expire_until(wave, before_ms, most)[0]

    def expire_idle(self, wave: int, silence_ms: int) -> int:
        """Apply a watermark that advanced without an event, and delete all sessions that it ends."""
        self.watermark = max(self.watermark, self.pending.finish(())[1], key=lambda w: w.ms)
        expired = 0
        while True:
            dropped, entries = self._expire_until(wave, self.watermark.ms - silence_ms, EXPIRIES_PER_PASS)
            expired += dropped
            if entries < EXPIRIES_PER_PASS:
                return expired

    def _expire_until(self, wave: int, before_ms: int, most: int) -> tuple[int, int]:
        """Delete the silent sessions among `most` index entries. Returns how many, and of how many."""
        entries, self._expiry_start = self.store.due(before_ms, most, self._expiry_start)
        states = self.load([session_id for _, _, session_id in entries])
        gone: set[str] = set()
        for (key, _, session_id), state in zip(entries, states, strict=True):
            self._batch.delete_key(key)
            if state is None or session_id in gone:
                continue
            # A session that is being stepped is reset there, and put back as a new session's state.
            if state.last_event_time_ms >= before_ms or session_id in self._in_step:
                self._index(state.last_event_time_ms, session_id)
                continue
            gone.add(session_id)
            self.delete(wave, session_id, state.oldest_offset)
        return len(gone), len(entries)

    def seal(self, wave: int, finished: Sequence[int]) -> tuple[Batch, AppliedOffsets]:
        """End the wave in this partition. Returns the batch to write, and the offsets applied by it."""
        position, watermark = self.pending.finish(finished)
        self.position = max(self.position, position)
        self._top = max(self._top, self.position, max(finished, default=-1) + 1)
        self._pending_when_opened.difference_update(finished)
        if watermark.ms >= self.watermark.ms:
            self.watermark = watermark
        batch = self._batch
        applied = self._applied_now(batch)
        self._batch = Batch()
        self._unwritten.append((wave, self._changed, self._first_indexed))
        self._changed, self._first_indexed = [], None
        return batch, applied

    def _applied_now(self, batch: Batch) -> AppliedOffsets:
        """The applied offsets as of now; puts them and the changed buckets into the batch."""
        if not self._oldest_is_known:
            self._find_oldest_bucket(batch)
        oldest = self._oldest_bucket
        for number in self._changed_buckets:
            batch.put_bucket(number, self._buckets[number])
        self._changed_buckets.clear()
        recover_from, recover_watermark = self.position, self.watermark
        if self._oldest_is_known and oldest * BUCKET_OFFSETS < self.position:
            recover_from, recover_watermark = oldest * BUCKET_OFFSETS, self._buckets[oldest].watermark
        applied = AppliedOffsets(
            self.position,
            self.watermark,
            self._top,
            self._pending_now(),
            self.sessions,
            recover_from,
            recover_watermark,
            self.topic_id,
        )
        batch.put_applied(applied)
        return applied

    def _pending_now(self) -> list[int]:
        """The offsets from the position to the top that are in no sealed wave."""
        pending = self.pending.pending_below(self._top)
        if self.position >= self._top_when_opened:
            return pending
        # Records that the store had when it was opened come again; those that it lacked may not be read yet.
        missing = {offset for offset in pending if not self.is_duplicate(offset)}
        return sorted(missing | {offset for offset in self._pending_when_opened if offset >= self.position})

    def _find_oldest_bucket(self, batch: Batch) -> None:
        """Find the first bucket with sessions, or else the bucket at the position."""
        current = self.position // BUCKET_OFFSETS
        occupied = [number for number, bucket in self._buckets.items() if bucket.sessions]
        self._oldest_bucket = min(occupied, default=current)
        self._oldest_is_known = bool(occupied)
        for number in [n for n in self._buckets if n < min(self._oldest_bucket, current)]:
            del self._buckets[number]
            self._changed_buckets.discard(number)
            batch.delete_bucket(number)

    def write(self, batch: Batch, applied: AppliedOffsets) -> None:
        """Write a sealed wave to disk; `applied` are durable then."""
        self.store.write(batch)
        self.durable = applied

    def drop_written(self, wave: int) -> None:
        """Drop from the overlay the states that waves up to `wave` have written."""
        while self._unwritten and self._unwritten[0][0] <= wave:
            number, session_ids, first_indexed = self._unwritten.popleft()
            # Not earlier: expiry reads the store, and would pass entries that are not written yet.
            if first_indexed is not None:
                self._expiry_start = min(self._expiry_start, first_indexed)
            for session_id in session_ids:
                kept = self._overlay.get(session_id)
                if kept is not None and kept[0] <= number:
                    del self._overlay[session_id]
