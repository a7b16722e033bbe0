"""How many sessions of a wave are scored at once: a row of scores has a number for each item.

Tested by tests/unit/model/registry/test_memory_of_loading.py.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Best = Callable[[Tensor, int, Tensor | None], tuple[Tensor, Tensor]]

MOST_SCORE_BYTES = 128 << 20
SCORE_BYTES = 4


def sessions_at_once(sessions: int, items: int) -> int:
    """Returns the size of the fewest parts of one size whose scores fit into MOST_SCORE_BYTES.

    The last part may overlap the one before. So a list depends on the size of its wave and not on
    its place in it.

    >>> sessions_at_once(64, 50_000), sessions_at_once(64, 4_000_000), sessions_at_once(7, 64_000_000)
    (64, 8, 1)
    >>> sessions_at_once(61, 1_000_000)
    31
    """
    most = max(1, MOST_SCORE_BYTES // (SCORE_BYTES * max(1, items)))
    parts = -(-sessions // most)
    return -(-sessions // parts)


def by_parts(
    best: Best, output_BH: Tensor, k: int, exclude_BM: Tensor | None, items: int
) -> tuple[Tensor, Tensor]:
    """Returns `best` of a wave, found by parts of it on a CPU where all its scores would be too many."""
    sessions = len(output_BH)
    size = sessions_at_once(sessions, items) if output_BH.device.type == "cpu" and sessions else sessions
    if size == sessions:
        return best(output_BH, k, exclude_BM)
    ids: list[Tensor] = []
    scores: list[Tensor] = []
    for start in range(0, sessions, size):
        begin = min(start, sessions - size)
        part = slice(begin, begin + size)
        ids_Bk, scores_Bk = best(output_BH[part], k, None if exclude_BM is None else exclude_BM[part])
        ids.append(ids_Bk[start - begin :])
        scores.append(scores_Bk[start - begin :])
    return torch.cat(ids), torch.cat(scores)
