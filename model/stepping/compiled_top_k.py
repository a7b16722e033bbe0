"""A wave's lists from its scores in bfloat16: one compiled pass without the interpreter.

The lists equal `top_k`'s; `model.stepping.shortlist` says why no item is lost. numba compiles the
pass at its first call (about two seconds; kept on disk for the next process). It runs without the
interpreter's lock, so threads that step waves side by side wait for the lock a few times a wave
instead of at each of some thirty small tensor operations.

A bfloat16's bits are compared as the int16 that has the same order as the number.

Shapes: B sessions in the wave, V items, H units of the output, M masked items, k list length,
G blocks of BLOCK items, R = G · BLOCK rows of scores.
Tested by tests/unit/model/stepping/test_shortlist.py.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from model.compiled import compiled
from model.networks.best_items import LEAST, MINUS_INFINITY, kth_largest
from model.stepping.top_k import BLOCK

Floats = npt.NDArray[np.float32]
Bits = npt.NDArray[np.int16]
Ints = npt.NDArray[np.int64]

ROUNDING = 2**-8  # relative error of a rounding to bfloat16
SIGN_BITS = 15
MAGNITUDE = np.int16(0x7FFF)
CHUNK = 8192  # ordered bits that stay in the fastest cache while all rows pass


@compiled
def compiled_top_k(
    bits_RB: Bits,
    output_BH: Floats,
    table_VH: Floats,
    bias_V: Floats,
    error_B: Floats,
    exclude_BM: Ints,
    k: int,
    most_candidates: int,
) -> tuple[Ints, Floats, Ints]:
    """The k best listable items by their exact scores, B×k, the scores, and each session's candidates.

    `bits_RB` are scores a in bfloat16; row v belongs to item v, rows without an item are -inf. They are
    overwritten where `exclude_BM` (padded with -1) masks. An exact score h · e_v + b_v lies within
    error_B + 2⁻⁸|a| of a. A session with more than `most_candidates` candidates is not scored.
    """
    sessions = len(output_BH)
    ids_Bk = np.full((sessions, k), -1, np.int64)
    scores_Bk = np.full((sessions, k), -np.inf, np.float32)
    count_B = np.zeros(sessions, np.int64)
    for session in range(sessions):
        for place in range(exclude_BM.shape[1]):
            if exclude_BM[session, place] >= 0:
                bits_RB[exclude_BM[session, place], session] = ordered(MINUS_INFINITY)
    maxima_GB = block_maxima(bits_RB)
    floor_B = floors(kth_of_columns(maxima_GB, k), error_B)
    blocks = len(maxima_GB)
    for block in range(blocks):
        maxima_B = maxima_GB[block]
        reached = 0
        for session in range(sessions):
            reached += maxima_B[session] >= floor_B[session]
        if not reached:
            continue
        for session in range(sessions):
            floor = floor_B[session]
            if maxima_B[session] < floor:
                continue
            for place in range(BLOCK):
                item = block + place * blocks
                if ordered(bits_RB[item, session]) < floor:
                    continue
                count_B[session] += 1
                if count_B[session] <= most_candidates:
                    score = dot(output_BH[session], table_VH[item]) + bias_V[item]
                    insert(ids_Bk[session], scores_Bk[session], item, score)
    return ids_Bk, scores_Bk, count_B


@compiled
def ordered(bits: np.int16) -> np.int16:
    """The int16 that has a bfloat16's order, from its bits; the same function turns it back."""
    return np.int16(bits ^ ((bits >> SIGN_BITS) & MAGNITUDE))


@compiled
def block_maxima(bits_RB: Bits) -> Bits:
    """Ordered bits of the largest score of each block, G×B; items v, v + G, v + 2G … form a block."""
    rows, sessions = bits_RB.shape
    size = rows // BLOCK * sessions
    bits, maxima = bits_RB.reshape(-1), np.empty(size, np.int16)
    for begin in range(0, size, CHUNK):
        chunk = maxima[begin : begin + CHUNK]
        chunk[:] = LEAST
        for start in range(begin, len(bits), size):
            # Slices, because the compiler makes vector instructions only for indices that cannot be negative.
            row = bits[start : start + len(chunk)]
            for i in range(len(chunk)):
                chunk[i] = max(chunk[i], ordered(row[i]))
    return maxima.reshape(-1, sessions)


@compiled
def kth_of_columns(maxima_GB: Bits, k: int) -> Bits:
    """The k-th largest of each column; LEAST where there are fewer."""
    kth_B = np.empty(maxima_GB.shape[1], np.int16)
    for session in range(len(kth_B)):
        kth_B[session] = kth_largest(maxima_GB[:, session].copy(), k)
    return kth_B


@compiled
def floors(kth_B: Bits, error_B: Floats) -> Bits:
    """Ordered bits that every candidate's score reaches: a_k - 2β - 2u(|a_k| + 2β), rounded down.

    They are above the bits of minus infinity, which masked items and rows without an item have.
    """
    floor_B = np.empty(len(kth_B), np.int16)
    for session in range(len(kth_B)):
        floor_B[session] = MINUS_INFINITY + 1
        if kth_B[session] > MINUS_INFINITY:
            kth = float_of(kth_B[session])
            error = error_B[session]
            floor = kth - 2 * error - 2 * ROUNDING * (1 + ROUNDING) * (abs(kth) + 2 * error)
            bits = np.array([floor], np.float32).view(np.int32)[0]
            # Cutting bits off moves a number towards zero: a negative one would become larger.
            place = int(ordered(np.int16(bits >> 16))) - (1 if floor < 0 else 0)
            floor_B[session] = max(place, int(MINUS_INFINITY) + 1)
    return floor_B


@compiled
def float_of(bits: np.int16) -> np.float32:
    """The number of these ordered bits."""
    return np.float32(np.array([np.int32(ordered(bits)) << 16], np.int32).view(np.float32)[0])


@compiled
def dot(output_H: Floats, row_H: Floats) -> np.float32:
    """h · e_v. Unlike in a product of matrices, the sum does not depend on other rows."""
    total = np.float32(0)
    for unit in range(len(output_H)):
        total += output_H[unit] * row_H[unit]
    return total


@compiled
def insert(ids_k: Ints, scores_k: Floats, item: int, score: np.float32) -> None:
    """Insert an item into a list, best first, after its equals, if its score reaches the list."""
    place = len(ids_k)
    while place > 0 and scores_k[place - 1] < score:
        place -= 1
    for after in range(len(ids_k) - 1, place, -1):
        ids_k[after], scores_k[after] = ids_k[after - 1], scores_k[after - 1]
    if place < len(ids_k):
        ids_k[place], scores_k[place] = item, score
