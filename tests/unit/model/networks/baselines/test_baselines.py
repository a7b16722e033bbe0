import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from model.config import ModelConfig
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.evaluation.rank_targets import evaluate
from model.networks.by_name import NETWORKS, build
from model.networks.model_version import ModelVersion
from model.networks.network import CountingNetwork, Network
from model.stepping.stepper import Stepper
from model.stepping.top_k import rank_of, top_of
from model.training.train import train

# Items a b c d e are 0 to 4; a minute between events, an hour between sessions.
LOG = ["abc", "abd", "bc", "ae", "cb"]
FEW = Vocabulary(["a", "b"], np.array([2, 1]))
# Those of items alone; what reads users too is tested by test_user_factorisation.py.
BUILT = {name: build(ModelConfig(network=name), FEW) for name in NETWORKS}
BASELINES = [
    name for name, made in BUILT.items() if isinstance(made, CountingNetwork) and made.columns == ("item",)
]


def sessions_of(log: Sequence[str]) -> Sessions:
    items = np.array(["abcde".index(item) for session in log for item in session])
    offsets = np.r_[0, np.cumsum([len(session) for session in log])]
    times = np.concatenate([3_600_000 * n + 60_000 * np.arange(len(s)) for n, s in enumerate(log)])
    return Sessions(offsets, items, times, np.array([f"s{n}" for n in range(len(log))], object))


SESSIONS = sessions_of(LOG)
VOCABULARY = Vocabulary(list("abcde"), np.bincount(SESSIONS.items, minlength=5))


def fitted(name: str, **settings: object) -> Network:
    config = ModelConfig.model_validate({"network": name, **settings})
    return train(SESSIONS, VOCABULARY, config).network


def scores_after(network: Network, session: str) -> dict[str, float]:
    """The listable items and their scores after the session's events, one step each."""
    state = network.initial_state(1)
    for item in session:
        scores, state = network.step({"item": torch.tensor(["abcde".index(item)])}, state)
    ids, values = top_of(scores, 5)
    pairs = zip(ids[0].tolist(), values[0].tolist(), strict=True)
    return {"abcde"[i]: value for i, value in pairs if i >= 0}


def test_pop_lists_by_count_and_equal_counts_by_index() -> None:
    # Counts: a 3, b 4, c 3, d 1, e 1.
    assert list(scores_after(fitted("pop"), "e")) == ["b", "a", "c", "d", "e"]


def test_session_pop_puts_the_sessions_own_items_first() -> None:
    assert list(scores_after(fitted("s-pop"), "dedc")) == ["d", "c", "e", "b", "a"]


def test_window_pop_counts_only_the_newest_part_and_the_whole_breaks_ties() -> None:
    # The newest event is the b of "cb"; a came 3,660 s before it, e 3,600 s.
    assert list(scores_after(fitted("window-pop", window_s=3661), "a")) == list("baced")
    assert list(scores_after(fitted("window-pop", window_s=3660), "a")) == list("bcead")
    assert list(scores_after(fitted("window-pop", window_s=3600), "a")) == list("bcade")


def test_transitions_count_what_came_next_and_break_ties_by_recency() -> None:
    scores = scores_after(fitted("transitions"), "ba")
    assert list(scores) == ["b", "e"]
    assert math.floor(scores["b"]) == 2
    assert math.floor(scores["e"]) == 1
    # After b came c twice and d once; c after b was seen last in the third session.
    assert list(scores_after(fitted("transitions"), "b")) == ["c", "d"]


def test_item_knn_divides_common_sessions_by_the_root_of_the_supports() -> None:
    # Sessions of a: 3, b: 4, c: 3; a and b share 2, b and c share 3, a and c share 1.
    scores = scores_after(fitted("item-knn", shrinkage=0), "b")
    assert scores == pytest.approx({"c": 3 / math.sqrt(12), "a": 2 / math.sqrt(12), "d": 1 / math.sqrt(4)})
    shrunk = scores_after(fitted("item-knn", shrinkage=5), "b")
    assert shrunk["d"] == pytest.approx(1 / math.sqrt(9 * 6))
    assert scores_after(fitted("item-knn", shrinkage=0, neighbours=1), "b").keys() == {"c"}


