import importlib.util

import numpy as np
import pytest
import torch

from model.config import ModelConfig
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.networks.model_version import ModelVersion
from model.networks.text_gru import TextGRU
from model.stepping import stepper as module
from model.stepping.faiss_shortlists import NearestShortlist
from model.stepping.shortlist import Bfloat16Shortlist
from model.stepping.stepper import Stepper, make_shortlist
from model.stepping.top_k import top_k

HAS_FAISS = importlib.util.find_spec("faiss") is not None
needs_faiss = pytest.mark.skipif(not HAS_FAISS, reason="faiss-cpu is not installed; it is optional")
SIZE = 24
UNTITLED = 7


def model_of(items: int) -> ModelVersion:
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
    network = model_of(items).network
    assert isinstance(network, TextGRU)
    return network


def outputs(sessions: int) -> torch.Tensor:
    return torch.nn.functional.normalize(
        torch.randn(sessions, SIZE, generator=torch.Generator().manual_seed(1))
    )


@needs_faiss
@torch.inference_mode()
def test_the_graph_finds_nearly_all_of_the_nearest_and_scores_them_exactly() -> None:
    network = text_gru_of(3000)
    chooser, output = NearestShortlist(network), outputs(40)
    ids, scores = chooser.best(output, 20)
    exact_ids, _ = top_k(network.score(output), 20)
    found = (ids[:, :, None] == exact_ids[:, None]).any(2).float().mean()
    assert found > 0.95
    torch.testing.assert_close(scores, network.score(output).gather(1, ids))
    assert not (ids % UNTITLED == 0).any()


@needs_faiss
@torch.inference_mode()
def test_masked_items_leave_full_lists() -> None:
    network = text_gru_of(3000)
    chooser, output = NearestShortlist(network), outputs(4)
    exclude = top_k(network.score(output), 50)[0]
    ids, _ = chooser.best(output, 20, exclude)
    assert (ids >= 0).all()
    assert not (ids[:, :, None] == exclude[:, None]).any()


@needs_faiss
@torch.inference_mode()
def test_fewer_directions_than_a_list_is_long_are_followed_by_the_items_without() -> None:
    network = text_gru_of(15)
    ids, scores = NearestShortlist(network).best(outputs(2), 15)
    exact_ids, exact = top_k(network.score(outputs(2)), 15)
    torch.testing.assert_close(scores, exact)
    assert torch.equal(ids[:, :12], exact_ids[:, :12])
    assert set(ids[0, 12:].tolist()) == {0, 7, 14}


@needs_faiss
def test_a_catalogue_without_any_direction_is_listed_whole() -> None:
    network = text_gru_of(30)
    network.title_VD.data.zero_()
    ids, _ = NearestShortlist(network).best(outputs(1), 20)
    assert len(set(ids[0].tolist())) == 20


@needs_faiss
def test_the_graph_is_for_many_items_and_never_where_every_byte_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cpu = torch.device("cpu")
    few = make_shortlist("auto", text_gru_of(200), cpu)
    assert few is None or isinstance(few, Bfloat16Shortlist)
    monkeypatch.setattr(module, "MANY_DIRECTIONS", 100)
    assert isinstance(make_shortlist("auto", text_gru_of(200), cpu), NearestShortlist)
    assert Stepper(model_of(200), device="cpu", deterministic=True).shortlist is None


def test_without_faiss_many_items_are_scored_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MANY_DIRECTIONS", 100)
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    chosen = make_shortlist("auto", text_gru_of(200), torch.device("cpu"))
    assert chosen is None or isinstance(chosen, Bfloat16Shortlist)
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(NextclickError, match="pip install faiss-cpu"):
        make_shortlist("approximate", text_gru_of(200), torch.device("cpu"))
