import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.catalogue.item_word import (
    CATEGORY,
    JSON,
    KEY,
    MAX_WORD_BYTES,
    PRICE,
    SIZE,
    TIMES,
    ItemWord,
    RejectedWord,
    decode_word,
    encode_word,
)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (None, b"{}", KEY),
        (b"", b"{}", KEY),
        (b"\xff", b"{}", KEY),
        (b"i" * 257, b"{}", KEY),
        (b"i", b"", JSON),
        (b"i", b"[]", JSON),
        (b"i", b"null", JSON),
        (b"i", b'{"price": NaN}', JSON),
        (b"i", b'{"price": "12"}', JSON),
        (b"i", b'{"available": "no"}', JSON),
        (b"i", b'{"title": "\xff"}', JSON),
        (b"i", b'{"brand": ""}', JSON),
        (b"i", b'{"x":' + b"[" * 20_000, JSON),
        (b"i", b'{"category": ["a", ""]}', JSON),
        (b"i", b'{"available_until_ms": -1}', JSON),
        (b"i", b'{"price": -0.01}', PRICE),
        (b"i", b'{"category": "home/mugs/home"}', CATEGORY),
        (b"i", b'{"category": ["home", "mugs", "mugs"]}', CATEGORY),
        (b"i", b'{"category": [' + b",".join(b'"%d"' % level for level in range(1_100)) + b"]}", CATEGORY),
        (b"i", b'{"category": "' + b"x" * 1_025 + b'"}', CATEGORY),
        (b"i", b'{"available_from_ms": 5, "available_until_ms": 5}', TIMES),
        (b"i", b'"' + b"x" * MAX_WORD_BYTES + b'"', SIZE),
    ],
)
def test_a_record_that_is_no_word_is_rejected_by_its_reason(
    key: bytes | None, value: bytes, reason: str
) -> None:
    with pytest.raises(RejectedWord) as rejected:
        decode_word(key, value)
    assert rejected.value.reason == reason


def test_a_field_of_tomorrow_is_ignored_and_no_value_takes_the_word_back() -> None:
    value = json.dumps({"title": "mug", "warehouse": {"berlin": 7}}).encode()
    assert decode_word(b"i", value) == ("i", ItemWord("mug"))
    assert decode_word(b"i", None) == ("i", None)


texts = st.none() | st.text(min_size=1, max_size=9)


@given(
    title=texts,
    brand=texts,
    path=st.none() | st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4, unique=True),
    price=st.none() | st.floats(0, 1e9),
    available=st.booleans(),
    from_ms=st.none() | st.integers(0, 10**13),
    attributes=st.none()
    | st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.booleans() | st.floats(-9, 9)),
)
def test_a_word_comes_back_as_it_was_sent(
    title: str | None,
    brand: str | None,
    path: list[str] | None,
    price: float | None,
    available: bool,
    from_ms: int | None,
    attributes: dict[str, str | float | bool] | None,
) -> None:
    word = ItemWord(title, brand, path, price, available, from_ms, None, attributes, "image", "page")
    item_id, read = decode_word(b"i", encode_word(word))
    assert (item_id, read) == ("i", word)
    assert msgspec.json.decode(encode_word(ItemWord())) == {}
