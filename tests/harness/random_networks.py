"""Networks with random item tables, and the check that a shortlist's lists are those of all scores."""

import numpy as np
import torch

from model.config import ModelConfig
from model.data.vocabulary import Vocabulary
from model.networks.by_name import build
from model.networks.model_version import ModelVersion
from model.networks.network import GradientNetwork
from model.stepping.shortlist import Shortlist
from model.stepping.top_k import top_k

UNITS = 24


def model_of(items: int, seed: int = 0, bias: float = 0, **changes: object) -> ModelVersion:
    """A network of 24 units with normal weights, and a bias around `bias`."""
    torch.manual_seed(seed)
    vocabulary = Vocabulary([f"i{n}" for n in range(items)], np.ones(items, np.int64))
    config = ModelConfig.model_validate({"hidden_size": UNITS, **changes})
    network = build(config, vocabulary)
    if isinstance(network, GradientNetwork):
        torch.nn.init.normal_(network.get_parameter("item_VH"))
        torch.nn.init.normal_(network.get_parameter("bias_V"), mean=bias)
    return ModelVersion("v", config, vocabulary, network.eval())


def network_of(items: int, seed: int = 0, bias: float = 0, **changes: object) -> GradientNetwork:
    network = model_of(items, seed, bias, **changes).network
    assert isinstance(network, GradientNetwork)
    return network


def outputs(sessions: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(sessions, UNITS, generator=torch.Generator().manual_seed(seed)).tanh()


@torch.inference_mode()
def assert_exact(
    network: GradientNetwork,
    shortlist: Shortlist,
    output_BH: torch.Tensor,
    k: int,
    exclude: torch.Tensor | None,
) -> None:
    """The lists are those of all scores, but for swaps of nearly equal ones."""
    ids, scores = shortlist.best(output_BH, k, exclude)
    expected_ids, expected = top_k(network.score(output_BH), k, exclude)
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-4)
    for row in torch.nonzero((ids != expected_ids).any(1))[:, 0]:
        all_scores = network.score(output_BH)[row]
        torch.testing.assert_close(all_scores[ids[row]], expected[row], rtol=1e-4, atol=1e-4)
    for row in range(len(ids)):
        listed = ids[row][ids[row] >= 0].tolist()
        assert len(set(listed)) == len(listed)
