"""Shortlists: a few candidates for each session of a wave; only they are scored in float32.

A shortlist chooses candidates by a cheaper product; their scores are always the network's,
r_v = h · e_v + b_v (+ prior). `Bfloat16Shortlist` leaves out only items that a bound on its rounding
errors proves to be outside the list, so its lists equal `top_k`'s. The shortlists of
`faiss_shortlists` prove nothing, but do not read the whole table.

Shapes: B sessions in the wave, V items, H units of the output, M masked items, k list length,
R rows of scores.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from model.networks.item_scores import item_scores
from model.networks.network import GradientNetwork
from model.networks.popularity_prior import CurrentBias
from model.stepping.compiled_top_k import compiled_top_k
from model.stepping.top_k import BLOCK, top_k

MOST_CANDIDATES = 256  # with more (ties, or nothing learned yet) all items of a session are scored
ROWS = 65_536  # rows converted at a time when a table is copied
SPARE_ROWS = 1024  # rows allocated ahead when a table grows
SUMS = 2**-16  # above the relative error of all sums in float32


class Shortlist(ABC):
    """Chooses candidates among a network's items and scores them, on the CPU.

    The weights do not change; the bias may move with the network's prior. `scored_whole` counts the
    sessions' steps for which all items were scored after all.
    """

    def __init__(self, network: GradientNetwork) -> None:
        self.table_VH = network.get_parameter(network.output_table).detach()
        self.bias = CurrentBias(network.get_parameter(network.bias_table), network.prior)
        self.scored_whole = 0

    def set_table(self, table_VH: Tensor, bias_V: Tensor, moved_R: Tensor) -> None:
        """Use this table from now on; the rows `moved_R` are new or changed, and there may be more rows.

        Must not run beside `best`. An item of bias -inf is not listed.
        """
        self.table_VH = table_VH
        self.bias.set_bias(bias_V)

    def set_unlisted(self, unlisted_V: Tensor, changed_C: Tensor) -> None:
        """Leave out the items that `unlisted_V` marks; only `changed_C` differ from before.

        Must not run beside `best`. `unlisted_V` may have more items than the table.
        """
        self.bias.set_unlisted(unlisted_V, changed_C)

    @abstractmethod
    def best(self, output_BH: Tensor, k: int, exclude_BM: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The k best listable items, best first, and their float32 scores: B×k, padded with -1 / -inf."""

    def replace_with_exact(
        self,
        ids_Bk: Tensor,
        scores_Bk: Tensor,
        whole_B: Tensor,
        output_BH: Tensor,
        exclude_BM: Tensor | None,
    ) -> None:
        """Replace the lists of the sessions in `whole_B` by lists of all scores.

        All sessions of the wave are scored, so that a list does not depend on which others need it.
        """
        if whole_B.any():
            self.scored_whole += int(whole_B.sum())
            exact = top_k(item_scores(output_BH, self.table_VH, self.bias.now()), ids_Bk.shape[1], exclude_BM)
            ids_Bk[whole_B], scores_Bk[whole_B] = exact[0][whole_B], exact[1][whole_B]


