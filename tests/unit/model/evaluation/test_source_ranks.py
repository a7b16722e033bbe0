import numpy as np
import pytest

from model.config import ModelConfig
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.evaluation.rank_targets import rank_targets
from model.evaluation.source_ranks import evaluate_sources, rank_by_source
from model.networks.fused.fused_list import FusedList
from model.training.train import train

ITEMS = 40
CONFIG = ModelConfig(network="fused", hidden_size=8, epochs=1, negatives=16, batch_size=16)


def sessions_of(count: int, seed: int, unknown: float = 0.0) -> Sessions:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, 6, count)
    items = np.concatenate([(rng.integers(ITEMS) + 3 * np.arange(length)) % ITEMS for length in lengths])
    items = np.where(rng.random(len(items)) < unknown, -1, items)
    times = np.concatenate([n * 1_000 + np.arange(length) for n, length in enumerate(lengths)])
    return Sessions(
        np.r_[0, np.cumsum(lengths)], items, times, np.array([f"s{n}" for n in range(count)], object)
    )


@pytest.fixture(scope="module")
def fused() -> FusedList:
    training = sessions_of(300, 1)
    vocabulary = Vocabulary([f"i{n}" for n in range(ITEMS)], np.bincount(training.items, minlength=ITEMS))
    network = train(training, vocabulary, CONFIG).network
    assert isinstance(network, FusedList)
    return network


@pytest.mark.parametrize("with_unknown", [False, True])
@pytest.mark.parametrize("excluded", [False, True])
def test_each_source_ranks_the_targets_that_the_whole_list_ranks(
    fused: FusedList, with_unknown: bool, excluded: bool
) -> None:
    test = sessions_of(60, 2, unknown=0.2)
    counts_V = np.arange(ITEMS) if with_unknown else None
    whole = rank_targets(fused, test, exclude_session_items=excluded, popularity_V=counts_V)
    ranked = rank_by_source(fused, test, exclude_session_items=excluded, popularity_V=counts_V)
    assert ranked
    for ranks in ranked.values():
        assert ranks.sessions.tolist() == whole.sessions.tolist()
        assert (ranks.session_count, ranks.unknown) == (whole.session_count, whole.unknown)
    own = ranked["own items"].ranks[: test.known().pairs]
    assert not excluded or not own.any()
    assert ranked["next items"].evaluation().recall > 0.3


def test_a_source_without_data_is_left_out(fused: FusedList) -> None:
    single = Sessions(np.arange(31), np.arange(30), np.arange(30), np.array([f"s{n}" for n in range(30)]))
    fused.sources.fit(single)
    found = evaluate_sources(fused, sessions_of(20, 2))
    fused.sources.fit(sessions_of(300, 1))
    # Sessions of one event say nothing of what follows, or of what is near.
    assert found.keys() == {"network", "neighbours", "own items"}
