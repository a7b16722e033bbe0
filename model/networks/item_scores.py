"""Scores of all items: the product of a wave's outputs with the output table.

Knows no network. On a CPU oneDNN multiplies, where torch would call MKL: on AMD MKL leaves
two thirds of the peak unused, and where MKL is fast oneDNN is no slower. The items are the
product's rows, so that the table is read as it lies, without a packed copy.

Shapes: B sessions in the wave, V items, H units of the output.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Builds of torch without it, on other processors, multiply their own way.
ONEDNN = hasattr(torch.ops.mkldnn, "_linear_pointwise")


def item_scores(output_BH: Tensor, table_VH: Tensor, bias_V: Tensor) -> Tensor:
    """r_v = h · e_v + b_v for all items, B×V, by columns where oneDNN made it.

    The caller may overwrite it. Has a gradient where gradients are enabled.
    """
    if torch.is_grad_enabled() or not _in_onednn(output_BH) or not _in_onednn(table_VH):
        return torch.addmm(bias_V, output_BH, table_VH.t())
    # torch's own way into oneDNN for compiled models; no public one takes plain float32 matrices.
    multiply = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001
    scores_VB: Tensor = multiply(table_VH, output_BH, None, "none", [], "")
    return scores_VB.add_(bias_V[:, None]).t()


def _in_onednn(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and tensor.dtype == torch.float32 and ONEDNN
