from pathlib import Path

import numpy as np
import pytest

from model.inspection.proposals import proposals
from model.networks.fused.source_arrays import SOURCES
from model.networks.model_version import ModelVersion
from model.registry.registry import Registry
from model.stepping.stepper import Stepper
from tests.conftest import train_small
from tests.harness.markov_shoppers import markov_shoppers


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelVersion:
    log = markov_shoppers(sessions=200, items=60, seed=3)
    return train_small(log, Registry(tmp_path_factory.mktemp("r")), network="fused")


def test_each_listed_item_has_the_sources_whose_own_lists_hold_it(model: ModelVersion) -> None:
    stepper = Stepper(model, device="cpu", wave_size=4, scoring="exact")
    items = np.array([3, 14, 3, 9])
    found = proposals(stepper, {"item": items})
    rows = stepper.rebuild([{"item": items[:-1]}])
    _, _, _, lists_BSk = stepper.step_by_source({"item": items[-1:]}, rows)
    assert lists_BSk is not None
    for source, list_k in zip(SOURCES, lists_BSk[0].tolist(), strict=True):
        listed = [item for item in list_k if item >= 0]
        for rank, item in enumerate(listed, 1):
            assert (source, rank) in [(one.source, one.rank) for one in found[item]]
    own = {item: one for item in (3, 14, 9) for one in found[item] if one.source == "own items"}
    # The newest of equal events is named.
    assert {item: (one.rank, one.event) for item, one in own.items()} == {9: (1, 3), 3: (2, 2), 14: (3, 1)}
    for one in (one for listed in found.values() for one in listed if one.source == "next items"):
        assert one.event == 3
    near = [one.event for listed in found.values() for one in listed if one.source == "near items"]
    assert near
    assert all(event in (1, 2, 3) for event in near)


def test_a_plain_network_has_no_sources(tmp_path: Path) -> None:
    model = train_small(markov_shoppers(sessions=50, items=60, seed=3), Registry(tmp_path))
    assert proposals(Stepper(model, device="cpu"), {"item": np.array([3])}) == {}
