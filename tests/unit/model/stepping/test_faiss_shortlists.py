import importlib.util
import sys

import numpy as np
import pytest
import torch

from model.config import ModelConfig
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.networks.model_version import ModelVersion
from model.networks.text_gru import TextGRU
from model.stepping import choose_shortlist as module
from model.stepping.choose_shortlist import choose_shortlist
from model.stepping.faiss_shortlists import ApproximateShortlist, NearestShortlist
from model.stepping.shortlist import Bfloat16Shortlist
from model.stepping.stepper import Stepper
from model.stepping.top_k import top_k
from tests.harness.random_networks import UNITS, assert_exact, model_of, network_of, outputs

HAS_FAISS = importlib.util.find_spec("faiss") is not None
needs_faiss = pytest.mark.skipif(not HAS_FAISS, reason="faiss-cpu is not installed; it is optional")
SIZE = 24
UNTITLED = 7


def text_gru_version(items: int) -> ModelVersion:
    """A text-gru whose items lie in directions drawn by chance; every seventh has none."""
    torch.manual_seed(0)
    vocabulary = Vocabulary([f"i{n}" for n in range(items)], np.ones(items, np.int64))
    config = ModelConfig(network="text-gru", hidden_size=8, title_size=SIZE)
    network = TextGRU(config, vocabulary)
    network.title_VD.data.copy_(torch.nn.functional.normalize(torch.randn(items, SIZE)))
    network.title_VD.data[::UNTITLED] = 0
    network.bias_V.data[::UNTITLED] = -2
    return ModelVersion("v", config, vocabulary, network.eval())


def text_gru_of(items: int) -> TextGRU:
    network = text_gru_version(items).network
    assert isinstance(network, TextGRU)
    return network


def directions(sessions: int) -> torch.Tensor:
    return torch.nn.functional.normalize(
        torch.randn(sessions, SIZE, generator=torch.Generator().manual_seed(1))
    )


@needs_faiss
@torch.inference_mode()
def test_the_graph_finds_nearly_all_of_the_nearest_and_scores_them_exactly() -> None:
    network = text_gru_of(3000)
    short, output = NearestShortlist(network), directions(40)
    ids, scores = short.best(output, 20)
    exact_ids, _ = top_k(network.score(output), 20)
    found = (ids[:, :, None] == exact_ids[:, None]).any(2).float().mean()
    assert found > 0.95
    torch.testing.assert_close(scores, network.score(output).gather(1, ids))
    assert not (ids % UNTITLED == 0).any()


@needs_faiss
@torch.inference_mode()
def test_masked_items_leave_full_lists() -> None:
    network = text_gru_of(3000)
    short, output = NearestShortlist(network), directions(4)
    exclude = top_k(network.score(output), 50)[0]
    ids, _ = short.best(output, 20, exclude)
    assert (ids >= 0).all()
    assert not (ids[:, :, None] == exclude[:, None]).any()


@needs_faiss
@torch.inference_mode()
def test_fewer_directions_than_a_list_is_long_are_followed_by_the_items_without() -> None:
    network = text_gru_of(15)
    ids, scores = NearestShortlist(network).best(directions(2), 15)
    exact_ids, exact = top_k(network.score(directions(2)), 15)
    torch.testing.assert_close(scores, exact)
    assert torch.equal(ids[:, :12], exact_ids[:, :12])
    assert set(ids[0, 12:].tolist()) == {0, 7, 14}


@needs_faiss
def test_a_catalogue_without_any_direction_is_listed_whole() -> None:
    network = text_gru_of(30)
    network.title_VD.data.zero_()
    ids, _ = NearestShortlist(network).best(directions(1), 20)
    assert len(set(ids[0].tolist())) == 20


@needs_faiss
def test_the_graph_is_for_many_items_and_never_where_every_byte_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cpu = torch.device("cpu")
    few = choose_shortlist("auto", text_gru_of(200), cpu)
    assert few is None or isinstance(few, Bfloat16Shortlist)
    monkeypatch.setattr(module, "MANY_DIRECTIONS", 100)
    assert isinstance(choose_shortlist("auto", text_gru_of(200), cpu), NearestShortlist)
    assert Stepper(text_gru_version(200), device="cpu", deterministic=True).shortlist is None


def test_without_faiss_many_items_are_scored_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MANY_DIRECTIONS", 100)
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    chosen = choose_shortlist("auto", text_gru_of(200), torch.device("cpu"))
    assert chosen is None or isinstance(chosen, Bfloat16Shortlist)
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(NextclickError, match="pip install faiss-cpu"):
        choose_shortlist("approximate", text_gru_of(200), torch.device("cpu"))


def test_without_faiss_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(NextclickError, match="pip install faiss-cpu"):
        Stepper(model_of(50), device="cpu", scoring="approximate")


@needs_faiss
def test_looking_into_every_cluster_finds_the_exact_lists() -> None:
    network = network_of(4000, bias=2)
    short = ApproximateShortlist(network, probes=4000)
    output = outputs(20)
    with torch.inference_mode():
        exclude = top_k(network.score(output), 150)[0]
        exclude[1] = -1
    assert_exact(network, short, output, 20, None)
    assert_exact(network, short, output, 20, exclude)


@needs_faiss
def test_a_list_is_full_though_its_clusters_are_masked() -> None:
    network = network_of(4000)
    short = ApproximateShortlist(network, probes=1)
    output = outputs(2)
    with torch.inference_mode():
        exclude = top_k(network.score(output), 3000)[0]
        ids, _ = short.best(output, 20, exclude)
    assert (ids >= 0).all()
    assert not (ids[:, :, None] == exclude[:, None]).any()


@needs_faiss
def test_an_approximate_stepper_scores_as_the_exact_one() -> None:
    model = model_of(3000)
    rows = np.random.default_rng(4).normal(size=(9, UNITS)).astype(np.float32).view(np.uint8)
    items = np.arange(9)
    exact = Stepper(model, device="cpu").step({"item": items}, rows)
    short = Stepper(model, device="cpu", scoring="approximate").step({"item": items}, rows)
    np.testing.assert_allclose(short[1], exact[1], rtol=1e-4, atol=1e-4)
