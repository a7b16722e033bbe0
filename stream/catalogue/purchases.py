"""What each user has bought, whichever session it was in: its topic as a table in memory.

Sessions of one user lie in different partitions, so a purchase is a record of its own, which its worker
sends with the lists of the wave and every worker reads. The key is user and item, so that compaction keeps
the newest purchase of each pair and no writer has to know what another one has written.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

import msgspec

from stream.events import MAX_EVENT_TIME_MS

MOST_ITEMS = 50  # of a user, the newest by event time
MOST_USERS = 1_000_000  # those whose newest purchase was read last
DAY_MS = 86_400_000
# Why a record is no purchase.
KEY, VALUE = REASONS = ("key", "value")
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class Pair(NamedTuple):
    """The key of a record."""

    user_id: Id
    item_id: Id


class Bought(msgspec.Struct):
    """The value of a record: when, in event time."""

    event_time_ms: Annotated[int, msgspec.Meta(ge=0, le=MAX_EVENT_TIME_MS)]


class RejectedPurchase(Exception):
    """A record that is no purchase; `reason` is one of REASONS."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


# An item of a user, and when it was bought: plain tuples, which are read twice as fast as named ones.
Kept = tuple[str, int]
_pair_decoder = msgspec.json.Decoder(Pair)
_value_decoder = msgspec.json.Decoder(Bought)
_kept_decoder = msgspec.msgpack.Decoder(list[Kept])


def encode_purchase(user_id: str, item_id: str, event_time_ms: int | None) -> tuple[bytes, bytes | None]:
    """Key and value of a record; None for a time takes the purchase back.

    >>> encode_purchase("u1", "sku-7", 5)
    (b'["u1","sku-7"]', b'{"event_time_ms":5}')
    """
    value = None if event_time_ms is None else msgspec.json.encode(Bought(event_time_ms))
    return msgspec.json.encode((user_id, item_id)), value


def decode_purchase(key: bytes | None, value: bytes | None) -> tuple[Pair, int | None]:
    """The inverse of `encode_purchase`. Raises RejectedPurchase."""
    try:
        pair = _pair_decoder.decode(key or b"")
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise RejectedPurchase(KEY) from None
    if value is None:
        return pair, None
    try:
        return pair, _value_decoder.decode(value).event_time_ms
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise RejectedPurchase(VALUE) from None


@dataclass
class PurchaseReading:
    """How far the topic is read: records applied and rejected; `lag` is None where there is no topic."""

    records: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    lag: int | None = None
    checked_s: float = 0.0


class Purchases:
    """The newest purchases of each user. One thread writes, any reads: what is kept of a user is replaced.

    `is_kept` says whether there is a topic, so that purchases are written at all.

    >>> purchases = Purchases()
    >>> purchases.add("u1", "sku-7", 5_000)
    >>> purchases.since("u1", 4_000), purchases.since("u1", 6_000), purchases.since("u2", 0)
    (['sku-7'], [], [])
    """

    def __init__(self, most_users: int = MOST_USERS) -> None:
        self.is_kept = False
        self.reading = PurchaseReading()
        self.most_users = most_users
        self._by_user: OrderedDict[str, bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_user)

    @property
    def is_of_others(self) -> bool:
        """Whether most records are no purchases: the topic is another program's, of the same name."""
        return self.reading.rejected.total() > self.reading.records

    def give_up(self) -> None:
        """Keep nothing, as without a topic."""
        self.is_kept, self.reading.lag = False, None
        self._by_user.clear()

    def report(self) -> dict[str, object] | None:
        """What is known, None where there is no topic of purchases."""
        if self.reading.lag is None:
            return None
        return {
            "users": len(self._by_user),
            "rejected": dict(self.reading.rejected),
            "lag": self.reading.lag,
        }

    def since(self, user_id: str, since_ms: int) -> list[str]:
        """The items that the user has bought at `since_ms` or later, the newest last."""
        return [item_id for item_id, time_ms in self._of(user_id) if time_ms >= since_ms]

    def time_of(self, user_id: str, item_id: str, event_time_ms: int) -> int:
        """When a purchase is to be kept as: a late event takes nothing from a newer one of the same item."""
        known = [time_ms for item, time_ms in self._of(user_id) if item == item_id]
        return max([event_time_ms, *known])

    def add(self, user_id: str, item_id: str, event_time_ms: int) -> None:
        """Keep a purchase; the newest time counts where the item is kept already."""
        times = dict[str, int](self._of(user_id))
        times[item_id] = max(event_time_ms, times.get(item_id, 0))
        newest = sorted(times.items(), key=lambda one: one[1])[-MOST_ITEMS:]
        self._put(user_id, newest)

    def remove(self, user_id: str, item_id: str) -> None:
        """Forget a purchase."""
        left = [kept for kept in self._of(user_id) if kept[0] != item_id]
        if left:
            self._by_user[user_id] = msgspec.msgpack.encode(left)
        else:
            self._by_user.pop(user_id, None)

    def apply(self, records: Iterable[tuple[bytes | None, bytes | None]]) -> None:
        """Apply records in their order; one that is no purchase is counted by its reason."""
        for key, value in records:
            try:
                pair, time_ms = decode_purchase(key, value)
            except RejectedPurchase as rejected:
                self.reading.rejected[rejected.reason] += 1
                continue
            self.reading.records += 1
            if time_ms is None:
                self.remove(*pair)
            else:
                self.add(*pair, time_ms)

    def _of(self, user_id: str) -> list[Kept]:
        packed = self._by_user.get(user_id)
        return [] if packed is None else _kept_decoder.decode(packed)

    def _put(self, user_id: str, kept: list[Kept]) -> None:
        self._by_user[user_id] = msgspec.msgpack.encode(kept)
        self._by_user.move_to_end(user_id)
        if len(self._by_user) > self.most_users:
            self._by_user.popitem(last=False)