class Bfloat16Shortlist(Shortlist):
    """All items that can be in the list, by a product in bfloat16 with a bound on its errors.

    a_v, the product in bfloat16, differs from r_v by at most β + u|a_v|: u of the last rounding,
    β = |h - ĥ| max|e| + |ĥ| max|e - ê| (Cauchy, Schwarz; ĥ and ê are h and e in bfloat16) plus the
    error of the bias. The k best blocks hold k items of r ≥ a_k - β - u|a_k|, a_k the k-th largest of the
    blocks' maxima. So no item with a_v below a_k - 2β - 2u(|a_k| + 2β) is in the list: all others are
    candidates.

    The table is copied in bfloat16; two more columns add up to the bias to 16 bits.

    >>> from model.config import ModelConfig
    >>> from model.data.vocabulary import Vocabulary
    >>> from model.networks.gru4rec import GRU4Rec
    >>> items = Vocabulary([f"i{n}" for n in range(100)], np.ones(100, np.int64))
    >>> network, output_BH = GRU4Rec(ModelConfig(hidden_size=8), items), torch.ones(1, 8)
    >>> ids_Bk, _ = Bfloat16Shortlist(network).best(output_BH, k=20)
    >>> torch.equal(ids_Bk, top_k(network.score(output_BH).detach(), 20)[0])
    True
    """

    def __init__(self, network: GradientNetwork) -> None:
        super().__init__(network)
        items, units = self.table_VH.shape
        blocks = -(-items // BLOCK)
        self._table = torch.zeros(blocks * BLOCK, units + 2, dtype=torch.bfloat16)
        self._table[items:, units] = -torch.inf
        self._items = items
        self._largest = self._largest_error = 0.0
        for begin in range(0, items, ROWS):
            self._copy(slice(begin, min(begin + ROWS, items)))
        self._storage = self._table
        self._bias_V: Tensor | None = None
        self._bias_error = 0.0

    def set_table(self, table_VH: Tensor, bias_V: Tensor, moved_R: Tensor) -> None:
        """Copy the rows that moved; the bounds on the errors never fall."""
        super().set_table(table_VH, bias_V, moved_R)
        if len(table_VH) > self._items:
            self._grow(len(table_VH))
        if len(moved_R):
            self._copy(moved_R)
        # Here, because later several threads would do it at once.
        self._copy_bias()

    def set_unlisted(self, unlisted_V: Tensor, changed_C: Tensor) -> None:
        """Copy the bias of the items that changed; the bound on its error never falls."""
        self._copy_bias()
        super().set_unlisted(unlisted_V, changed_C)
        self._bias_V = self.bias.now()
        changed_C = changed_C[changed_C < self._items]
        if len(changed_C):
            error = self._copy_bias_of(changed_C, self._bias_V[changed_C])
            self._bias_error = max(self._bias_error, error)

    def _copy(self, places: slice | Tensor) -> None:
        """Copy rows of the table in bfloat16, and raise the bounds on the errors to cover them."""
        rows = self.table_VH[places]
        rounded = rows.bfloat16()
        self._table[places, :-2] = rounded
        self._largest = max(self._largest, float(rows.norm(dim=1).max()))
        self._largest_error = max(self._largest_error, float((rows - rounded.float()).norm(dim=1).max()))

    def _grow(self, items: int) -> None:
        """Make room for more items, with `SPARE_ROWS` in reserve when memory is allocated."""
        rows = -(-items // BLOCK) * BLOCK
        if rows > len(self._storage):
            self._storage = self._table.new_zeros((rows + SPARE_ROWS, self._table.shape[1]))
            self._storage[: len(self._table)] = self._table
        self._table = self._storage[:rows]
        self._table[items:, -2] = -torch.inf
        self._items = items

    def best(self, output_BH: Tensor, k: int, exclude_BM: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The lists that `top_k` gives of all scores."""
        self._copy_bias()
        rounded_BH = output_BH.bfloat16()
        # Two ones multiply the two columns of the bias.
        scores_RB = self._table @ pad(rounded_BH, (0, 2), value=1).t()
        ids, scores, count = compiled_top_k(
            scores_RB.contiguous().view(torch.int16).numpy(),
            output_BH.contiguous().numpy(),
            self.table_VH.numpy(),
            self.bias.now().numpy(),
            self._errors(output_BH, rounded_BH.float()).numpy(),
            np.empty((len(output_BH), 0), np.int64) if exclude_BM is None else exclude_BM.numpy(),
            k,
            MOST_CANDIDATES,
        )
        ids_Bk, scores_Bk = torch.from_numpy(ids), torch.from_numpy(scores)
        whole_B = torch.from_numpy(count > MOST_CANDIDATES)
        self.replace_with_exact(ids_Bk, scores_Bk, whole_B, output_BH, exclude_BM)
        return ids_Bk, scores_Bk

    def _errors(self, output_BH: Tensor, rounded_BH: Tensor) -> Tensor:
        """β of each session."""
        length_B = rounded_BH.norm(dim=1)
        lost_B = (output_BH - rounded_BH).norm(dim=1)
        table_B = lost_B * self._largest + length_B * (self._largest_error + SUMS * self._largest)
        error_B: Tensor = table_B + self._bias_error
        return error_B

    def _copy_bias(self) -> None:
        """Copy the bias into the table if it has changed."""
        bias_V = self.bias.now()
        if bias_V is self._bias_V:
            return
        self._bias_V = bias_V
        self._bias_error = self._copy_bias_of(slice(self._items), bias_V)

    def _copy_bias_of(self, places: slice | Tensor, bias_R: Tensor) -> float:
        """Copy the bias of these rows. Returns the bound on its errors."""
        high_R = bias_R.bfloat16()
        # For a bias of -inf the difference is nan: no second part.
        low_R = (bias_R - high_R.float()).nan_to_num(0.0).bfloat16()
        self._table[places, -2] = high_R
        self._table[places, -1] = low_R
        left_R = (bias_R - high_R.float() - low_R.float()).nan_to_num(0.0)
        largest = bias_R.masked_fill(bias_R == -torch.inf, 0).abs().max()
        return float(left_R.abs().max() + SUMS * largest)
