"""One session's state, as it is stored.

The hidden state is a function of the recent events, so it may be missing or stale, while
the recent items may not: `model_version` is the version that computed it, "" when none
has yet. Ids are the log's own, so that a new vocabulary can read an old state.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import msgspec

from model.data.session_rule import SessionRule
from stream.events import DISMISS, ENDINGS, PURCHASE, Event

NO_VERSION = ""
MOST_CHOICES = 50


class Choice(NamedTuple):
    """An item that the visitor has bought or dismissed: the kind of the event, and its offset."""

    kind: str
    item_id: str
    offset: int


class SessionState(msgspec.Struct, array_like=True, gc=False):
    """The worker's state of one open session.

    `position` counts its events; `recent_*` are its newest ones, oldest first, in parallel
    lists; `hidden` is the packed row of the network's state; `list_items` is the list that
    the session was shown last, best first, and `list_scores` its float32 scores; `unlisted`
    is not 0 where that list is not the hidden state's. `source_lists` has what each source of a fused
    list would have shown instead: int32 indices of the version's items, S×20, b"" where unknown.
    `choices` are the newest MOST_CHOICES items that were bought or dismissed, oldest first, each once a kind.
    `challenger` is the packed state of an experiment's other version, where lists are interleaved.
    `user_id` is the newest one that an event has named, "" where none has.
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
    source_lists: bytes = b""
    choices: list[Choice] = []
    challenger: bytes = b""
    user_id: str = ""

    @property
    def oldest_offset(self) -> int:
        """The offset of the oldest event that the state has kept."""
        return min([*self.recent_offsets[:1], *(choice.offset for choice in self.choices[:1])])

    @property
    def newest_offset(self) -> int:
        """The offset of the newest event that the state has kept."""
        return max([*self.recent_offsets[-1:], *(choice.offset for choice in self.choices[-1:])])

    def chosen(self, kinds: Collection[str]) -> list[str]:
        """The items that the visitor has chosen by events of these kinds."""
        return [choice.item_id for choice in self.choices if choice.kind in kinds]

    def meet(self, event: Event) -> None:
        """Note when the event is and whose, which its own list goes by."""
        self.last_event_time_ms = max(self.last_event_time_ms, event.event_time_ms)
        if event.user_id:
            self.user_id = event.user_id

    def remember(self, event: Event, offset: int, columns: tuple[str, ...], limit: int) -> None:
        """Add one event to the history, keeping the newest `limit`; leaves the hidden state alone.

        `columns` are the event's fields, beside the item, that the network reads. A dismissal is no part
        of the history: it is kept among the choices alone.
        """
        self.meet(event)
        if event.kind in (PURCHASE, DISMISS):
            self._choose(Choice(event.kind, event.item_id, offset))
        if event.kind == DISMISS:
            return
        self.position += 1
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

    def _choose(self, chosen: Choice) -> None:
        """Keep a choice as the newest; the list is another one, so that copies of the state keep theirs."""
        others = [choice for choice in self.choices if choice[:2] != chosen[:2]]
        self.choices = [*others, chosen][-MOST_CHOICES:]


def new_state() -> SessionState:
    """The state of a session without an event."""
    return SessionState(NO_VERSION, 0, 0, [], [], {}, b"", [], b"")


def continued(
    state: SessionState | None, event: Event, watermark_ms: int, rule: SessionRule
) -> SessionState | None:
    """The state to which the event belongs: `state`, or a new one where its session was over.

    None when the event ends the session. Silence is that of the session's own events or of the
    partition's watermark before the event. Adds nothing to the history: see `remember`.

    >>> begun = continued(None, Event("s", 1_000, "i"), 0, SessionRule(gap_s=1800))
    >>> begun.remember(Event("s", 1_000, "i"), 0, (), 50)
    >>> continued(begun, Event("s", 2_000, "j"), 1_000, SessionRule(gap_s=1800)) is begun
    True
    >>> continued(begun, Event("s", 9_000_000, "j"), 1_000, SessionRule(gap_s=1800)).position
    0
    """
    if event.kind in ENDINGS:
        return None
    if state is None or rule.ends(state.last_event_time_ms, event.event_time_ms, watermark_ms):
        return new_state()
    return state


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(SessionState)


def pack_state(state: SessionState) -> bytes:
    """Returns the state as MessagePack.

    >>> unpack_state(pack_state(new_state())) == new_state()
    True
    """
    return _encoder.encode(state)


def unpack_state(value: bytes) -> SessionState:
    """The inverse of `pack_state`. Raises msgspec.DecodeError on other bytes."""
    return _decoder.decode(value)
