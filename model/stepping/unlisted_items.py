"""The items that no list has, whatever their scores: sold out, withdrawn, or against a rule.

Whoever scores all items gives an unlisted one the bias -inf; neighbours and candidates are looked up.

Shapes: V items, C items that change, B sessions, N neighbours, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.networks.fused.fused_list import Proposals


class AsIf(NamedTuple):
    """A bias and marks of all items as if others were unlisted."""

    bias_V: Tensor
    marks_V: Tensor

    @classmethod
    def unlisted(cls, bias_V: Tensor, unlisted_M: npt.NDArray[np.int64]) -> AsIf:
        """As if only these items were unlisted, of a bias that leaves none out."""
        marks_V = torch.zeros(len(bias_V), dtype=torch.bool, device=bias_V.device)
        marks_V[torch.from_numpy(unlisted_M).to(bias_V.device)] = True
        return cls(bias_V.masked_fill(marks_V, -torch.inf), marks_V)


def cleared(proposals: Proposals, marks_V: Tensor) -> Proposals:
    """The proposals; the features of marked candidates are set to 0, so no source proposes them."""
    ids_BC = proposals.ids_BC
    proposals.features_BCF[marks_V.cpu().numpy()[ids_BC] & (ids_BC >= 0)] = 0
    return proposals


class BiasOfAll(Protocol):
    """What holds a bias of all items: a `CurrentBias`, a `Shortlist`."""

    def set_unlisted(self, unlisted_V: Tensor, changed_C: Tensor) -> None:
        """Give the bias -inf to the items that `unlisted_V` marks; only `changed_C` differ from before."""


class UnlistedItems:
    """Marks of unlisted items by index, and the biases that follow them; costs nothing before the first.

    Changes must not run beside steps.

    >>> unlisted = UnlistedItems(torch.device("cpu"), items=3)
    >>> unlisted.marks_V is None
    True
    >>> unlisted.mark(np.array([1]), np.array([True]))
    >>> unlisted.marks_V
    tensor([False,  True, False])
    """

    def __init__(self, device: torch.device, items: int, biases: Sequence[BiasOfAll | None] = ()) -> None:
        self.marks_V: Tensor | None = None
        # The same on the CPU, where the candidates of a fused list are.
        self.host_marks_V: Tensor | None = None
        self._device, self._items = device, items
        self._biases = [bias for bias in biases if bias is not None]

    @torch.inference_mode()
    def mark(self, items_C: npt.NDArray[np.int64], unlisted_C: npt.NDArray[np.bool_]) -> None:
        """Mark items as unlisted, or as listed again; an index may lie beyond the items so far."""
        if self.marks_V is None and not unlisted_C.any():
            return
        self.have_room(int(items_C.max(initial=-1)) + 1)
        marks_V = self._marks()
        changed_C = torch.from_numpy(items_C).to(self._device)
        marks_V[changed_C] = torch.from_numpy(unlisted_C).to(self._device)
        self.host_marks_V = marks_V.cpu()
        for bias in self._biases:
            bias.set_unlisted(marks_V, changed_C)

    @torch.inference_mode()
    def have_room(self, items: int) -> None:
        """Have marks for this many items, or more; does nothing before the first mark of longer tables."""
        self._items = max(self._items, items)
        if self.marks_V is None or len(self.marks_V) >= self._items:
            return
        marks_V, self.marks_V = self.marks_V, None
        self._marks()[: len(marks_V)] = marks_V
        self.host_marks_V = self._marks().cpu()
        for bias in self._biases:
            bias.set_unlisted(self._marks(), torch.zeros(0, dtype=torch.int64, device=self._device))

    def _marks(self) -> Tensor:
        if self.marks_V is None:
            self.marks_V = torch.zeros(self._items, dtype=torch.bool, device=self._device)
        return self.marks_V

    def cleared(self, proposals: Proposals) -> Proposals:
        """The proposals without those of unlisted items."""
        return proposals if self.host_marks_V is None else cleared(proposals, self.host_marks_V)
