"""The best items of all scores: what the network of a fused list proposes, by one compiled pass.

Shapes: B sessions, V items, G blocks of items, k items to find, N items found so far.
Tested by tests/unit/model/networks/test_best_items.py.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.compiled import compiled

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
Bits = npt.NDArray[np.int16]
Ints = npt.NDArray[np.int64]

FEWEST_BLOCKS = 5  # blocks for each item to find; with fewer their maxima would say little
LARGEST_BLOCK = 32
CHUNK = 4096  # scores that stay in the fastest cache while all items of their blocks pass
# Of 16 ordered bits: the least value, and minus infinity.
LEAST = np.int16(-0x8000)
MINUS_INFINITY = np.int16(-0x7F81)


def best_items(scores_BV: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best items of each row, best first, of equal ones the lower index, and their scores.

    A score that is -inf or no number is left out; a row with fewer others ends in -1 / -inf.

    >>> ids_Bk, scores_Bk = best_items(torch.tensor([[0.5, 2.0, -torch.inf, 2.0]]), 4)
    >>> ids_Bk.tolist(), scores_Bk.tolist()
    ([[1, 3, 0, -1]], [[2.0, 2.0, 0.5, -inf]])
    """
    if scores_BV.device.type != "cpu":
        scores_Bk, ids_Bk = scores_BV.nan_to_num(-torch.inf, torch.inf, -torch.inf).topk(k)
        return ids_Bk.masked_fill(scores_Bk == -torch.inf, -1), scores_Bk
    # By columns, as oneDNN's product lies in memory; any other is copied.
    ids, scores = best_of_columns(scores_BV.detach().float().t().contiguous().numpy(), k)
    return torch.from_numpy(ids), torch.from_numpy(scores)


