"""What is read out of a state is what the step that made it listed."""

from typing import Any

import numpy as np
import pytest
import torch

from model.stepping.read_out import best_items, candidate_scores, output_of_event, output_of_state
from tests.unit.model.inspection.test_similar_items import NETWORKS, stepper_of

OTHERS: list[dict[str, Any]] = [
    {"network": "recurrent", "stack": ("dense-8",)},
    {"network": "pop"},
]


def columns_of(names: tuple[str, ...], items: list[int]) -> dict[str, Any]:
    columns: dict[str, Any] = {name: np.full(len(items), None, object) for name in names}
    return {**columns, "item": np.array(items)}


@pytest.mark.parametrize("config", NETWORKS, ids=lambda config: "-".join(map(str, config.values())))
def test_the_list_of_a_state_is_that_of_its_step(config: dict[str, Any]) -> None:
    stepper = stepper_of(config)
    names = stepper.network.columns
    rows = stepper.rebuild([columns_of(names, [3, 5])])
    masked = np.array([3, 5, 2])
    ids, scores, after = stepper.step(columns_of(names, [2]), rows, masked[None])
    for output_BH in (
        output_of_state(stepper, after),
        output_of_event(stepper, columns_of(names, [2]), rows),
    ):
        assert output_BH is not None
        found, values = best_items(stepper, output_BH, stepper.k, masked)
        assert found.tolist() == ids[0][ids[0] >= 0].tolist()
        np.testing.assert_array_equal(values, scores[0][: len(values)])
        of_listed = candidate_scores(stepper, output_BH, found[::-1].copy())
        np.testing.assert_allclose(of_listed.scores_C[::-1], values, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("config", OTHERS, ids=lambda config: "-".join(map(str, config.values())))
def test_a_network_whose_output_is_not_in_its_state_takes_the_last_event_again(
    config: dict[str, Any],
) -> None:
    stepper = stepper_of(config)
    columns = columns_of(stepper.network.columns, [2])
    ids, _, after = stepper.step(columns, stepper.initial_rows(1))
    assert output_of_state(stepper, after) is None
    output_BH = output_of_event(stepper, columns, stepper.initial_rows(1))
    assert best_items(stepper, output_BH, stepper.k, np.zeros(0, np.int64))[0].tolist() == ids[0].tolist()


def test_a_candidate_that_no_neighbour_is_has_no_score() -> None:
    stepper = stepper_of({"network": "transitions"})
    network: Any = stepper.network
    network.ids_VN = torch.tensor([[4, 7, -1]] * 30)
    network.scores_VN = torch.tensor([[2.0, 1.0, -torch.inf]] * 30)
    output_BH = output_of_event(stepper, {"item": np.array([2])}, stepper.initial_rows(1))
    scores = candidate_scores(stepper, output_BH, np.array([7, 3, 4])).scores_C
    assert scores[0] == 1.0 and np.isnan(scores[1]) and scores[2] == 2.0
    assert not len(candidate_scores(stepper, output_BH, np.zeros(0, np.int64)).scores_C)
