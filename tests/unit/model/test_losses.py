import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from model.losses import SAMPLED_LOSSES, full_cross_entropy, repeats_of_targets, without_logq

# Targets 4, 7, 4, then two shared negatives: row 0 has three negatives (7, 9, 1), row 1 four.
CANDIDATES = [4, 7, 4, 9, 1]
LANES = 3


def sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))


def plain_cross_entropy(target: Tensor, negatives: list[Tensor], _: float) -> Tensor:
    return -torch.log(target.exp() / sum([r.exp() for r in negatives], target.exp()))


def plain_bpr(target: Tensor, negatives: list[Tensor], _: float) -> Tensor:
    return -sum([torch.log(sigmoid(target - r)) for r in negatives], torch.zeros(())) / len(negatives)


def plain_top1(target: Tensor, negatives: list[Tensor], _: float) -> Tensor:
    return sum([sigmoid(r - target) + sigmoid(r**2) for r in negatives], torch.zeros(())) / len(negatives)


def shares(negatives: list[Tensor]) -> list[Tensor]:
    total = sum([r.exp() for r in negatives], torch.zeros(()))
    return [r.exp() / total for r in negatives]


def plain_bpr_max(target: Tensor, negatives: list[Tensor], weight: float) -> Tensor:
    pairs = list(zip(shares(negatives), negatives, strict=True))
    ranked = sum([s * sigmoid(target - r) for s, r in pairs], torch.zeros(()))
    return -torch.log(ranked) + weight * sum([s * r**2 for s, r in pairs], torch.zeros(()))


def plain_top1_max(target: Tensor, negatives: list[Tensor], _: float) -> Tensor:
    pairs = zip(shares(negatives), negatives, strict=True)
    return sum([s * (sigmoid(r - target) + sigmoid(r**2)) for s, r in pairs], torch.zeros(()))


PLAIN = {
    "cross-entropy": plain_cross_entropy,
    "bpr": plain_bpr,
    "top1": plain_top1,
    "bpr-max": plain_bpr_max,
    "top1-max": plain_top1_max,
}


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_a_loss_and_its_gradient_are_those_of_the_plain_formula(name: str, weight: float) -> None:
    plain: Callable[[Tensor, list[Tensor], float], Tensor] = PLAIN[name]
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(LANES, len(CANDIDATES), dtype=torch.float64, generator=generator).requires_grad_()
    repeats = repeats_of_targets(torch.tensor(CANDIDATES), LANES)
    loss = SAMPLED_LOSSES[name](scores, repeats, weight)
    rows = [
        plain(
            scores[i, i], [scores[i, j] for j, item in enumerate(CANDIDATES) if item != CANDIDATES[i]], weight
        )
        for i in range(LANES)
    ]
    expected = torch.stack(rows).mean()
    torch.testing.assert_close(loss, expected)
    (ours,) = torch.autograd.grad(loss, scores)
    (theirs,) = torch.autograd.grad(expected, scores)
    torch.testing.assert_close(ours, theirs)
    assert theirs.abs().sum() > 0


@pytest.mark.parametrize("name", PLAIN)
def test_a_row_whose_candidates_are_all_its_target_has_no_gradient(name: str) -> None:
    scores = torch.tensor([[1.0, -2.0]], requires_grad=True)
    loss = SAMPLED_LOSSES[name](scores, torch.ones(1, 2, dtype=torch.bool), 0.5)
    (gradient,) = torch.autograd.grad(loss, scores)
    assert loss == 0
    assert (gradient == 0).all()


@pytest.mark.parametrize("name", PLAIN)
def test_extreme_scores_give_finite_losses(name: str) -> None:
    scores = torch.tensor([[-80.0, 90.0, 0.0]], requires_grad=True)
    loss = SAMPLED_LOSSES[name](scores, torch.tensor([[True, False, False]]), 0.0)
    (gradient,) = torch.autograd.grad(loss, scores)
    assert loss.isfinite()
    assert gradient.isfinite().all()


def test_full_cross_entropy_is_minus_the_log_of_the_targets_share() -> None:
    scores = torch.tensor([[0.0, math.log(2), math.log(5)]])
    assert full_cross_entropy(scores, torch.tensor([2])).item() == pytest.approx(math.log(8 / 5))


def test_with_logq_the_sampled_gradient_is_on_average_that_of_all_items() -> None:
    generator = torch.Generator().manual_seed(1)
    items, draws, target = 6, 4000, 2
    scores_V = torch.randn(items, generator=generator)
    probability = torch.tensor([0.3, 0.25, 0.05, 0.2, 0.15, 0.05])
    negatives = torch.multinomial(probability, draws, replacement=True, generator=generator)
    candidates = torch.cat([torch.tensor([target]), negatives])
    # The target is no draw: it stands for itself, and its copies are left out.
    expected = torch.cat([torch.ones(1), draws * probability[negatives]])
    corrected = without_logq(scores_V[candidates][None], expected.log(), 1.0)
    loss = SAMPLED_LOSSES["cross-entropy"](corrected, repeats_of_targets(candidates, 1), 0.0)
    assert loss.item() == pytest.approx(
        full_cross_entropy(scores_V[None], torch.tensor([target])).item(), abs=0.05
    )
