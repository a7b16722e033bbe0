"""Rows that stand twice, in chunks cut anywhere."""

from __future__ import annotations

from itertools import pairwise

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.reading.repeats import Repeats

KEYS = ["second", "item", "price", "session"]
TEXTS = st.sampled_from(["", "a", "b", "å", "a\n"])
ROWS = st.lists(st.tuples(st.integers(0, 3), TEXTS, st.sampled_from([0.5, 2.0]), TEXTS), max_size=40)
CUTS = st.lists(st.integers(0, 40), max_size=5)


def in_chunks(frame: pd.DataFrame, cuts: list[int]) -> list[pd.DataFrame]:
    edges = sorted({0, len(frame), *(min(cut, len(frame)) for cut in cuts)})
    return [frame.iloc[start:end] for start, end in pairwise(edges)]


@settings(deadline=None)
@given(ROWS, CUTS)
def test_rows_in_groups_repeat_as_in_one_piece(rows: list[tuple[object, ...]], cuts: list[int]) -> None:
    log = pd.DataFrame(rows, columns=KEYS).sort_values("second", kind="stable", ignore_index=True)
    repeats = Repeats(*KEYS)
    found = [repeats(chunk) for chunk in in_chunks(log, cuts)]
    assert [one for part in found for one in part.tolist()] == log.duplicated().tolist()
    assert [one for part in found for one in part.index.tolist()] == log.index.tolist()


@settings(deadline=None)
@given(ROWS, CUTS, st.data())
def test_rows_that_are_not_compared_neither_repeat_nor_are_repeated(
    rows: list[tuple[object, ...]], cuts: list[int], data: st.DataObject
) -> None:
    log = pd.DataFrame(rows, columns=KEYS).sort_values("second", kind="stable", ignore_index=True)
    compared = pd.Series(
        data.draw(st.lists(st.booleans(), min_size=len(log), max_size=len(log))), index=log.index, dtype=bool
    )
    repeats = Repeats(*KEYS)
    found = [repeats(chunk, compared[chunk.index]) for chunk in in_chunks(log, cuts)]
    expected = (log[compared].duplicated().reindex(log.index, fill_value=False)).tolist()
    assert [one for part in found for one in part.tolist()] == expected


def test_a_group_that_comes_back_after_another_is_not_remembered() -> None:
    repeats = Repeats("second", "item")
    chunks = [["1 a", "1 b"], ["1 a", "2 a"], ["1 a", "2 a"]]
    found = [
        repeats(pd.DataFrame([text.split() for text in chunk], columns=["second", "item"])).tolist()
        for chunk in chunks
    ]
    assert found == [[False, False], [True, False], [False, True]]


def test_a_missing_value_is_a_value() -> None:
    repeats = Repeats("second", "item")
    log = pd.DataFrame({"second": [1, 1, 1, 1], "item": ["a", None, None, "a"]})
    assert repeats(log.iloc[:2]).tolist() == [False, False]
    assert repeats(log.iloc[2:]).tolist() == [True, True]


@pytest.mark.parametrize("keys", [["second", "item"], KEYS])
def test_no_rows_have_no_repeats(keys: list[str]) -> None:
    repeats = Repeats(*keys)
    empty = pd.DataFrame({name: pd.Series(dtype="str") for name in keys})
    assert repeats(empty).tolist() == []
