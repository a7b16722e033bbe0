import numpy as np
import torch

from model.networks.fused.ranker import Ranker
from model.networks.fused.source_arrays import FEATURES, NETWORK_RANK, NEXT_RANK, OWN_AGE


def lists(truth: int, count: int = 3000, seed: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Lists of six candidates with features by chance, where the largest value of `truth` comes next."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.rand(count, 6, len(FEATURES), generator=generator)
    return features, torch.full((count,), 6), features[:, :, truth].argmax(1)


def hits(ranker: Ranker, truth: int) -> float:
    features, count, place = lists(truth, seed=4)
    scores = ranker.scores(features.numpy(), count.numpy())
    return float((scores.argmax(1) == place.numpy()).mean())


def test_the_ranker_finds_the_source_that_is_right() -> None:
    for truth in (NETWORK_RANK, NEXT_RANK, OWN_AGE):
        ranker = Ranker()
        losses = ranker.fit(*lists(truth), seed=1)
        assert losses[-1] < losses[0]
        assert hits(ranker, truth) > 0.8


def test_a_source_that_turned_bad_is_believed_less_after_the_next_training() -> None:
    features, count, place = lists(NETWORK_RANK)
    ranker = Ranker()
    ranker.fit(features, count, place, seed=1)
    assert hits(ranker, NETWORK_RANK) > 0.8
    ranker.fit(*lists(NEXT_RANK), seed=1)
    assert hits(ranker, NETWORK_RANK) < 0.5
    assert hits(ranker, NEXT_RANK) > 0.8


def test_scores_equal_the_equation_and_padding_is_minus_infinity() -> None:
    ranker = Ranker()
    features, count, place = lists(NEXT_RANK)
    ranker.fit(features, count, place, seed=1)
    features_BCF, count_B = features[:2].numpy(), np.array([6, 2])
    weight_FH, bias_H, output_H = (
        tensor.numpy() for tensor in (ranker.weight_FH, ranker.bias_H, ranker.output_H)
    )
    expected = np.maximum(features_BCF @ weight_FH + bias_H, 0) @ output_H
    scores_BC = ranker.scores(features_BCF, count_B)
    np.testing.assert_allclose(scores_BC[0], expected[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(scores_BC[1, :2], expected[1, :2], rtol=1e-4, atol=1e-4)
    assert (scores_BC[1, 2:] == -np.inf).all()


def test_equal_seeds_give_equal_weights() -> None:
    one, two = Ranker(), Ranker()
    one.fit(*lists(OWN_AGE), seed=1)
    two.fit(*lists(OWN_AGE), seed=1)
    assert torch.equal(one.weight_FH, two.weight_FH)


def test_before_it_has_learned_the_ranker_adds_up_the_sources_ranks() -> None:
    features_BCF = np.zeros((1, 3, len(FEATURES)), np.float32)
    features_BCF[0, :, NETWORK_RANK] = 0.2, 0.5, 0.4
    features_BCF[0, :, NEXT_RANK] = 0.9, 0.3, 0
    np.testing.assert_allclose(Ranker().scores(features_BCF, np.array([3]))[0], [1.1, 0.8, 0.4], rtol=1e-6)
