"""The networks and the baselines by name: the one table that every command chooses from.

To add a network:
1. Write `model/networks/NAME.py`: a subclass of GradientNetwork (or `baselines/`, CountingNetwork).
2. Declare `columns`, `state_fields`, and `run` (a counting network: `fit`, `advance`, `score`).
3. Add its settings, if it has any, to `model/config.py`, and its row to NETWORKS below.
4. Test it in `tests/unit/model/networks/test_NAME.py` against the equations of its paper.
5. Add its row to the documented table of models, with the paper.

Tested by tests/unit/model/networks/ and tests/unit/model/networks/baselines/test_baselines.py.
"""

from __future__ import annotations

from collections.abc import Callable

from model.config import ModelConfig
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.networks.baselines.item_knn import DecayedItemKNN, ItemKNN, TimeWeightedItemKNN
from model.networks.baselines.matrix_factorisation import BPRMF, SequentialMF
from model.networks.baselines.pop import Pop, WindowPop
from model.networks.baselines.s_pop import SessionPop
from model.networks.baselines.transitions import Transitions
from model.networks.baselines.user_factorisation import UserMF, UserSequentialMF
from model.networks.baselines.v_sknn import VSkNN
from model.networks.feature_lstm import FeatureLSTM
from model.networks.fused.fused_list import FusedList
from model.networks.gru4rec import GRU4Rec
from model.networks.network import GradientNetwork, Network
from model.networks.recurrent import Recurrent
from model.networks.text_gru import TextGRU
from model.networks.user_gru import AttentionalUserGRU, LinearUserGRU, RectifiedUserGRU


def build_fused(config: ModelConfig, vocabulary: Vocabulary) -> FusedList:
    """A fused list around the configured network. Raises NextclickError when that one counts."""
    network = build(config.of_proposing_network(), vocabulary)
    if not isinstance(network, GradientNetwork):
        raise NextclickError(
            f"a fused list cannot be built around {config.proposing_network!r}",
            "It is made of a network that learns by gradients, and of sources that count.",
            "Choose gru4rec or another recurrent network as proposing_network.",
        )
    return FusedList(network, config, vocabulary)


NETWORKS: dict[str, Callable[[ModelConfig, Vocabulary], Network]] = {
    "fused": build_fused,
    "gru4rec": GRU4Rec,
    "feature-lstm": FeatureLSTM,
    "recurrent": Recurrent,
    "text-gru": TextGRU,
    "user-gru-linear": LinearUserGRU,
    "user-gru-rectified": RectifiedUserGRU,
    "user-gru-attentional": AttentionalUserGRU,
    "pop": lambda config, vocabulary: Pop(vocabulary),
    "s-pop": SessionPop,
    "window-pop": WindowPop,
    "transitions": Transitions,
    "item-knn": ItemKNN,
    "decayed-item-knn": DecayedItemKNN,
    "time-weighted-item-knn": TimeWeightedItemKNN,
    "v-sknn": VSkNN,
    "bpr-mf": BPRMF,
    "sequential-mf": SequentialMF,
    "user-mf": UserMF,
    "user-sequential-mf": UserSequentialMF,
}


def constructor(name: str) -> Callable[[ModelConfig, Vocabulary], Network]:
    """The function that builds a network of this name. Raises NextclickError for an unknown name."""
    if name not in NETWORKS:
        raise NextclickError(
            f"there is no network {name!r}",
            f"Known are: {', '.join(NETWORKS)}.",
            "Choose one of them with --network.",
        )
    return NETWORKS[name]


def build(config: ModelConfig, vocabulary: Vocabulary) -> Network:
    """A new network for the items of `vocabulary`. Raises NextclickError for an unknown name.

    >>> import numpy as np
    >>> vocabulary = Vocabulary(["a", "b"], np.array([2, 1]))
    >>> build(ModelConfig(network="pop"), vocabulary)
    Pop()
    """
    return constructor(config.network)(config, vocabulary)


def places_by_title(config: ModelConfig) -> bool:
    """Whether the configured network can list an item that has a title but no event in training."""
    return bool(getattr(_class_of(config), "places_by_title", False))


def columns_of(*configs: ModelConfig) -> tuple[str, ...]:
    """The event fields, besides the item, that any of the configured networks reads.

    >>> columns_of(ModelConfig(), ModelConfig(network="feature-lstm"))
    ('brand', 'category', 'price')
    """
    columns = [getattr(_class_of(config), "columns", ()) for config in configs]
    return tuple(dict.fromkeys(name for names in columns for name in names if name != "item"))


def _class_of(config: ModelConfig) -> Callable[[ModelConfig, Vocabulary], Network] | None:
    """The class that reads the events: of a fused list, that of its network."""
    return NETWORKS.get(config.proposing_network if config.network == "fused" else config.network)
