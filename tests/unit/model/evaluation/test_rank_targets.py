import math
from pathlib import Path

import numpy as np
import pytest
import torch

from model.comparison.compare import compare
from model.comparison.table import markdown
from model.config import ModelConfig
from model.data.sessions import Sessions
from model.data.splits import LogSplit, shuffled_split, split_sessions
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.evaluation.rank_targets import Measures, rank_targets
from model.networks.baselines.pop import Pop
from model.networks.recurrent import Recurrent

# Counts make POP's order a b c d.
VOCABULARY = Vocabulary(list("abcd"), np.array([4, 3, 2, 1]))


def sessions_of(log: list[str], alphabet: str = "abcd") -> Sessions:
    items = np.array([alphabet.find(item) for session in log for item in session])
    offsets = np.r_[0, np.cumsum([len(session) for session in log])]
    times = np.concatenate([3_600_000 * n + 60_000 * np.arange(len(s)) for n, s in enumerate(log)])
    return Sessions(offsets, items, times, np.array([f"s{n}" for n in range(len(log))], object))


def test_unknown_items_are_left_out_with_their_sessions_numbered_anew() -> None:
    ranked = rank_targets(Pop(VOCABULARY), sessions_of(["a", "a?b", "?c", "cda"]))
    assert ranked.unknown == 2
    assert ranked.session_count == 2
    order = np.lexsort((ranked.ranks, ranked.sessions))
    assert ranked.sessions[order].tolist() == [0, 1, 1]
    assert ranked.ranks[order].tolist() == [2, 1, 4]


def test_with_all_items_unknown_targets_are_missed_and_a_first_known_one_is_ranked_by_pop() -> None:
    ranked = rank_targets(
        Pop(VOCABULARY), sessions_of(["a", "a?b", "?c", "cda"]), popularity_V=VOCABULARY.counts
    )
    found = sorted(zip(ranked.sessions.tolist(), ranked.ranks.tolist(), strict=True))
    # Session 1: ? is missed, b is second of the list that stood before. Session 2: c is third of POP.
    assert found == [(1, 0), (1, 2), (2, 3), (3, 1), (3, 4)]
    assert ranked.session_count == 4
    assert ranked.evaluation().recall == 4 / 5


def test_a_softmax_has_the_cross_entropy_of_each_target_that_it_scores() -> None:
    torch.manual_seed(1)
    network = Recurrent(ModelConfig(network="recurrent", hidden_size=3, embedding_size=2), VOCABULARY).eval()
    ranked = rank_targets(
        network, sessions_of(["ab", "cd?", "a"]), popularity_V=VOCABULARY.counts, exclude_session_items=True
    )
    expected = []
    for first, target in ((0, 1), (2, 3)):
        scores, _ = network.step({"item": torch.tensor([first])}, network.initial_state(1))
        odds = np.exp(scores[0].detach().double().numpy())
        expected.append(-math.log(odds[target] / odds.sum()))
    assert ranked.losses is not None
    np.testing.assert_allclose(ranked.losses, expected, rtol=1e-5)
    assert len(ranked.ranks) == 3, "the unknown target has a rank, 0, and no cross-entropy"
    assert ranked.evaluation().loss == pytest.approx(np.mean(expected))
    assert rank_targets(Pop(VOCABULARY), sessions_of(["ab"])).losses is None
    bpr = Recurrent(ModelConfig(network="recurrent", loss="bpr"), VOCABULARY).eval()
    assert rank_targets(bpr, sessions_of(["ab"])).evaluation().loss is None


def test_lists_are_counted_and_excluded_items_are_not_among_them() -> None:
    ranked = rank_targets(
        Pop(VOCABULARY),
        sessions_of(["ab", "bc"]),
        exclude_session_items=True,
        measures=Measures(2, lists=True),
    )
    assert ranked.listed_V.tolist() == [1, 1, 2, 0]


def test_a_split_sends_whole_sessions_to_the_side_where_they_begin() -> None:
    sessions = sessions_of(["ab", "ac", "bd", "de"], alphabet="abcde")
    whole = Vocabulary(list("abcde"), np.array([2, 2, 1, 2, 1]))
    earlier, later, vocabulary = split_sessions(sessions, whole, test_from_ms=2 * 3_600_000)
    assert vocabulary.item_ids.tolist() == ["a", "b", "c"]
    assert vocabulary.counts.tolist() == [2, 1, 1]
    assert earlier.items.tolist() == [0, 1, 0, 2]
    assert later.items.tolist() == [1, -1, -1, -1]
    assert later.offsets.tolist() == [0, 2, 4]
    by_share = split_sessions(sessions, whole, test_fraction=0.5)
    assert by_share[0].items.tolist() == earlier.items.tolist()
    with pytest.raises(NextclickError, match="leaves 0 sessions before"):
        split_sessions(sessions, whole, test_from_ms=0)


