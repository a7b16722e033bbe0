"""No list has an unlisted item: every network and baseline, every way to score, the fused list."""

import importlib.util

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.config import ModelConfig, Scoring
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.networks.by_name import NETWORKS
from model.networks.model_version import ModelVersion
from model.networks.network import GradientNetwork
from model.stepping.stepper import Stepper
from model.training.train import train
from tests.harness.random_networks import UNITS, model_of

ITEMS, SESSIONS, K = 60, 8, 20
HAS_FAISS = importlib.util.find_spec("faiss") is not None
Lists = tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]


def log() -> tuple[Sessions, Vocabulary]:
    rng = np.random.default_rng(2)
    offsets = np.arange(0, 1_201, 6)
    items = rng.integers(0, ITEMS, 1_200)
    sessions = Sessions(
        offsets,
        items,
        60_000 * np.arange(1_200),
        np.array([f"s{n}" for n in range(200)], object),
        {name: np.zeros(1_200, np.int64) for name in ("brand", "category", "user_id", "title")}
        | {"price": np.ones(1_200, np.float32)},
    )
    titles = {f"i{n}": f"title {n % 9} of {n}" for n in range(ITEMS)}
    return sessions, Vocabulary([f"i{n}" for n in range(ITEMS)], np.bincount(items, minlength=ITEMS), titles)


def version_of(name: str) -> ModelVersion:
    sessions, vocabulary = log()
    config = ModelConfig.model_validate({"network": name, "hidden_size": 8, "epochs": 1, "batch_size": 32})
    return ModelVersion("v", config, vocabulary, train(sessions, vocabulary, config).network.eval())


def lists_of(stepper: Stepper, exclude: npt.NDArray[np.int64] | None, k: int = K) -> Lists:
    columns: dict[str, npt.NDArray[np.generic]] = {"item": np.arange(SESSIONS)}
    for name in stepper.network.columns:
        columns.setdefault(name, np.full(SESSIONS, None, dtype=object))
    ids, scores, _ = stepper.step(columns, stepper.initial_rows(SESSIONS), exclude, k=k)
    return ids, scores


def mark(stepper: Stepper, items: npt.NDArray[np.int64], unlisted: npt.NDArray[np.bool_]) -> None:
    with stepper.lock.writing():
        stepper.unlisted.mark(items, unlisted)


def without(lists: Lists, unlisted: npt.NDArray[np.int64], k: int) -> list[list[int]]:
    """The lists of all items with the unlisted ones taken out."""
    return [[i for i in row.tolist() if i >= 0 and i not in unlisted][:k] for row in lists[0]]


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_the_list_of_every_network_is_that_of_all_items_without_the_unlisted(name: str) -> None:
    version, rng = version_of(name), np.random.default_rng(1)
    unlisted = rng.permutation(ITEMS)[:35]
    for exclude in (None, np.arange(SESSIONS)[:, None]):
        whole = lists_of(Stepper(version, device="cpu"), exclude, k=ITEMS)
        stepper = Stepper(version, device="cpu")
        mark(stepper, unlisted, np.ones(35, np.bool_))
        ids, scores = lists_of(stepper, exclude)
        assert not np.isin(ids, unlisted).any()
        expected = without(whole, unlisted, K)
        if name != "fused":
            # The ranker sees the network's proposals, which are others without the unlisted items.
            assert [[i for i in row.tolist() if i >= 0] for row in ids] == expected
        assert ((ids >= 0).sum(1) == [len(row) for row in expected]).all()
        for row, listed in zip(scores, expected, strict=True):
            assert (np.diff(row[: len(listed)]) <= 0).all() and (row[len(listed) :] == -np.inf).all()
        mark(stepper, unlisted, np.zeros(35, np.bool_))
        np.testing.assert_array_equal(lists_of(stepper, exclude)[0], whole[0][:, :K])


