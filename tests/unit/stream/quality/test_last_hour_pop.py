import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.quality.cells import UNIT
from stream.quality.last_hour_pop import WindowPopularity

BUCKET_MS = 300_000


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 25 * BUCKET_MS)), max_size=120),
    st.integers(0, 30 * BUCKET_MS),
    st.lists(st.integers(0, 40), max_size=4),
)
def test_counts_are_those_of_the_hour_and_equals_share_the_places(
    clicks: list[tuple[int, int]], end_ms: int, masked: list[int]
) -> None:
    popularity = WindowPopularity()
    now_ms = 0
    for item, time_ms in clicks:
        now_ms = max(now_ms, time_ms)
        popularity.advance(now_ms)
        popularity.count(f"i{item}", time_ms)
    now_ms = max(now_ms, end_ms)
    popularity.advance(now_ms)
    first = now_ms // BUCKET_MS - 11
    counts = Counter(item for item, time_ms in clicks if time_ms // BUCKET_MS >= first and item not in masked)
    for item in range(41):
        count = counts[item]
        above = sum(other > count for other in counts.values())
        tied = sum(other == count for other in counts.values())
        places = range(above + 1, above + tied + 1) if count else ()
        hit = sum(place <= 20 for place in places) / max(1, tied)
        reciprocal = sum(1 / place for place in places if place <= 20) / max(1, tied)
        found = popularity.expected(f"i{item}", tuple(f"i{other}" for other in masked))
        assert found[0] / UNIT == pytest.approx(hit, abs=1e-8)
        assert found[1] / UNIT == pytest.approx(reciprocal, abs=1e-8)


def test_the_expectation_is_the_mean_over_all_orders_of_equals() -> None:
    popularity = WindowPopularity()
    popularity.advance(0)
    above, tied = [f"a{n}" for n in range(18)], ["x", "y", "z", "w"]
    for item in (*above, *above, *tied):
        popularity.count(item, 0)
    orders = [[*above, *order] for order in itertools.permutations(tied)]
    ranks = [order.index("x") + 1 for order in orders]
    hits = sum(rank <= 20 for rank in ranks) / len(ranks)
    reciprocals = sum(1 / rank for rank in ranks if rank <= 20) / len(ranks)
    found = popularity.expected("x")
    assert found[0] / UNIT == pytest.approx(hits)
    assert found[1] / UNIT == pytest.approx(reciprocals, abs=1e-8)


def test_nothing_is_kept_of_what_the_hour_has_left() -> None:
    popularity = WindowPopularity()
    for minute in range(600):
        popularity.advance(minute * 60_000)
        for n in range(3):
            popularity.count(f"i{minute}-{n}", minute * 60_000)
            popularity.count("always", minute * 60_000)
    assert len(popularity.counts) == 60 * 3 + 1
    assert popularity.counts.largest == 60 * 3
    popularity.advance(10_000 * 60_000)
    assert len(popularity.counts) == popularity.counts.largest == 0
