from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from model.networks.baselines.item_counts import ItemCounts

items = st.integers(0, 8)


@given(st.lists(items, max_size=60), st.data(), st.sets(items, max_size=4))
def test_places_are_those_of_the_events_that_are_left(
    added: list[int], data: st.DataObject, hidden: set[int]
) -> None:
    counts, left = ItemCounts[int](), Counter(added)
    for item in added:
        counts.add(item)
    for item, count in Counter(added).items():
        gone = data.draw(st.integers(0, count))
        if gone:
            counts.remove(item, gone)
            left[item] -= gone
    left = +left
    assert len(counts) == len(left)
    assert counts.largest == max(left.values(), default=0)
    for item in range(9):
        others = [count for other, count in left.items() if other not in hidden]
        expected = (0, 0)
        if left[item] and item not in hidden:
            expected = (sum(c > left[item] for c in others), sum(c == left[item] for c in others))
        assert counts.place(item, hidden) == expected


def test_nothing_is_kept_of_what_was_removed() -> None:
    counts = ItemCounts[str]()
    for _ in range(3):
        counts.add("a")
    counts.remove("a", 3)
    assert len(counts) == counts.largest == 0
