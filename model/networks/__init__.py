"""The networks, chosen by name."""

from __future__ import annotations

from collections.abc import Callable

from model.config import ModelConfig
from model.errors import NextclickError
from model.network import Network
from model.networks.gru4rec import GRU4Rec
from model.vocabulary import Vocabulary

NETWORKS: dict[str, Callable[[ModelConfig, int], Network]] = {"gru4rec": GRU4Rec}


def build(config: ModelConfig, vocabulary: Vocabulary) -> Network:
    """A new network for the items of `vocabulary`. Raises NextclickError for an unknown name."""
    if config.network not in NETWORKS:
        raise NextclickError(
            f"there is no network {config.network!r}",
            f"Known are: {', '.join(sorted(NETWORKS))}.",
            "Choose one of them with --network.",
        )
    return NETWORKS[config.network](config, len(vocabulary))
