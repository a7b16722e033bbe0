"""Shortlists: a few candidates for each session of a wave, so that only they are scored in float32.

A shortlist chooses candidates by a cheaper product; their scores are always those of the
network, r_v = h · e_v + b_v (+ prior). `Bfloat16Shortlist` leaves out only items that a bound on its
rounding errors proves to be outside the list: its lists are the exact ones. `ApproximateShortlist`
(model/approximate.py) proves nothing, but need not read the whole table.

Shapes: B sessions in the wave, V items, H units of the output, N candidates, M masked items,
k list length, G blocks of BLOCK items, P pairs of a session and a block or an item.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn.functional import pad

from model.network import SampledNetwork
from model.ranking import BLOCK, top_k
from model.recency import StandingBias
from model.scoring import score_all

# Above as many candidates (ties, or nothing learned yet) a session is scored whole.
MOST_CANDIDATES = 256
# Rows converted at a time when a table is copied.
ROWS = 65_536
# Relative error of a rounding to bfloat16, and more than that of all sums in float32.
ROUNDING = 2**-8
SUMS = 2**-16


class Shortlist(ABC):
    """Chooses candidates among a network's items and scores them, on the CPU.

    The weights stand still; the bias may move with the network's prior. `scored_whole` counts the
    sessions' steps that no short list was found for.
    """

    def __init__(self, network: SampledNetwork) -> None:
        self.table_VH = network.get_parameter(network.output_table).detach()
        self.bias = StandingBias(network.get_parameter(network.bias_table), network.prior)
        self.scored_whole = 0

    @abstractmethod
    def candidates(self, output_BH: Tensor, k: int, exclude_BM: Tensor | None = None) -> Tensor:
        """Candidate item indices, B×N, no item twice in a row, padded with -1.

        None is in `exclude_BM`; at least k, if as many items are not.
        """

    def score(self, output_BH: Tensor, k: int, exclude_BM: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The candidates and their float32 scores, both B×N, padded with -1 / -inf."""
        ids_BN = self.candidates(output_BH, k, exclude_BM)
        places_BN = ids_BN.clamp(min=0)
        rows_BNH = self.table_VH.index_select(0, places_BN.flatten()).view(
            *ids_BN.shape, self.table_VH.shape[1]
        )
        # A row's sum does not depend on the rows beside it; that of a product of matrices may.
        scores_BN = (rows_BNH * output_BH[:, None]).sum(2) + self.bias.now()[places_BN]
        return ids_BN, scores_BN.masked_fill(ids_BN < 0, -torch.inf)

    def complete(
        self, ids_BN: Tensor, whole_B: Tensor, output_BH: Tensor, k: int, exclude_BM: Tensor | None
    ) -> Tensor:
        """The candidates, of the sessions in `whole_B` the exact list instead; N is at least k.

        The wave is scored whole, so that a session's list does not depend on which others are.
        """
        if whole_B.any():
            self.scored_whole += int(whole_B.sum())
            exact_Bk = top_k(score_all(output_BH, self.table_VH, self.bias.now()), k, exclude_BM)[0]
            ids_BN[whole_B] = pad(exact_Bk, (0, ids_BN.shape[1] - k), value=-1)[whole_B]
        return ids_BN