@compiled
def best_of_columns(scores_VB: Floats, k: int) -> tuple[Ints, Floats]:
    """As `best_items`, of each column.

    The k best blocks hold k items that reach the k-th largest of the blocks' maxima, so an item below it
    is not among the k best. Items v, v + G, v + 2G … form a block.
    """
    items, sessions = scores_VB.shape
    ids_Bk = np.full((sessions, k), -1, np.int64)
    scores_Bk = np.full((sessions, k), -np.inf, np.float32)
    size = max(1, min(LARGEST_BLOCK, items // max(1, FEWEST_BLOCKS * k)))
    blocks = -(-items // size)
    maxima_GB = block_maxima(scores_VB, blocks)
    floor_B = lower_bounds(maxima_GB, k)
    ids_2N, scores_2N = np.empty((2, 4 * k), np.int64), np.empty((2, 4 * k), np.float32)
    for session in range(sessions):
        floor, found = floor_B[session], 0
        for block in range(blocks):
            if not maxima_GB[block, session] >= floor:
                continue
            for item in range(block, items, blocks):
                score = scores_VB[item, session]
                if score >= floor and score > -np.inf:
                    if found == ids_2N.shape[1]:
                        found = keep_best(ids_2N, scores_2N, found, k)
                    ids_2N[0, found], scores_2N[0, found] = item, score
                    found += 1
        found = keep_best(ids_2N, scores_2N, found, k)
        ids_Bk[session, :found], scores_Bk[session, :found] = ids_2N[0, :found], scores_2N[0, :found]
    return ids_Bk, scores_Bk


@compiled
def best_of_rows(
    ids_BN: Ints, scores_BN: Floats, hidden_BM: Ints, hidden_V: Flags, k: int
) -> tuple[Ints, Floats]:
    """The k best of N items of each row, B×k, of equal ones the earlier, and their scores.

    Left out are -1, the items of `hidden_BM`, what `hidden_V` marks (it may be empty), and what has the
    score -inf or no number; a row with fewer others ends in -1 / -inf.
    """
    ids_Bk = np.full((len(ids_BN), k), -1, np.int64)
    scores_Bk = np.full((len(ids_BN), k), -np.inf, np.float32)
    for b in range(len(ids_BN)):
        for n in range(ids_BN.shape[1]):
            item, score = ids_BN[b, n], scores_BN[b, n]
            if item < 0 or not score > scores_Bk[b, k - 1] or (len(hidden_V) and hidden_V[item]):
                continue
            hidden = False
            for m in range(hidden_BM.shape[1]):
                hidden |= hidden_BM[b, m] == item
            if hidden:
                continue
            place = k - 1
            while place > 0 and scores_Bk[b, place - 1] < score:
                ids_Bk[b, place], scores_Bk[b, place] = ids_Bk[b, place - 1], scores_Bk[b, place - 1]
                place -= 1
            ids_Bk[b, place], scores_Bk[b, place] = item, score
    return ids_Bk, scores_Bk


@compiled
def block_maxima(scores_VB: Floats, blocks: int) -> Floats:
    """The largest score of each block, G×B; what is no number counts as -inf."""
    size = blocks * scores_VB.shape[1]
    scores, maxima = scores_VB.reshape(-1), np.full(size, -np.inf, np.float32)
    for begin in range(0, size, CHUNK):
        chunk = maxima[begin : begin + CHUNK]
        for start in range(begin, len(scores), size):
            # Slices, because the compiler makes vector instructions only for indices that cannot be negative.
            row = scores[start : start + len(chunk)]
            for i in range(len(row)):
                chunk[i] = row[i] if row[i] > chunk[i] else chunk[i]
    return maxima.reshape(blocks, -1)


@compiled
def lower_bounds(values_GB: Floats, k: int) -> Floats:
    """A number at the k-th largest of each column, or just below; -inf where there are fewer than k."""
    blocks, sessions = values_GB.shape
    bound_B = np.full(sessions, -np.inf, np.float32)
    ordered_G = np.empty(blocks, np.int16)
    for session in range(sessions):
        bits_G = values_GB[:, session].copy().view(np.int32)
        for block in range(blocks):
            # The upper half of the int32 that has the number's order: bits cut off leave less, or the same.
            ordered_G[block] = (bits_G[block] ^ ((bits_G[block] >> 31) & 0x7FFFFFFF)) >> 16
        kth = kth_largest(ordered_G, k)
        if kth > MINUS_INFINITY:
            bits = np.int32(kth) << 16
            bits_1 = np.array([bits ^ ((bits >> 31) & 0x7FFFFFFF)]).astype(np.int32)
            bound_B[session] = bits_1.view(np.float32)[0]
    return bound_B


@compiled
def kth_largest(values_G: Bits, k: int) -> np.int16:
    """The k-th largest value; LEAST where there are fewer. It is found bit by bit, by counting."""
    above_least = 0
    for bit in range(15, -1, -1):
        tried = above_least | (1 << bit)
        floor = np.int16(tried - 0x8000)
        # Narrow numbers, so that one instruction counts many.
        count = np.int32(0)
        for group in range(len(values_G)):
            count = np.int32(count + np.int32(values_G[group] >= floor))
        if count >= k:
            above_least = tried
    return np.int16(above_least - 0x8000)


@compiled
def keep_best(ids_2N: Ints, scores_2N: Floats, found: int, k: int) -> int:
    """Sort the items found so far, best first, of equal scores the lower item first; keep k at most.

    They are in the first row; the second one is room. Returns how many are left.
    """
    ids_N, scores_N = ids_2N[0, :found], scores_2N[0, :found]
    for n in range(found):
        item, score = ids_N[n], scores_N[n]
        rank = 0
        for other in range(found):
            rank += (scores_N[other] > score) | ((scores_N[other] == score) & (ids_N[other] < item))
        ids_2N[1, rank], scores_2N[1, rank] = item, score
    left = min(found, k)
    ids_2N[0, :left], scores_2N[0, :left] = ids_2N[1, :left], scores_2N[1, :left]
    return left
