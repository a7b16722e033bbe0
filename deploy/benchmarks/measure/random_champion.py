"""A champion of random weights, for benchmarks whose speed does not depend on what the weights know."""

from __future__ import annotations

import torch

from model.config import ModelConfig
from model.data.vocabulary import Vocabulary
from model.networks.by_name import build
from model.registry.registry import Registry
from model.training.trained_model import TrainedModel
from stream.settings import Settings


def promote_random(settings: Settings, config: ModelConfig, vocabulary: Vocabulary) -> str:
    """Save a version of random weights, the same ones each time, as champion. Returns its name."""
    torch.manual_seed(0)
    registry = Registry(settings.registry_dir)
    trained = TrainedModel(build(config, vocabulary), config, vocabulary)
    version = registry.save(trained, scores={}, data={}).version
    registry.promote(version)
    return version
