"""One session's state, as it lies in the store.

The hidden state is a function of the recent events, so it may be missing or stale while
the recent items may not: `model_version` says which version computed it, and "" means
that nobody did yet. Ids are the log's own, so that a new vocabulary can read an old state.
"""

from __future__ import annotations

import msgspec

from stream.events import Event

NO_VERSION = ""


class SessionState(msgspec.Struct, array_like=True, gc=False):
    """What the worker keeps of one open session.

    `position` counts its events; `recent_*` are its newest ones, oldest first, in parallel
    lists; `hidden` is the packed row of the network's state; `list_items` is the list that
    the session was shown last, best first, and `list_scores` its float32 scores; `unlisted`
    is not 0 where that list is not the hidden state's.
    """

    model_version: str
    last_event_time_ms: int
    position: int
    recent_items: list[str]
    recent_offsets: list[int]
    recent_columns: dict[str, list[str | float | None]]
    hidden: bytes
    list_items: list[str]
    list_scores: bytes
    unlisted: int = 0

    def remember(self, event: Event, offset: int, columns: tuple[str, ...], limit: int) -> None:
        """Add one event to the history, keeping the newest `limit`; leaves the hidden state alone.

        `columns` are the event's fields, beside the item, that the network reads.
        """
        self.position += 1
        self.last_event_time_ms = max(self.last_event_time_ms, event.event_time_ms)
        self.recent_items.append(event.item_id)
        self.recent_offsets.append(offset)
        excess = len(self.recent_items) - limit
        for name in columns:
            values = self.recent_columns.setdefault(name, [])
            # A column that an earlier network did not read has no past values.
            values.extend([None] * (len(self.recent_items) - 1 - len(values)))
            values.append(getattr(event, name))
        if excess > 0:
            del self.recent_items[:excess], self.recent_offsets[:excess]
            for values in self.recent_columns.values():
                del values[:excess]


def new_state() -> SessionState:
    """The state of a session that has no event yet."""
    return SessionState(NO_VERSION, 0, 0, [], [], {}, b"", [], b"")


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(SessionState)


def pack_state(state: SessionState) -> bytes:
    """SessionState → MessagePack."""
    return _encoder.encode(state)


def unpack_state(value: bytes) -> SessionState:
    """MessagePack → SessionState. Raises msgspec.DecodeError on bytes that are none."""
    return _decoder.decode(value)
