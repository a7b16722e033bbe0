"""Ids that a Parquet file holds as floats, as pandas writes them where one is missing."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from replay.datasets.event_files import EventFiles

TIMES = [1_700_000_000_000 + n for n in range(3)]


def items(path: Path, values: pa.Array, **columns: list[float]) -> list[str]:
    log = {"session_id": [1, 2, 3], "item_id": values, "timestamp": TIMES, **columns}
    pq.write_table(pa.table(log), path)
    found = EventFiles([path], on_error="skip").load().sort_values("event_time_ms")["item_id"]
    return [str(item) for item in found]


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()], ids=str)
def test_whole_floats_are_integers(tmp_path: Path, kind: pa.DataType) -> None:
    values = pa.array([4.0, -5.0, 2.5], pa.float64()).cast(kind)
    assert items(tmp_path / "log.parquet", values) == ["4", "-5", "2.5"]


def test_a_fraction_keeps_the_digits_of_its_width(tmp_path: Path) -> None:
    assert items(tmp_path / "log.parquet", pa.array([0.1, 4.0, 2.75], pa.float32())) == ["0.1", "4", "2.75"]


def test_a_large_float_keeps_every_digit_it_has(tmp_path: Path) -> None:
    values = pa.array([1.0000000000000004e16, 9007199254740991.0, 123456789.0])
    found = items(tmp_path / "log.parquet", values)
    assert found == ["10000000000000004", "9007199254740991", "123456789"]


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_missing_id_is_no_item_and_its_neighbours_stay_integers(
    tmp_path: Path, missing: float | None
) -> None:
    assert items(tmp_path / "log.parquet", pa.array([7.0, missing, 8.0], pa.float64())) == ["7", "8"]


def test_a_price_that_is_not_a_number_keeps_the_event(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    assert items(path, pa.array([7, 8, 9]), price=[2.5, float("nan"), 4.0]) == ["7", "8", "9"]
    prices = EventFiles([path]).load().sort_values("event_time_ms")["price"]
    assert prices.equals(pd.Series([2.5, None, 4.0], prices.index, prices.dtype))
