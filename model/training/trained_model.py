"""The result of a training: the input for evaluating, saving and further training.

Tested by tests/unit/model/registry/test_registry.py and tests/unit/model/comparison/test_challenger.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from model.config import ModelConfig
from model.data.vocabulary import Vocabulary
from model.evaluation.rank_targets import Evaluation
from model.networks.network import Network
from model.training.warm_start import WarmStart


@dataclass
class TrainedModel:
    """A network in evaluation mode, its configuration and vocabulary, and how its training went.

    `losses` and `validation` have one entry per epoch. `accuracies` are each epoch's shares of targets
    that had the highest score while they were learned, where training scores all items.
    `optimizer_state` is empty for a network that counts. Training learned from `events` in `seconds`,
    without the validation. `ranker_lists` are those that the ranker of a fused list had to learn from,
    None without one.
    """

    network: Network
    config: ModelConfig
    vocabulary: Vocabulary
    optimizer_state: Mapping[str, Tensor] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)
    validation: list[Evaluation] = field(default_factory=list)
    events: int = 0
    seconds: float = 0.0
    ranker_lists: int | None = None

    @property
    def not_finite(self) -> list[str]:
        """Names of the weights that hold a number that is not finite."""
        return [name for name, tensor in self.network.state_dict().items() if not tensor.isfinite().all()]

    @property
    def events_per_s(self) -> float:
        """Events learned per second of training, to one decimal."""
        return round(self.events / max(self.seconds, 1e-9), 1)

    def warm_start(self) -> WarmStart:
        """Returns the start of a training that goes on from this model."""
        return WarmStart(self.network.state_dict(), self.optimizer_state, self.vocabulary)

    def scores(self) -> dict[str, Any]:
        """Returns the training's course as plain values, to save with the version."""
        return {
            "losses": self.losses,
            "accuracies": self.accuracies,
            "validation": [scored.as_dict() for scored in self.validation],
            "events_per_s": self.events_per_s,
            **({} if self.ranker_lists is None else {"ranker_lists": self.ranker_lists}),
        }
