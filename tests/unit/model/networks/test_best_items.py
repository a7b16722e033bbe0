import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.networks.best_items import LEAST, best_items, kth_largest, lower_bounds
from model.stepping.top_k import top_of


@given(st.integers(1, 700), st.integers(1, 3), st.integers(1, 60), st.integers(0, 99))
def test_the_best_are_those_of_a_full_sort_and_equals_follow_their_index(
    items: int, rows: int, k: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    # Few different numbers, so that many are equal, of both signs and of very different sizes.
    scores = torch.randint(-9, 9, (rows, items), generator=generator) * 10.0 ** (seed % 9 - 4)
    hidden = torch.rand(rows, items, generator=generator) < 0.1
    scores = scores.float().masked_fill(hidden, -torch.inf)
    ids, best = best_items(scores, k)
    expected = scores.sort(dim=1, descending=True, stable=True)
    width = min(k, items)
    assert torch.equal(best[:, :width], expected.values[:, :width])
    assert torch.equal(ids[:, :width], expected.indices[:, :width].masked_fill(best[:, :width].isinf(), -1))
    assert (ids[:, width:] == -1).all() and best[:, width:].isneginf().all()


def test_the_best_are_the_same_however_the_scores_lie_in_memory() -> None:
    scores = torch.randn(5, 900, generator=torch.Generator().manual_seed(0))
    by_column = scores.t().contiguous().t()
    assert all(
        torch.equal(a, b) for a, b in zip(best_items(scores, 50), best_items(by_column, 50), strict=True)
    )


def test_what_is_no_number_is_not_among_the_best() -> None:
    scores = torch.full((2, 400), torch.nan)
    scores[1, 7] = -1.0
    ids, best = best_items(scores, 3)
    assert ids.tolist() == [[-1, -1, -1], [7, -1, -1]]
    assert best[0].isneginf().all()


@given(st.lists(st.integers(-0x8000, 0x7FFF), max_size=40), st.integers(1, 45))
def test_the_kth_largest_is_found_by_counting(values: list[int], k: int) -> None:
    expected = sorted(values, reverse=True)[k - 1] if k <= len(values) else LEAST
    assert kth_largest(np.array(values, np.int16), k) == expected


@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=20),
    st.integers(1, 20),
)
def test_a_bound_is_never_above_the_kth_largest(values: list[float], k: int) -> None:
    bound = lower_bounds(np.array(values, np.float32)[:, None], k)[0]
    if k > len(values):
        assert bound == -np.inf
    else:
        kth = np.float32(sorted(values, reverse=True)[k - 1])
        assert bound <= kth
        assert bound >= kth - abs(kth) / 64 - 1e-37


@given(st.integers(0, 40), st.integers(1, 25), st.integers(0, 99))
def test_few_scored_items_are_listed_as_a_stable_sort_lists_them(items: int, k: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.stack([torch.randperm(60, generator=generator)[:items] for _ in range(3)])
    scores = torch.randint(-3, 3, (3, items), generator=generator).float()
    scores[torch.rand(3, items, generator=generator) < 0.2] = -torch.inf
    excluded = torch.randint(-1, 60, (3, 4), generator=generator)
    unlisted = torch.rand(60, generator=generator) < 0.1
    # In double precision the general way is gone.
    expected = top_of((ids, scores.double()), k, excluded, unlisted)
    found = top_of((ids, scores), k, excluded, unlisted)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1].double(), expected[1].double())
