"""One word of the shop about an item: a record of the topic `items`, read, checked and written.

The key is the item's id, the value a JSON object; no value takes the word back. Fields that are not
named here are ignored.
"""

from __future__ import annotations

import math
from typing import Annotated

import msgspec

MAX_WORD_BYTES = 65_536
# Of a category's path; each level is a category of its own.
MOST_LEVELS, MOST_PATH = 32, 1024
MAX_ID_BYTES = 256
# Why a record is no word about an item.
KEY, SIZE, JSON, PRICE, CATEGORY, TIMES = REASONS = ("key", "size", "json", "price", "category", "times")
SEPARATOR = "/"
Text = Annotated[str, msgspec.Meta(min_length=1)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_999)]


class RejectedWord(Exception):
    """A record that is no word about an item; `reason` is one of REASONS."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


class ItemWord(msgspec.Struct, omit_defaults=True, gc=False):
    """What is known of an item. `category` is a path from the root, "home/kitchen" or a list of names.

    An item is available from `available_from_ms` until before `available_until_ms`, by the wall clock,
    where `available` does not say otherwise.

    >>> ItemWord(category=["home", "kitchen"]).category_path
    'home/kitchen'
    """

    title: str | None = None
    brand: Text | None = None
    category: Text | list[Text] | None = None
    price: float | None = None
    available: bool = True
    available_from_ms: Milliseconds | None = None
    available_until_ms: Milliseconds | None = None
    attributes: dict[str, str | float | bool] | None = None
    image: str | None = None
    url: str | None = None

    @property
    def category_path(self) -> str | None:
        """The category as one text, its names joined by "/"; None without one."""
        if isinstance(self.category, list):
            return SEPARATOR.join(self.category) or None
        return self.category


_decoder = msgspec.json.Decoder(ItemWord)
_encoder = msgspec.json.Encoder()


def decode_word(key: bytes | None, value: bytes | None) -> tuple[str, ItemWord | None]:
    """The item's id and the word about it, None where the word is taken back. Raises RejectedWord.

    >>> decode_word(b"sku-1", b'{"title": "White mug", "available": false}')[1].available
    False
    >>> decode_word(b"sku-1", None)
    ('sku-1', None)
    """
    if not key or len(key) > MAX_ID_BYTES:
        raise RejectedWord(KEY, f"an item's id has 1 to {MAX_ID_BYTES} bytes")
    try:
        item_id = key.decode()
    except UnicodeDecodeError:
        raise RejectedWord(KEY, "the id is not UTF-8") from None
    if value is None:
        return item_id, None
    if len(value) > MAX_WORD_BYTES:
        raise RejectedWord(SIZE, f"{len(value):,} bytes, at most {MAX_WORD_BYTES:,}")
    try:
        word = _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RejectedWord(JSON, str(error)) from None
    check_word(word)
    return item_id, word


def check_word(word: ItemWord) -> None:
    """Raise RejectedWord where the values of a word make no sense."""
    if word.price is not None and not (math.isfinite(word.price) and word.price >= 0):
        raise RejectedWord(PRICE, f"a price of {word.price}")
    path = (word.category_path or "").split(SEPARATOR)
    if len(path) > MOST_LEVELS or len(word.category_path or "") > MOST_PATH:
        most = f"{MOST_LEVELS} levels and {MOST_PATH} characters"
        raise RejectedWord(CATEGORY, f"a path of {len(path)} levels, {most} at most")
    if len(set(path)) < len(path):
        raise RejectedWord(CATEGORY, f"the path {word.category_path!r} comes back to where it was")
    from_ms, until_ms = word.available_from_ms, word.available_until_ms
    if from_ms is not None and until_ms is not None and until_ms <= from_ms:
        raise RejectedWord(TIMES, f"available from {from_ms} until {until_ms}")


def encode_word(word: ItemWord) -> bytes:
    """The word as JSON, without what it does not say.

    >>> encode_word(ItemWord(title="White mug", available=False))
    b'{"title":"White mug","available":false}'
    """
    return _encoder.encode(word)