def test_the_decayed_item_knn_adds_up_the_session_with_falling_weights() -> None:
    network = fitted("decayed-item-knn", shrinkage=0, decay=0.5)
    scores = scores_after(network, "ab")
    weight = math.exp(-0.5)
    # a's neighbours are b (2), c (1), d (1), e (1); b's are a, c, d.
    assert scores["c"] == pytest.approx(3 / math.sqrt(12) + weight * 1 / 3)
    assert scores["b"] == pytest.approx(weight * 2 / math.sqrt(12))
    assert scores["e"] == pytest.approx(weight * 1 / math.sqrt(3))


def after_times(network: Network, session: str, seconds: Sequence[float]) -> dict[str, float]:
    """The scores after the session's items at these times; a negative time is not known."""
    state = network.initial_state(1)
    for item, second in zip(session, seconds, strict=True):
        time_ms = int(1_700_000_000_000 + 1000 * second) if second >= 0 else -1
        inputs = {"item": torch.tensor(["abcde".index(item)]), "event_time_ms": torch.tensor([time_ms])}
        scores, state = network.step(inputs, state)
    ids, values = top_of(scores, 5)
    return {"abcde"[i]: v for i, v in zip(ids[0].tolist(), values[0].tolist(), strict=True) if i >= 0}


def test_the_time_weighted_item_knn_forgets_by_time_and_not_by_events() -> None:
    network = fitted("time-weighted-item-knn", shrinkage=0, decay_time_s=120)
    weight = math.exp(-300 / 120)
    found = after_times(network, "ab", [0, 300])
    # a's neighbours are b (2), c (1), d (1), e (1); b's are a, c, d.
    assert found["c"] == pytest.approx(3 / math.sqrt(12) + weight * 1 / 3)
    assert found["b"] == pytest.approx(weight * 2 / math.sqrt(12))
    assert after_times(network, "ab", [0, 0])["b"] == pytest.approx(2 / math.sqrt(12))
    # What comes between takes nothing away, where it has no neighbour of its own.
    assert after_times(network, "aeb", [0, 299, 300])["c"] == pytest.approx(found["c"])


def test_the_time_weighted_item_knn_takes_late_events_and_those_without_a_time() -> None:
    network = fitted("time-weighted-item-knn", shrinkage=0, decay_time_s=120)
    # The b came later by the log, and 300 s earlier by its time: it is b that weighs less.
    late = after_times(network, "ab", [300, 0])
    assert late["b"] == pytest.approx(2 / math.sqrt(12))
    assert late["a"] == pytest.approx(math.exp(-300 / 120) * 2 / math.sqrt(12))
    assert after_times(network, "ab", [0, -1])["a"] == pytest.approx(2 / math.sqrt(12))
    assert after_times(network, "ab", [-1, -1]) == pytest.approx(after_times(network, "ab", [7, 7]))


def test_the_time_weighted_item_knn_is_evaluated_by_the_log_s_times() -> None:
    quick, slow = (fitted("time-weighted-item-knn", decay_time_s=seconds) for seconds in (1, 1e9))
    by_events = fitted("decayed-item-knn", decay=60)
    # A minute between events at T₀ = 1 s is a decay of 60 an event.
    assert evaluate(quick, SESSIONS) == evaluate(by_events, SESSIONS)
    assert evaluate(quick, SESSIONS) != evaluate(slow, SESSIONS)


def test_v_sknn_adds_the_similarities_of_the_sessions_that_hold_an_item() -> None:
    scores = scores_after(fitted("v-sknn"), "ab")
    # Weights: b 1, a 1/2. abc and abd: 3/2, bc and cb: 1, ae: 1/2.
    assert scores == pytest.approx({"b": 5, "c": 3.5, "a": 3.5, "d": 1.5, "e": 0.5})
    nearest = scores_after(fitted("v-sknn", neighbours=1), "ab")
    assert nearest.keys() == set("abd"), "of equally similar sessions the newer one counts"
    newest = scores_after(fitted("v-sknn", sampled_sessions=2), "ab")
    assert newest == pytest.approx({"b": 1, "c": 1, "a": 0.5, "e": 0.5})