@pytest.mark.parametrize(
    "scoring",
    [
        "exact",
        "bfloat16",
        pytest.param("approximate", marks=pytest.mark.skipif(not HAS_FAISS, reason="faiss is optional")),
    ],
)
@settings(max_examples=12, deadline=None)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from([0.05, 0.5, 0.95, 0.999]), st.booleans()),
        min_size=1,
        max_size=4,
    ),
    bias=st.sampled_from([0.0, 30.0]),
)
def test_every_way_to_score_obeys_every_change(
    scoring: Scoring, changes: list[tuple[int, float, bool]], bias: float
) -> None:
    model = model_of(3_000, bias=bias)
    assert isinstance(model.network, GradientNetwork)
    stepper = Stepper(model, device="cpu", scoring=scoring)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(6, UNITS)).astype(np.float32).view(np.uint8)
    items = np.arange(6)
    marks = np.zeros(3_000, np.bool_)
    for seed, share, is_unlisted in changes:
        chosen = np.flatnonzero(np.random.default_rng(seed).random(3_000) < share)
        marks[chosen] = is_unlisted
        mark(stepper, chosen, np.full(len(chosen), is_unlisted))
        ids, scores, _ = stepper.step({"item": items}, rows)
        listable = int((~marks).sum())
        assert not marks[ids[ids >= 0]].any()
        assert ((ids >= 0).sum(1) == min(K, listable)).all()
        with torch.inference_mode():
            output, _ = model.network.advance({"item": torch.from_numpy(items)}, stepper.layout.unpack(rows))
            whole = model.network.score(output).numpy()
        whole[:, marks] = -np.inf
        best = -np.sort(-whole, axis=1)[:, :K]
        if scoring != "approximate":
            np.testing.assert_allclose(scores, best, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scoring", ["exact", "bfloat16"])
def test_an_unlisted_item_stays_so_when_the_prior_moves_and_when_the_tables_are_replaced(
    scoring: Scoring,
) -> None:
    model = model_of(400, prior_half_lives_s=(60.0,))
    network = model.network
    assert isinstance(network, GradientNetwork) and network.prior is not None
    stepper = Stepper(model, device="cpu", scoring=scoring)
    mark(stepper, np.array([7, 402]), np.array([True, True]))
    with torch.no_grad():
        network.prior.weight_K.fill_(20)
    network.prior.advance(np.full(10_000, 7), np.full(10_000, 1000), 1000)
    assert 7 not in stepper.step({"item": np.array([1])}, stepper.initial_rows(1))[0]

    table = torch.cat([network.get_parameter("item_VH").data, torch.ones(5, UNITS)])
    bias = torch.zeros(405)
    bias[[7, 402, 403]] = 1e4
    with stepper.lock.writing(), torch.inference_mode():
        stepper.set_tables(table, table, bias, torch.arange(400, 405))
    ids = stepper.step({"item": np.array([1])}, stepper.initial_rows(1))[0]
    assert ids[0, 0] == 403 and not np.isin(ids, [7, 402]).any()
    mark(stepper, np.array([402]), np.array([False]))
    assert set(stepper.step({"item": np.array([1])}, stepper.initial_rows(1))[0][0, :2]) == {402, 403}


def test_fewer_listable_items_than_a_list_is_long_are_all_listed() -> None:
    stepper = Stepper(model_of(100), device="cpu")
    mark(stepper, np.arange(95), np.ones(95, np.bool_))
    ids, scores, _ = stepper.step({"item": np.array([1])}, stepper.initial_rows(1))
    assert set(ids[0][:5]) == set(range(95, 100)) and (ids[0][5:] == -1).all()
    assert (scores[0][5:] == -np.inf).all()


def test_words_about_listed_items_cost_nothing() -> None:
    stepper = Stepper(model_of(100), device="cpu")
    mark(stepper, np.array([3, 700]), np.array([False, False]))
    assert stepper.unlisted.marks_V is None
