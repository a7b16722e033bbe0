"""How far predicted vectors are from the vectors of their targets: loss, squared and absolute error.

Networks that predict a vector instead of scores (`text-gru`) are measured by these.

Tested by tests/unit/model/networks/test_text_gru.py.

Shapes: B sessions, N targets, D columns of a vector.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from model.networks.network import Columns, State

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class VectorErrors:
    """Of each target the network's own loss, and the means over D of (y - e)² and |y - e|.

    NaN where the target has no vector: it teaches nothing and counts for nothing.
    """

    loss_N: Floats
    square_N: Floats
    absolute_N: Floats

    @classmethod
    def none_yet(cls, targets: int) -> VectorErrors:
        """Returns room for the errors of this many targets.

        >>> VectorErrors.none_yet(2).loss_N.tolist()
        [nan, nan]
        """
        return cls(*(np.full(targets, np.nan, np.float32) for _ in range(3)))

    def put(self, begin: int, found: VectorErrors) -> None:
        """Write the errors of further targets, from index `begin` on."""
        for name in ("loss_N", "square_N", "absolute_N"):
            part = getattr(found, name)
            getattr(self, name)[begin : begin + len(part)] = part

    def first(self, targets: int) -> VectorErrors:
        """Returns those of the first `targets`."""
        return VectorErrors(self.loss_N[:targets], self.square_N[:targets], self.absolute_N[:targets])


class PredictsVectors(ABC):
    """A network that predicts the next item's vector; it lists the items that lie nearest."""

    @abstractmethod
    def predict(self, inputs: Columns, state: State) -> tuple[Tensor, State]:
        """One step. Returns y, B×D, as the linear layer makes it, and the new state."""

    @abstractmethod
    def listed_by(self, output_BD: Tensor) -> Tensor:
        """What `score` reads of y, B×D."""

    @abstractmethod
    def errors(self, output_ND: Tensor, target_N: Tensor) -> VectorErrors:
        """The errors of y against the vectors of the targets."""


def mean_known(values_N: Floats | None) -> float | None:
    """Returns the mean of the values that are numbers; None without any.

    >>> mean_known(np.array([1, np.nan, 3], np.float32)), mean_known(None)
    (2.0, None)
    """
    if values_N is None or np.isnan(values_N).all():
        return None
    return float(np.nanmean(values_N, dtype=float))
