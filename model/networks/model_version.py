"""A model version in memory: network, vocabulary, config, scores and manifest.

Tested by tests/unit/model/registry/test_registry.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from model.config import ModelConfig
from model.data.vocabulary import Vocabulary
from model.networks.network import Network


@dataclass
class ModelVersion:
    """The version that the registry saves and loads; the network is in evaluation mode."""

    version: str
    config: ModelConfig
    vocabulary: Vocabulary
    network: Network
    scores: dict[str, Any] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)
