import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.wave.arrangement import by_rules, with_pins

CANDIDATES = 30


def plainly(groups: list[list[int]], most: list[int], up: list[int], k: int) -> list[int]:
    """The same by plain means: candidates in their order after boosts, within caps, then those beyond."""
    order = sorted(range(len(up)), key=lambda n: (n - up[n], up[n] == 0))
    chosen: list[int] = []
    beyond: list[int] = []
    for n in order:
        full = any(
            group[n] >= 0 and sum(group[m] == group[n] for m in chosen) >= limit
            for group, limit in zip(groups, most, strict=True)
        )
        (beyond if full else chosen).append(n)
        if len(chosen) == k:
            break
    return (chosen + beyond)[:k]


@settings(deadline=None, max_examples=80)
@given(data=st.data(), caps=st.integers(0, 2), k=st.integers(1, 20), count=st.integers(0, CANDIDATES))
def test_lists_are_the_best_candidates_within_the_caps_and_filled_beyond_them(
    data: st.DataObject, caps: int, k: int, count: int
) -> None:
    rows = st.lists(st.integers(-1, 4), min_size=CANDIDATES, max_size=CANDIDATES)
    groups = [data.draw(rows) for _ in range(caps)]
    most = [data.draw(st.integers(1, 6)) for _ in range(caps)]
    boosted = data.draw(st.booleans())
    up = [max(0, n) for n in data.draw(rows)] if boosted else [0] * CANDIDATES
    places = by_rules(
        np.array([count, CANDIDATES]),
        np.array([up, up], np.int32) if boosted else None,
        np.array([[g, g] for g in groups], np.int32).reshape(caps, 2, CANDIDATES),
        np.array(most, np.int64),
        k,
    )
    for row, size in ((0, count), (1, CANDIDATES)):
        listed = [n for n in places[row].tolist() if n >= 0]
        expected = plainly([group[:size] for group in groups], most, up[:size], k)
        assert listed == expected
        assert len(listed) == min(k, size)


@given(
    items=st.lists(st.integers(0, 40), unique=True, max_size=20),
    pins=st.dictionaries(st.integers(1, 20), st.integers(0, 60), max_size=4),
    masked=st.sets(st.integers(0, 60), max_size=5),
)
def test_a_pinned_item_stands_at_its_place_once(
    items: list[int], pins: dict[int, int], masked: set[int]
) -> None:
    named = {str(item): place for place, item in pins.items()}
    listed = with_pins([str(n) for n in items], named.items(), {str(n) for n in masked})
    assert len(listed) == len(set(listed)) <= 20
    assert len(listed) >= len(items)
    for item, place in named.items():
        if item in {str(n) for n in masked}:
            assert (item in listed) <= (int(item) in items)
        elif len(items) == 20:
            assert listed[place - 1] == item
