"""Scores of all items: the product of a wave's outputs with the output table.

On a CPU oneDNN multiplies where torch would call MKL: on AMD, MKL leaves two thirds of the peak
unused, and where MKL is fast, oneDNN is no slower. The items are the product's rows, so the table
is read as stored, without a packed copy.

Shapes: B sessions in the wave, V items, H units of the output.
Tested by tests/unit/model/stepping/test_shortlist.py.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Some builds of torch, for other processors, have no oneDNN.
ONEDNN = hasattr(torch.ops.mkldnn, "_linear_pointwise")


def item_scores(output_BH: Tensor, table_VH: Tensor, bias_V: Tensor) -> Tensor:
    """r_v = h · e_v + b_v for all items, B×V; stored by columns if oneDNN computed it.

    The caller may overwrite the result. It has a gradient if gradients are enabled.

    >>> item_scores(torch.ones(1, 2), torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([0.5, 0.0]))
    tensor([[3.5000, 7.0000]])
    """
    if torch.is_grad_enabled() or not _in_onednn(output_BH) or not _in_onednn(table_VH):
        return torch.addmm(bias_V, output_BH, table_VH.t())
    # torch's entry to oneDNN for compiled models; no public one takes plain float32 matrices.
    multiply = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001
    scores_VB: Tensor = multiply(table_VH, output_BH, None, "none", [], "")
    return scores_VB.add_(bias_V[:, None]).t()


def _in_onednn(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and tensor.dtype == torch.float32 and ONEDNN
