"""How long a step takes: the time of scores and list per event, in batches of 128 sessions.

The models take turns and the best of some rounds counts, so that what else the machine does
in the meantime tells on none of them. A figure to compare models by, not the worker's latency.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.evaluate import rank_targets
from model.network import Network
from model.sessions import Sessions

ROUNDS = 5
TARGETS = 2_000


def step_times_ms(
    models: Sequence[tuple[Network, Sessions]], *, exclude_session_items: bool = False
) -> list[float]:
    """Milliseconds per event of each network, on about 2,000 next events of its `Sessions`."""
    best = [float("inf")] * len(models)
    samples = [(network, sample(sessions, TARGETS)) for network, sessions in models]
    for _ in range(ROUNDS):
        for number, (network, sessions) in enumerate(samples):
            ranked = rank_targets(network, sessions, exclude_session_items=exclude_session_items, lists=True)
            best[number] = min(best[number], 1000 * ranked.seconds / max(1, len(ranked.ranks)))
    return best


def sample(sessions: Sessions, targets: int) -> Sessions:
    """The sessions, or every n-th of them, so that they have about so many next events."""
    return sessions.select(np.arange(0, len(sessions), max(1, sessions.pairs // targets)))
