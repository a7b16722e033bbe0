import numpy as np
import pytest

from model.inspection.item_search import ItemSearch, recommend, session_columns
from model.inspection.leave_one_out import Attribution, attribute
from model.networks.model_version import ModelVersion
from model.registry.registry import Registry
from model.stepping.stepper import Stepper
from tests.conftest import train_small
from tests.harness.markov_shoppers import markov_shoppers


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelVersion:
    return train_small(
        markov_shoppers(sessions=200, items=60, seed=3), Registry(tmp_path_factory.mktemp("r"))
    )


@pytest.mark.parametrize(("exclude", "deterministic"), [(False, False), (True, True)])
def test_ranks_are_those_of_the_session_stepped_without_the_event(
    model: ModelVersion, exclude: bool, deterministic: bool
) -> None:
    search = ItemSearch(model.vocabulary)
    items = [search.item(index) for index in (3, 14, 15, 9)]
    columns = session_columns(model.network.columns, model.vocabulary, items)
    stepper = Stepper(model, device="cpu", k=10, wave_size=4, deterministic=deterministic, scoring="exact")
    found = attribute(stepper, columns, exclude_items=exclude, k=10)

    whole = Stepper(model, device="cpu", k=len(model.vocabulary), wave_size=1, scoring="exact")
    shown = recommend(whole, model, items, exclude_items=exclude)[:10]
    assert found.items_T.tolist() == [one.item.index for one in shown]
    np.testing.assert_allclose(found.scores_T, [one.score for one in shown], rtol=1e-4, atol=1e-6)
    hidden = {one.index for one in items} if exclude else set()
    for left_out in range(len(items)):
        rest = [item for place, item in enumerate(items) if place != left_out]
        # The mask stays that of the whole session: what was clicked is not what is asked about.
        order = [one.item.index for one in recommend(whole, model, rest, exclude_items=False)]
        order = [index for index in order if index not in hidden]
        assert found.ranks_NT[left_out].tolist() == [order.index(i) + 1 for i in found.items_T]


def test_the_cause_is_the_event_without_which_the_item_falls_furthest() -> None:
    ranks = np.array([[1, 7, 2, 0], [4, 2, 3, 0], [4, 9, 1, 5]])
    found = Attribution(np.arange(4), np.zeros(4, np.float32), ranks, depth=10)
    assert found.cause(0) == 2  # of two equally far the newer one
    assert found.cause(1) == 2
    assert found.cause(2) is None  # it is third, and falls without none
    assert found.cause(3) == 1  # not among the ten best without it


def test_without_its_only_event_a_session_has_no_list(model: ModelVersion) -> None:
    stepper = Stepper(model, device="cpu", k=5, scoring="exact")
    item = ItemSearch(model.vocabulary).item(7)
    columns = session_columns(model.network.columns, model.vocabulary, [item])
    found = attribute(stepper, columns, exclude_items=False, k=5)
    assert found.ranks_NT.tolist() == [[0] * 5]
    assert [found.cause(place) for place in range(5)] == [0] * 5
    with pytest.raises(ValueError, match="no event"):
        attribute(stepper, {"item": columns["item"][:0]}, exclude_items=False, k=5)
