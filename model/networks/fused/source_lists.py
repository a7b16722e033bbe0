"""Each source's own list: the best candidates by that source alone, as it would give them without a ranker.

Shapes: B sessions, C candidates, F features, M items to leave out, S sources, k list length.
Tested by tests/unit/model/networks/fused/test_source_lists.py.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from model.compiled import compiled
from model.networks.fused.source_arrays import Floats, Ints, Longs

NO_ITEM = -1
NO_DATA = -2  # in every place of the list of a source that has nothing to propose from, and as a rank


@compiled
def source_lists(
    ids_BC: Longs, features_BCF: Floats, count_B: Longs, left_out_BM: Longs, by_S: Longs, k: int
) -> Ints:
    """The best candidates of each source, B×S×k, padded with -1; of equal ones the lower index first.

    `by_S` are the features by which the sources order; a candidate that a source does not propose has
    0 there. Where `by_S` is negative the source has no data, and its list is all -2.
    """
    lists_BSk = np.full((len(ids_BC), len(by_S), k), NO_ITEM, np.int32)
    values_k = np.empty(k, np.float32)
    for b in range(len(ids_BC)):
        for s in range(len(by_S)):
            list_k = lists_BSk[b, s]
            if by_S[s] < 0:
                list_k[:] = NO_DATA
                continue
            used = 0
            for c in range(count_B[b]):
                value, item = features_BCF[b, c, by_S[s]], ids_BC[b, c]
                if value <= 0:
                    continue
                if used == k and (
                    value < values_k[k - 1] or (value == values_k[k - 1] and item > list_k[k - 1])
                ):
                    continue
                hidden = False
                for m in range(left_out_BM.shape[1]):
                    hidden |= left_out_BM[b, m] == item
                if hidden:
                    continue
                at = min(used, k - 1)
                while at > 0 and (
                    values_k[at - 1] < value or (values_k[at - 1] == value and list_k[at - 1] > item)
                ):
                    values_k[at], list_k[at] = values_k[at - 1], list_k[at - 1]
                    at -= 1
                values_k[at], list_k[at] = value, item
                used = min(k, used + 1)
    return lists_BSk


def ranks_in(lists_BSk: Ints, item_B: npt.NDArray[np.integer]) -> Longs:
    """The rank of each session's item in the list of each source, B×S, from 1.

    0 is a miss, as for an unknown item, -1; -2 stands for a source without data.

    >>> lists_BSk = np.array([[[7, 3], [9, -1], [-2, -2]]], np.int32)
    >>> ranks_in(lists_BSk, np.array([3])).tolist(), ranks_in(lists_BSk, np.array([-1])).tolist()
    ([[2, 0, -2]], [[0, 0, -2]])
    """
    is_item_BSk = (lists_BSk == item_B[:, None, None]) & (lists_BSk >= 0)
    ranks_BS = np.where(is_item_BSk.any(2), is_item_BSk.argmax(2) + 1, 0)
    return np.where(lists_BSk[:, :, 0] == NO_DATA, NO_DATA, ranks_BS)
