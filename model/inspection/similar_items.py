"""The items nearest to a session's hidden state, for a person to see, and those nearest to an item.

Unlike a list, they use cosines alone: no bias, no popularity and no mask.

Shapes: V items, H units of the output, R bytes of a packed state, k items.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import normalize

from model.networks.network import GradientNetwork
from model.stepping.stepper import Stepper


@torch.inference_mode()
def similar_items(
    stepper: Stepper, row_R: npt.NDArray[np.uint8], k: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]] | None:
    """The k items whose output vectors have the largest cosines with a packed state's output, best first.

    Returns their indices and cosines; fewer than k if fewer items have a vector, none for a state of
    zeros. Returns None for a network without item vectors. May run beside steps.
    """
    network = stepper.scoring_network
    if not isinstance(network, GradientNetwork):
        return None
    output_1H = network.output_of(stepper.copies.send_state(row_R[None, :]))
    if output_1H is None:
        return None
    return _nearest(stepper, network, output_1H[0], k, None)


@torch.inference_mode()
def similar_to_item(
    stepper: Stepper, item: int, k: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]] | None:
    """The k listable items whose output vectors have the largest cosines with an item's, best first.

    As `similar_items`, without the item; None for a network without item vectors. May run beside steps.
    """
    network = stepper.scoring_network
    if not isinstance(network, GradientNetwork):
        return None
    with stepper.lock.reading():
        vector_H = network.get_parameter(network.output_table)[item].clone()
    return _nearest(stepper, network, vector_H, k, item)


def _nearest(
    stepper: Stepper, network: GradientNetwork, vector_H: Tensor, k: int, item: int | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """The k items nearest to a vector; where it is that of an item, without this one and unlisted ones."""
    with stepper.lock.reading():
        table_VH = network.get_parameter(network.output_table)
        lengths_V = table_VH.norm(dim=1)
        cosines_V = table_VH @ normalize(vector_H[None])[0] / lengths_V
        marks_V = stepper.unlisted.marks_V
        if item is not None and marks_V is not None:
            cosines_V[marks_V[: len(cosines_V)]] = -torch.inf
    # Vectors of length zero have no direction: items without a title, rows without an item.
    cosines_V[lengths_V == 0] = -torch.inf
    if item is not None:
        cosines_V[item] = -torch.inf
    if not vector_H.any():
        cosines_V.fill_(-torch.inf)
    best = cosines_V.topk(min(k, len(cosines_V)))
    found = best.values.isfinite()
    return best.indices[found].cpu().numpy(), best.values[found].float().cpu().numpy()
