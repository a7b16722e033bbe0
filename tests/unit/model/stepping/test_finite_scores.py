import numpy as np
import pytest
import torch

from model.config import ModelConfig
from model.data.vocabulary import Vocabulary
from model.networks.by_name import build
from model.networks.model_version import ModelVersion
from model.stepping.finite_scores import gives_numbers
from model.stepping.stepper import Stepper


@pytest.mark.parametrize("name", ["gru4rec", "fused"])
def test_a_version_whose_network_scores_no_numbers_is_found(name: str) -> None:
    vocabulary = Vocabulary([f"i{n}" for n in range(30)], np.ones(30, np.int64))
    config = ModelConfig(network=name, hidden_size=4)
    network = build(config, vocabulary)
    stepper = Stepper(ModelVersion("v", config, vocabulary, network), device="cpu")
    assert gives_numbers(network, stepper)
    with torch.no_grad():
        next(parameter for parameter in network.parameters() if parameter.ndim == 2).fill_(torch.nan)
    assert not gives_numbers(network, stepper)