def test_a_split_by_chance_draws_whole_sessions_of_all_times() -> None:
    whole = Vocabulary(list("abcd"), np.array([200, 100, 100, 100]))
    sessions = sessions_of(["abcda"] * 100)
    earlier, later, vocabulary = shuffled_split(sessions, whole, test_fraction=0.2, seed=0)
    assert (len(earlier), len(later)) == (80, 20)
    assert vocabulary.counts.tolist() == [160, 80, 80, 80]
    ids = [set(side.session_ids) for side in (earlier, later)]
    assert not ids[0] & ids[1]
    for side in (earlier, later):
        begins_ms = side.times_ms[side.offsets[:-1]]
        assert (np.diff(begins_ms) > 0).all(), "in their order"
    # Of 20 drawn from 100 the oldest is among the first 50 but by a chance of one in a million.
    assert later.times_ms.min() < earlier.times_ms.max() / 2
    again = shuffled_split(sessions, whole, test_fraction=0.2, seed=0)[1]
    other = shuffled_split(sessions, whole, test_fraction=0.2, seed=1)[1]
    assert set(again.session_ids) == ids[1] != set(other.session_ids)
    with pytest.raises(NextclickError, match="are 0"):
        shuffled_split(sessions, whole, test_fraction=0.001, seed=0)


def test_dwell_boosting_repeats_an_item_once_for_each_full_threshold() -> None:
    offsets = np.array([0, 3, 5])
    times = np.array([0, 149_999, 225_000, 0, 74_999])
    sessions = Sessions(offsets, np.array([0, 1, 2, 3, 0]), times, np.array(["s", "t"], object))
    boosted = sessions.boosted(75)
    assert boosted.items.tolist() == [0, 0, 1, 1, 2, 3, 0]
    assert boosted.offsets.tolist() == [0, 5, 7]


def test_a_comparison_has_each_model_beside_the_first(tmp_path: Path) -> None:
    from model.comparison.plots import comparison_plot

    training = sessions_of(["ab", "cd", "ab", "cd", "ab", "ba"])
    test = sessions_of(["ab", "cd", "ab", "ca?"])
    vocabulary = Vocabulary(list("abcd"), np.bincount(training.items))
    configs = {name: ModelConfig(network=name) for name in ("pop", "transitions")}
    configs["recurrent"] = ModelConfig(network="recurrent", stack=("gru-3",), embedding_size=2, epochs=2)
    compared = compare(configs, LogSplit(training, test, vocabulary), split="shuffled")
    pop, transitions, recurrent = compared.rows
    assert (compared.targets, compared.sessions, compared.unknown) == (4, 4, 1)
    # POP's order is a b c d: b second twice, d fourth, a first.
    assert pop.mrr.mean == pytest.approx((1 / 2 + 1 / 2 + 1 / 4 + 1) / 4)
    assert pop.recall[1].mean == 1 / 4
    assert pop.recall_difference is None
    assert transitions.recall[1].mean == 3 / 4
    assert transitions.mrr_difference is not None
    assert transitions.mrr_difference.mean == pytest.approx(3 / 4 - pop.mrr.mean)
    assert (pop.coverage, transitions.coverage) == (1, 2 / 4)
    assert pop.popularity == pytest.approx((4 + 4 + 2 + 2) / 4 / 4)
    text = markdown(compared)
    assert "| pop | 0.2500 [" in text
    assert "Split by chance" in text
    assert "| – | " in text, "POP is no softmax"
    assert (pop.loss, transitions.loss) == (None, None)
    assert recurrent.loss is not None
    assert recurrent.loss.low <= recurrent.loss.mean <= recurrent.loss.high
    assert [row.parameters for row in (pop, transitions)] == [0, 0]
    # Embedding, a GRU's two matrices and two biases, output table, bias.
    assert recurrent.parameters == 4 * 2 + 9 * (2 + 3 + 2) + 4 * 3 + 4
    assert (pop.events_per_s, transitions.events_per_s) == (None, None)
    assert recurrent.events_per_s == pytest.approx(2 * training.pairs / recurrent.training_seconds)
    assert "4 next events of 4 sessions; 1 events of items unknown" in text
    assert comparison_plot(compared).startswith(b"\x89PNG")


def test_an_unknown_network_is_refused_before_anything_is_trained() -> None:
    trained: list[str] = []
    configs = {"pop": ModelConfig(network="pop"), "gru5rec": ModelConfig(network="gru5rec")}
    with pytest.raises(NextclickError, match="no network 'gru5rec'"):
        compare(
            configs,
            LogSplit(sessions_of(["ab", "ab"]), sessions_of(["ab"]), VOCABULARY),
            progress=lambda name, _: trained.append(name),
        )
    assert not trained


def test_a_test_log_of_unknown_items_only_is_refused() -> None:
    with pytest.raises(NextclickError, match="no next event of a known item"):
        compare(
            {"pop": ModelConfig(network="pop")},
            LogSplit(sessions_of(["ab", "ab"]), sessions_of(["??"]), VOCABULARY),
        )
