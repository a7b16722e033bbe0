import logging
from typing import Any, cast

import pytest
from confluent_kafka import Message

from stream.catalogue.catalogue import Catalogue
from stream.catalogue.item_word import ItemWord
from stream.catalogue.items_reader import REPORT_REJECTED_EVERY_S, WordsDecoder


class Record:
    def __init__(self, key: bytes | None, value: bytes | None) -> None:
        self._key, self._value = key, value

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes | None:
        return self._value

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 7


def records(*pairs: tuple[bytes | None, bytes | None]) -> list[Message]:
    return cast("list[Message]", [Record(key, value) for key, value in pairs])


def test_a_bad_record_is_counted_and_logged_once_a_minute_and_the_last_good_word_stays(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    now = [0.0]
    catalogue = Catalogue()
    decoder = WordsDecoder(catalogue, "items", now_s=lambda: now[0])
    good = decoder.decode(records((b"a", b'{"available": false}')))
    catalogue.apply(good, "0-0")
    bad: list[tuple[bytes | None, bytes | None]] = [
        (b"a", b'{"price": -1}'), (b"a", b"nonsense"), (None, b"{}"), (b"a", b'{"price": NaN}'),
    ]  # fmt: skip
    assert decoder.decode(records(*bad)) == []
    assert catalogue.is_unlisted("a")
    assert dict(catalogue.reading.rejected) == {"price": 1, "json": 2, "key": 1}
    assert catalogue.reading.words == 1
    assert len(caplog.records) == 1
    now[0] = REPORT_REJECTED_EVERY_S
    decoder.decode(records(bad[0]))
    fields: Any = caplog.records[1]
    assert len(caplog.records) == 2 and fields.fields["rejected"] == 4


def test_the_words_of_a_batch_keep_their_order() -> None:
    decoder = WordsDecoder(Catalogue(), "items")
    words = decoder.decode(records((b"a", b'{"title": "x"}'), (b"b", None), (b"a", None)))
    assert words == [("a", ItemWord("x")), ("b", None), ("a", None)]
