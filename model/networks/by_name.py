"""The networks and the baselines, chosen by name."""

from __future__ import annotations

from collections.abc import Callable

from model.config import ModelConfig
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.networks.baselines.item_knn import DecayedItemKNN, ItemKNN
from model.networks.baselines.matrix_factorisation import BPRMF, SequentialMF
from model.networks.baselines.pop import Pop, WindowPop
from model.networks.baselines.s_pop import SessionPop
from model.networks.baselines.transitions import Transitions
from model.networks.baselines.v_sknn import VSkNN
from model.networks.feature_lstm import FeatureLSTM
from model.networks.gru4rec import GRU4Rec
from model.networks.network import Network
from model.networks.recurrent import Recurrent
from model.networks.text_gru import TextGRU
from model.networks.user_gru import AttentionalUserGRU, LinearUserGRU, RectifiedUserGRU

NETWORKS: dict[str, Callable[[ModelConfig, Vocabulary], Network]] = {
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
    "v-sknn": VSkNN,
    "bpr-mf": BPRMF,
    "sequential-mf": SequentialMF,
}


def constructor(name: str) -> Callable[[ModelConfig, Vocabulary], Network]:
    """What builds a network of this name. Raises NextclickError for an unknown one."""
    if name not in NETWORKS:
        raise NextclickError(
            f"there is no network {name!r}",
            f"Known are: {', '.join(NETWORKS)}.",
            "Choose one of them with --network.",
        )
    return NETWORKS[name]


def build(config: ModelConfig, vocabulary: Vocabulary) -> Network:
    """A new network for the items of `vocabulary`. Raises NextclickError for an unknown name."""
    return constructor(config.network)(config, vocabulary)


def places_by_title(config: ModelConfig) -> bool:
    """Whether this configuration's network can list an item that has a title, but no event in training."""
    return bool(getattr(NETWORKS.get(config.network), "places_by_title", False))


def columns_of(*configs: ModelConfig) -> tuple[str, ...]:
    """The event's fields, beside the item, that any of these configurations' networks reads."""
    columns = [getattr(NETWORKS.get(config.network), "columns", ()) for config in configs]
    return tuple(dict.fromkeys(name for names in columns for name in names if name != "item"))
