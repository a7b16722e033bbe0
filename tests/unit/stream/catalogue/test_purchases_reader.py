"""A topic of purchases that is another program's is left alone."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from stream.catalogue.purchases import Purchases, encode_purchase
from stream.catalogue.purchases_reader import ENOUGH_OF_OTHERS, PurchasesReader
from stream.settings import Settings

ORDER = (b"4711", b'{"order": 4711}')
OURS = encode_purchase("u1", "sku-7", 5)


class Record:
    def __init__(self, pair: tuple[bytes, bytes | None]) -> None:
        self._pair = pair

    def key(self) -> bytes:
        return self._pair[0]

    def value(self) -> bytes | None:
        return self._pair[1]


class Table:
    """A topic of these batches of records."""

    def __init__(
        self, reader: PurchasesReader, batches: Sequence[Sequence[tuple[bytes, bytes | None]]]
    ) -> None:
        self._reader, self._batches = reader, batches
        self.read, self.calls = 0, list[str]()

    def load(self) -> bool:
        for batch in self._batches:
            self.read += 1
            self._reader._apply(cast(Any, [Record(pair) for pair in batch]), "0-0")
        return True

    def start(self, on_failure: Callable[[BaseException], None]) -> None:
        self.calls.append("start")

    def stop(self) -> None:
        self.calls.append("stop")


def loaded(*batches: Sequence[tuple[bytes, bytes | None]]) -> tuple[Purchases, Table]:
    purchases = Purchases()
    reader = PurchasesReader(Settings(), purchases)
    reader._table = table = cast(Any, Table(reader, batches))
    reader.load()
    reader.start(lambda error: None)
    reader.stop()
    return purchases, table


def test_a_shops_topic_of_the_same_name_is_neither_kept_nor_followed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    purchases, table = loaded([ORDER, ORDER, OURS])
    assert (purchases.is_kept, len(purchases), purchases.report(), table.calls) == (False, 0, None, ["stop"])
    assert "2 of 3 records read of nextclick-purchases are no purchases" in caplog.text
    assert "NEXTCLICK_PURCHASES_TOPIC" in caplog.text


def test_of_a_large_topic_of_others_the_rest_is_not_read() -> None:
    purchases, table = loaded([ORDER] * ENOUGH_OF_OTHERS, [ORDER] * 10, [ORDER])
    assert (purchases.is_kept, table.read, table.calls) == (False, 2, ["stop"])


@pytest.mark.parametrize("records", [[], [OURS, ORDER], [OURS]])
def test_a_topic_of_purchases_is_kept_with_a_few_records_of_others(
    records: Sequence[tuple[bytes, bytes | None]],
) -> None:
    purchases, table = loaded(records)
    assert (purchases.is_kept, table.calls) == (True, ["start", "stop"])
