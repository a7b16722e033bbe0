"""How long a step takes: CPU time of scores and list per event, in batches of 128 sessions.

The models take turns, and each model keeps its best round of CPU time, so that other load on the
machine does not count. The figure compares models; it is not a latency.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from model.config import LIST_LENGTH
from model.data.batches import session_parallel
from model.data.sessions import Sessions
from model.evaluation.rank_targets import LANES
from model.networks.input_columns import InputColumns
from model.networks.network import Network
from model.stepping.top_k import top_of

ROUNDS = 5
TARGETS = 2_000


@torch.inference_mode()
def step_times_ms(models: Sequence[tuple[Network, Sessions]]) -> list[float]:
    """Returns each network's milliseconds per event, on about 2,000 next events of its `Sessions`.

    >>> import numpy as np
    >>> from model.data.vocabulary import Vocabulary
    >>> from model.networks.baselines.pop import Pop
    >>> session = Sessions(np.array([0, 2]), np.array([0, 1]), np.array([5, 9]), np.array(["s"]))
    >>> [ms > 0 for ms in step_times_ms([(Pop(Vocabulary(["a", "b"], np.array([2, 1]))), session)])]
    [True]
    """
    best = [float("inf")] * len(models)
    samples = [(network, sessions.known().sample(TARGETS)) for network, sessions in models]
    for _ in range(ROUNDS):
        for number, (network, sessions) in enumerate(samples):
            best[number] = min(best[number], _cpu_ms(network, sessions) / max(1, sessions.pairs))
    return best


def _cpu_ms(network: Network, sessions: Sessions) -> float:
    """Returns CPU milliseconds of all steps and lists in this thread; torch should use one thread."""
    columns = InputColumns(network, sessions)
    state, seconds = network.initial_state(0), 0.0
    for batch in session_parallel(sessions, LANES):
        state = network.carry(state, batch)
        started = time.thread_time()
        scores, state = network.step(columns.at(batch.rows), state)
        top_of(scores, LIST_LENGTH, None)
        seconds += time.thread_time() - started
    return 1000 * seconds
