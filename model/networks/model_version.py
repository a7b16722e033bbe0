"""A model version in memory: network, vocabulary, config and what is known about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from model.config import ModelConfig
from model.data.vocabulary import Vocabulary
from model.networks.network import Network


@dataclass
class ModelVersion:
    """What the registry saves and loads; the network is in evaluation mode."""

    version: str
    config: ModelConfig
    vocabulary: Vocabulary
    network: Network
    scores: dict[str, Any] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)
