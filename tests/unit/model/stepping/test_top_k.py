import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.evaluation.metrics import RankingMetrics
from model.stepping.top_k import rank_pessimistic, top_k
from model.training.negative_sampling import NegativeSampler


@given(st.integers(1, 3000), st.integers(1, 5), st.integers(1, 25), st.integers(0, 99))
def test_the_list_is_that_of_a_full_sort(items: int, rows: int, k: int, seed: int) -> None:
    scores = torch.randperm(rows * items, generator=torch.Generator().manual_seed(seed)).float()
    scores = scores.view(rows, items)
    ids, best = top_k(scores.clone(), k)
    expected = scores.sort(1, descending=True)
    width = min(k, items)
    assert torch.equal(ids[:, :width], expected.indices[:, :width])
    assert torch.equal(best[:, :width], expected.values[:, :width])
    assert (ids[:, width:] == -1).all()
    assert (best[:, width:] == -torch.inf).all()


@pytest.mark.parametrize("items", [5, 4000])
def test_excluded_items_are_not_listed(items: int) -> None:
    scores = torch.arange(items).float().repeat(2, 1)
    exclude = torch.tensor([[items - 1, items - 2], [-1, -1]])
    ids, _ = top_k(scores, 4, exclude)
    assert ids.tolist()[0][:3] == [items - 3, items - 4, items - 5]
    assert ids.tolist()[1] == [items - 1, items - 2, items - 3, items - 4]
    assert ids.tolist()[0][3] == (-1 if items == 5 else items - 6)


def test_the_target_ranks_after_its_equals() -> None:
    scores = torch.tensor([[3.0, 2.0, 2.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    assert rank_pessimistic(scores, torch.tensor([1, 0])).tolist() == [3, 4]
    assert rank_pessimistic(scores, torch.tensor([0, 3])).tolist() == [1, 4]


def test_recall_and_mrr_are_those_of_a_table_worked_by_hand() -> None:
    metrics = RankingMetrics(k=3)
    metrics.update(np.array([1, 3, 4, 0]))
    metrics.update(np.array([2]))
    assert metrics.count == 5
    assert metrics.recall == pytest.approx(3 / 5)
    assert metrics.mrr == pytest.approx((1 + 1 / 3 + 1 / 2) / 5)


def test_negatives_are_drawn_by_popularity_to_the_alpha() -> None:
    counts = np.array([1, 16, 81])
    sampler = NegativeSampler(counts, 0.5, 1000, np.random.default_rng(0))
    draws = np.concatenate([sampler.draw() for _ in range(2000)])
    np.testing.assert_allclose(np.bincount(draws) / len(draws), [1 / 14, 4 / 14, 9 / 14], atol=0.002)
