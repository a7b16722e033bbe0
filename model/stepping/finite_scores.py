"""Whether a version's scores are numbers, which finite weights alone do not ensure.

Tested by tests/unit/model/stepping/test_finite_scores.py and tests/faults/test_swap.py.
"""

from __future__ import annotations

import numpy as np
import torch

from model.networks.fused.fused_list import FusedList
from model.networks.network import GradientNetwork, Network
from model.stepping.stepper import Stepper


@torch.inference_mode()
def gives_numbers(network: Network, stepper: Stepper) -> bool:
    """Whether one step from a blank state gives scores that can be put in order."""
    columns = {name: np.full(1, None, object) for name in network.columns}
    inputs = stepper.inputs({**columns, "item": np.zeros(1, np.int64)})
    output_1H, _ = network.advance(inputs, network.initial_state(1, stepper.device))
    scores = network.score(output_1H)
    if isinstance(network, FusedList):
        # It does not propose what is no number, so the list alone would not show it.
        if bool(scores[1].isnan().any()):
            return False
        output_1H = network.network_output(output_1H)
        network = network.network
        scores = network.score(output_1H)
    scores_1N = scores[1] if isinstance(scores, tuple) else scores
    # Neighbour models leave most items at -inf, so only NaN is an error there; a network must score
    # every item with a finite number.
    bad_1N = ~scores_1N.isfinite() if isinstance(network, GradientNetwork) else scores_1N.isnan()
    return not bad_1N.any()
