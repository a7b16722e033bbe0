"""Whether a model's lists come from all scores or from a shortlist of candidates.

Tested by tests/unit/model/stepping/test_faiss_shortlists.py and test_shortlist.py.
"""

from __future__ import annotations

from importlib.util import find_spec

import torch

from model.config import Scoring
from model.errors import NextclickError
from model.networks.network import GradientNetwork, Network
from model.stepping.faiss_shortlists import ApproximateShortlist, NearestShortlist
from model.stepping.shortlist import Bfloat16Shortlist, Shortlist

# With fewer items, scoring is too small a share of a step for a shortlist to pay off.
LARGE_VOCABULARY = 20_000
MANY_DIRECTIONS = 100_000  # more items than this are searched by a graph of directions


def choose_shortlist(scoring: Scoring, network: Network, device: torch.device) -> Shortlist | None:
    """The shortlist that chooses the items to score; None when all items are scored.

    "bfloat16" needs a CPU and a network with an item table; without them all items are scored.
    "auto" means "bfloat16" if the processor has instructions for it and the vocabulary is large
    enough to gain from it; it means "approximate" if the network scores by direction, there are more
    than 100,000 items, and faiss is installed. Raises NextclickError when "approximate" is impossible.

    >>> from model.config import ModelConfig
    >>> from model.data.vocabulary import Vocabulary
    >>> from model.networks.by_name import build
    >>> network = build(ModelConfig(), Vocabulary(["a", "b"], torch.tensor([2, 1]).numpy()))
    >>> choose_shortlist("auto", network, torch.device("cpu")) is None
    True
    """
    by_direction = isinstance(network, GradientNetwork) and network.scores_by_direction
    if scoring == "auto" and by_direction and network.items > MANY_DIRECTIONS and find_spec("faiss"):
        scoring = "approximate" if device.type == "cpu" else "exact"
    elif scoring == "auto":
        large = network.items >= LARGE_VOCABULARY
        scoring = "bfloat16" if large and torch.cpu._is_avx512_bf16_supported() else "exact"  # noqa: SLF001
    if scoring == "exact":
        return None
    if isinstance(network, GradientNetwork) and device.type == "cpu":
        if scoring == "bfloat16":
            return Bfloat16Shortlist(network)
        return NearestShortlist(network) if by_direction else ApproximateShortlist(network)
    if scoring == "approximate":
        raise NextclickError(
            f"scoring is `approximate`, and the model is a {type(network).__name__} on {device.type}",
            "Only a network that scores items by an output table can be searched, and on a CPU.",
            "Set scoring to `exact`, or device to `cpu`, or serve another version.",
        )
    return None