def test_bpr_mf_scores_by_the_mean_of_the_sessions_vectors() -> None:
    network = fitted("bpr-mf", hidden_size=4, epochs=2)
    item, bias = network.get_buffer("item_VF"), network.get_buffer("bias_V")
    expected = item @ item[[0, 2]].mean(0) + bias
    scores = scores_after(network, "ac")
    assert scores == pytest.approx({"abcde"[v]: expected[v].item() for v in range(5)}, abs=1e-6)


def test_sequential_mf_reads_only_its_window() -> None:
    network = fitted("sequential-mf", hidden_size=4, epochs=2, window_events=2)
    window = network.get_buffer("input_VF")[[3, 1]].mean(0)
    expected = network.get_buffer("item_VF") @ window + network.get_buffer("bias_V")
    for session in ("bd", "ceabd"):
        scores = scores_after(network, session)
        assert scores == pytest.approx({"abcde"[v]: expected[v].item() for v in range(5)}, abs=1e-6)


@pytest.mark.parametrize("name", ["bpr-mf", "sequential-mf"])
def test_a_factorisation_learns_what_belongs_together(name: str) -> None:
    log = sessions_of(["abab", "cdcd"] * 40)
    vocabulary = Vocabulary(list("abcde"), np.array([80, 80, 80, 80, 1]))
    config = ModelConfig(network=name, hidden_size=8, epochs=20, learning_rate=0.1)
    network = train(log, vocabulary, config).network
    assert set(list(scores_after(network, "a"))[:2]) == {"a", "b"}
    assert set(list(scores_after(network, "c"))[:2]) == {"c", "d"}
    assert evaluate(network, log, k=2).recall == 1


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_steps_in_a_wave_as_it_does_alone(name: str) -> None:
    network = fitted(name, epochs=2)
    config = ModelConfig(network=name, epochs=2)
    stepper = Stepper(ModelVersion("v", config, VOCABULARY, network), device="cpu", k=4)
    histories = ["a", "bc", "bcd", "ea"]
    rebuilt = stepper.rebuild([{"item": np.array(["abcde".index(i) for i in h])} for h in histories])
    ids, scores, after = stepper.step({"item": np.array([1, 1, 1, 1])}, rebuilt)
    for row, history in enumerate(histories):
        alone = scores_after(network, f"{history}b")
        listed = {"abcde"[i]: s for i, s in zip(ids[row], scores[row], strict=True) if i >= 0}
        assert list(listed) == list(alone)[: len(listed)]
        assert listed == pytest.approx({item: alone[item] for item in listed}, rel=1e-5)
    assert after.shape == (4, stepper.layout.row_bytes)


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_comes_back_from_its_saved_tensors(name: str) -> None:
    network = fitted(name, epochs=2)
    again = build(ModelConfig(network=name, epochs=2), VOCABULARY)
    again.load_state_dict({n: t.clone() for n, t in network.state_dict().items()})
    assert scores_after(again, "ab") == scores_after(network, "ab")
    assert isinstance(again, CountingNetwork)
    broken = {n: t.double() if t.dtype != torch.float64 else t.int() for n, t in network.state_dict().items()}
    with pytest.raises(RuntimeError):
        again.load_state_dict(broken)


def test_neighbours_that_are_excluded_are_neither_listed_nor_ranked() -> None:
    scores = (torch.tensor([[3, 1, 4, -1]]), torch.tensor([[0.5, 2.0, 0.5, -torch.inf]]))
    ids, values = top_of(scores, 3, torch.tensor([[1, -1]]))
    assert ids.tolist() == [[3, 4, -1]]
    assert values[0, 2] == -torch.inf
    assert rank_of(scores, torch.tensor([4])).tolist() == [3], "after its equal"
    assert rank_of(scores, torch.tensor([1]), torch.tensor([[1, -1]])).tolist() == [0]
    assert rank_of(scores, torch.tensor([2])).tolist() == [0]