class Bfloat16Shortlist(Shortlist):
    """Every item that can be in the list, as a product in bfloat16 with a bound on its errors tells.

    a_v, the product in bfloat16, differs from r_v by at most β + u|a_v|: u of the last rounding,
    β = |h - ĥ| max|e| + |ĥ| max|e - ê| (Cauchy, Schwarz; ĥ and ê are h and e in bfloat16) and the
    bias's own. The k best blocks hold k items of r ≥ a_k - β - u|a_k|, a_k the k-th largest of the
    blocks' maxima. So no item with a_v below a_k - 2β - 2u(|a_k| + 2β) is in the list: all others are
    candidates.

    The table is copied in bfloat16 with the bias as two more columns, whose sum it is to 16 bits.
    Items v, v + G, v + 2G … are one block.
    """

    def __init__(self, network: SampledNetwork) -> None:
        super().__init__(network)
        items, units = self.table_VH.shape
        # One row at least is no item: -1 of a mask points at it.
        self._blocks = items // BLOCK + 1
        self._table = torch.zeros(self._blocks * BLOCK, units + 2, dtype=torch.bfloat16)
        self._table[items:, units] = -torch.inf
        self._items = items
        self._largest = self._largest_error = 0.0
        for begin in range(0, items, ROWS):
            rows = self.table_VH[begin : begin + ROWS]
            rounded = rows.bfloat16()
            self._table[begin : begin + len(rows), :units] = rounded
            self._largest = max(self._largest, float(rows.norm(dim=1).max()))
            self._largest_error = max(self._largest_error, float((rows - rounded.float()).norm(dim=1).max()))
        self._offsets = torch.arange(BLOCK) * self._blocks
        self._bias_V: Tensor | None = None
        self._bias_error = 0.0

    def candidates(self, output_BH: Tensor, k: int, exclude_BM: Tensor | None = None) -> Tensor:
        """Every item that can be among the k best listable ones."""
        self._take_bias()
        sessions = len(output_BH)
        rounded_BH = output_BH.bfloat16()
        # Two ones multiply the two columns of the bias.
        scores_VB = self._table @ pad(rounded_BH, (0, 2), value=1).t()
        if exclude_BM is not None:
            masked_BM = exclude_BM.where(exclude_BM >= 0, self._items)
            scores_VB[masked_BM, torch.arange(sessions)[:, None]] = -torch.inf
        error_B = self._errors(output_BH, rounded_BH.float())
        maxima_BG, floor_B = self._floors(scores_VB, k, error_B)
        possible_BG = maxima_BG >= floor_B[:, None]
        whole_B = possible_BG.sum(1) > MOST_CANDIDATES
        possible_BG &= ~whole_B[:, None]
        session_P, block_P = torch.nonzero(possible_BG, as_tuple=True)
        ids_PN = block_P[:, None] + self._offsets
        found_PN = scores_VB.view(-1).take(ids_PN * sessions + session_P[:, None]).float()
        # What is masked, or no item, is at -inf.
        block_P, place_P = torch.nonzero(
            (found_PN >= floor_B[session_P, None]) & (found_PN > -torch.inf), as_tuple=True
        )
        session_P, ids_P = session_P[block_P], ids_PN[block_P, place_P]
        count_B = torch.bincount(session_P, minlength=sessions)
        whole_B |= count_B > MOST_CANDIDATES
        if whole_B.any():
            kept_P = ~whole_B[session_P]
            session_P, ids_P = session_P[kept_P], ids_P[kept_P]
            count_B.masked_fill_(whole_B, 0)
        begin_B = count_B.cumsum(0) - count_B
        width = max(int(count_B.max()), k) if sessions else 0
        ids_BN = torch.full((sessions, width), -1)
        ids_BN[session_P, torch.arange(len(session_P)) - begin_B[session_P]] = ids_P
        return self.complete(ids_BN, whole_B, output_BH, k, exclude_BM)

    def _errors(self, output_BH: Tensor, rounded_BH: Tensor) -> Tensor:
        """β of each session."""
        length_B = rounded_BH.norm(dim=1)
        lost_B = (output_BH - rounded_BH).norm(dim=1)
        table_B = lost_B * self._largest + length_B * (self._largest_error + SUMS * self._largest)
        error_B: Tensor = table_B + self._bias_error
        return error_B

    def _floors(self, scores_VB: Tensor, k: int, error_B: Tensor) -> tuple[Tensor, Tensor]:
        """The blocks' maxima, B×G, and what an item's score in bfloat16 must reach; exact for floors > 0.

        Bits of positive numbers are ordered as their integers are, and integers are compared in an
        eighth of the time. Negative ones come out in reverse order, but below: where a floor is not
        positive, the numbers are compared.
        """
        bits_VB = scores_VB.view(torch.int16)
        maxima_BG = self._block_maxima(bits_VB).view(torch.bfloat16).float()
        floor_B = self._floor(maxima_BG, k, error_B)
        if not (floor_B > 0).all():
            maxima_BG = self._block_maxima(scores_VB).float()
            floor_B = self._floor(maxima_BG, k, error_B)
        return maxima_BG, floor_B

    def _block_maxima(self, scores_VB: Tensor) -> Tensor:
        maxima: Tensor = scores_VB.view(BLOCK, -1).amax(0)
        return maxima.view(self._blocks, -1).t().contiguous()

    def _floor(self, maxima_BG: Tensor, k: int, error_B: Tensor) -> Tensor:
        if self._blocks < k:
            return torch.full_like(error_B, -torch.inf)
        kth_B: Tensor = maxima_BG.topk(k, sorted=False).values.amin(1)
        rounding_B = 2 * ROUNDING * (1 + ROUNDING) * (kth_B.abs() + 2 * error_B)
        floor_B: Tensor = kth_B - 2 * error_B - rounding_B
        return floor_B

    def _take_bias(self) -> None:
        """Put the bias into the table, when the network has another one than before."""
        bias_V = self.bias.now()
        if bias_V is self._bias_V:
            return
        self._bias_V = bias_V
        high_V = bias_V.bfloat16()
        low_V = (bias_V - high_V.float()).bfloat16()
        self._table[: self._items, -2] = high_V
        self._table[: self._items, -1] = low_V
        left_V = bias_V - high_V.float() - low_V.float()
        self._bias_error = float(left_V.abs().max() + SUMS * bias_V.abs().max())
