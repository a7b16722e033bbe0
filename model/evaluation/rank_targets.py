"""Offline evaluation: ranks of the next item over all steps of all sessions.

The evaluation runs the same step that serves the stream.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from model.data.batches import session_parallel
from model.data.sessions import RECENT_ITEMS, Sessions
from model.evaluation.metrics import K, RankingMetrics
from model.losses import cross_entropies
from model.networks.input_columns import InputColumns
from model.networks.network import GradientNetwork, Network
from model.networks.vector_errors import PredictsVectors, VectorErrors, mean_known
from model.stepping.top_k import rank_of, top_of

LANES = 128


@dataclass(frozen=True)
class Evaluation:
    """Recall@k and MRR@k over `targets` next events of `sessions`; `unknown` counts unknown items' events.

    `accuracy` is Recall@1; `loss` is the mean cross-entropy of a network with a softmax, or the mean own
    loss of a network that predicts vectors, whose squared and absolute errors are `mse` and `mae`.
    """

    k: int
    recall: float
    mrr: float
    targets: int
    sessions: int
    unknown: int
    accuracy: float = 0.0
    loss: float | None = None
    mse: float | None = None
    mae: float | None = None

    @property
    def badness(self) -> float:
        """Early stopping minimises this: the loss, or -MRR@k without a loss."""
        return -self.mrr if self.loss is None else self.loss

    def as_dict(self) -> dict[str, Any]:
        """Returns plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Measures:
    """The quantities that `rank_targets` measures beside the ranks.

    `lists` counts how often each item is in a list of `k`. `losses` takes the cross-entropy of a
    softmax, which costs about as much as its scores.
    """

    k: int = K
    lists: bool = False
    losses: bool = True


@dataclass(frozen=True)
class Ranks:
    """The rank of each target among all items, from 1 (0: not ranked), and the target's session.

    `sessions` numbers the evaluated sessions from 0 to `session_count` - 1. `unknown` counts the
    events of unknown items. `listed_V` says how often each item was in a list of k. `seconds` is the
    time spent in steps and lists. `losses` are the cross-entropies of the scored targets, which come
    first; None for a network without a softmax. A network that predicts vectors has the `errors` of the
    scored targets instead.
    """

    ranks: npt.NDArray[np.int64]
    sessions: npt.NDArray[np.int64]
    session_count: int
    unknown: int
    k: int
    listed_V: npt.NDArray[np.int64]
    seconds: float
    losses: npt.NDArray[np.float32] | None = None
    errors: VectorErrors | None = None

    @property
    def scored_sessions(self) -> int:
        """Number of sessions that have a ranked target."""
        return len(np.unique(self.sessions))

    def mean_loss(self) -> float | None:
        """The mean loss of the targets; of a network of vectors without those that have no title."""
        if self.errors is not None:
            return mean_known(self.errors.loss_N)
        return None if self.losses is None or not len(self.losses) else float(self.losses.mean(dtype=float))

    def evaluation(self) -> Evaluation:
        """Returns Recall@k and MRR@k of these ranks."""
        metrics = RankingMetrics(self.k)
        metrics.update(self.ranks)
        return Evaluation(
            self.k,
            metrics.recall,
            metrics.mrr,
            metrics.count,
            self.scored_sessions,
            self.unknown,
            float((self.ranks == 1).mean()) if metrics.count else 0.0,
            self.mean_loss(),
            None if self.errors is None else mean_known(self.errors.square_N),
            None if self.errors is None else mean_known(self.errors.absolute_N),
        )


def evaluate(
    network: Network,
    sessions: Sessions,
    *,
    k: int = K,
    exclude_session_items: bool = False,
    losses: bool = True,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Returns Recall@k and MRR@k of the next events of known items, as `rank_targets` ranks them.

    >>> from model.data.vocabulary import Vocabulary
    >>> from model.networks.baselines.pop import Pop
    >>> pop = Pop(Vocabulary(["a", "b"], np.array([2, 1])))
    >>> session = Sessions(np.array([0, 2]), np.array([0, 1]), np.array([5, 9]), np.array(["s"]))
    >>> evaluate(pop, session).mrr
    0.5
    """
    return rank_targets(
        network,
        sessions,
        exclude_session_items=exclude_session_items,
        measures=Measures(k, losses=losses),
        progress=progress,
    ).evaluation()


@torch.inference_mode()
def rank_targets(
    network: Network,
    sessions: Sessions,
    *,
    exclude_session_items: bool = False,
    popularity_V: npt.NDArray[np.int64] | None = None,
    measures: Measures | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Ranks:
    """Rank every next event of every session among all items; ties count against the target.

    Without `popularity_V`, events of unknown items are counted and removed before the sessions are
    ranked, as in the literature. With `popularity_V`, the training counts, they stay, as in the
    stream: an unknown target is missed, an unknown item does not change the state, and POP's list
    serves until a session's first known item. `exclude_session_items` masks a session's newest 50
    items, as the stream does. Where `is_target` marks events, only these are ranked, and the mask
    holds all items before them. `progress` gets (next events done, all).

    >>> from model.data.vocabulary import Vocabulary
    >>> from model.networks.baselines.pop import Pop
    >>> pop = Pop(Vocabulary(["a", "b"], np.array([2, 1])))
    >>> session = Sessions(np.array([0, 3]), np.array([0, 1, 0]), np.array([5, 7, 9]), np.array(["s"]))
    >>> rank_targets(pop, session).ranks.tolist()
    [2, 1]
    """
    measures = measures or Measures()
    unknown = int(((sessions.items < 0) & sessions.counted).sum())
    numbers = np.arange(len(sessions))
    known, origin = sessions.known_of()
    if popularity_V is None:
        numbers[origin] = np.arange(len(origin))
    # Allocated once and filled: small arrays kept between large ones would scatter over the heap.
    ranks = np.zeros(known.pairs, np.int64)
    of_sessions = np.zeros(known.pairs, np.int64)
    listed_V = np.zeros(network.items, np.int64)
    columns = InputColumns(network, known)
    is_softmax = measures.losses and isinstance(network, GradientNetwork) and network.is_softmax
    state = network.initial_state(0, network.device)
    loss_N = np.zeros(known.pairs, np.float32) if is_softmax else None
    predicts = network if measures.losses and isinstance(network, PredictsVectors) else None
    errors = None if predicts is None else VectorErrors.none_yet(known.pairs)
    done, passed, seconds = 0, 0, 0.0
    for batch in session_parallel(known, LANES):
        state = network.carry(state, batch)
        inputs, rows_B = columns.at(batch.rows), batch.rows
        passed += len(rows_B)
        progress(passed, known.pairs)
        started = time.perf_counter()
        if predicts is None:
            output_BH, state = network.advance(inputs, state)
        else:
            output_BH, state = predicts.predict(inputs, state)
        rows_B, output_BH = before_targets(known, rows_B, output_BH)
        if not len(rows_B):
            continue
        target_B = columns.targets(rows_B)
        if predicts is not None and errors is not None:
            errors.put(done, predicts.errors(output_BH, target_B))
            output_BH = predicts.listed_by(output_BH)
        scores = network.score(output_BH)
        now = slice(done, done + len(target_B))
        if loss_N is not None:
            assert isinstance(scores, torch.Tensor)
            paused = time.perf_counter()
            loss_N[now] = cross_entropies(scores, target_B).cpu().numpy()
            started += time.perf_counter() - paused
        exclude_BM = newest_items(known, rows_B).to(network.device) if exclude_session_items else None
        if measures.lists:
            listed = top_of(scores, measures.k, exclude_BM)[0].cpu().numpy()
            seconds += time.perf_counter() - started
            listed_V += np.bincount(listed[listed >= 0], minlength=network.items)
        ranks[now] = rank_of(scores, target_B, exclude_BM).cpu().numpy()
        of_sessions[now] = numbers[origin[np.searchsorted(known.offsets, rows_B, side="right") - 1]]
        done += len(target_B)
    ranks, of_sessions = ranks[:done], of_sessions[:done]
    loss_N = None if loss_N is None else loss_N[:done]
    errors = None if errors is None else errors.first(done)
    if popularity_V is not None:
        for more_ranks, more_sessions in ranks_without_step(sessions, popularity_V):
            ranks, of_sessions = np.r_[ranks, more_ranks], np.r_[of_sessions, more_sessions]
    return Ranks(
        ranks,
        of_sessions,
        len(known) if popularity_V is None else len(sessions),
        unknown,
        measures.k,
        listed_V,
        seconds,
        loss_N,
        errors,
    )


def before_targets(
    sessions: Sessions, rows_B: npt.NDArray[np.int64], output_BH: torch.Tensor
) -> tuple[npt.NDArray[np.int64], torch.Tensor]:
    """The rows, and the outputs after them, whose next event is a target: all, unless some are marked."""
    if sessions.is_target is None:
        return rows_B, output_BH
    is_wanted_B = sessions.is_target[rows_B + 1]
    places_W = torch.from_numpy(np.flatnonzero(is_wanted_B)).to(output_BH.device)
    return rows_B[is_wanted_B], output_BH[places_W]


def ranks_without_step(
    sessions: Sessions, popularity_V: npt.NDArray[np.int64]
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Yields ranks and sessions of the targets without a step: unknown ones, and each first known one."""
    session = np.repeat(np.arange(len(sessions)), sessions.lengths)
    is_known = sessions.items >= 0
    before: npt.NDArray[np.int64] = np.cumsum(is_known) - is_known
    begins = sessions.offsets[:-1][session]
    target = (np.arange(len(session)) > begins) & sessions.counted
    missed = target & ~is_known
    yield np.zeros(int(missed.sum()), np.int64), session[missed]
    first = target & is_known & (before == before[begins])
    ascending = np.sort(popularity_V)
    counts = popularity_V[sessions.items[first]]
    yield len(ascending) - np.searchsorted(ascending, counts, side="left"), session[first]


def newest_items(sessions: Sessions, rows: npt.NDArray[np.int64]) -> torch.Tensor:
    """Returns each session's newest 50 items up to its row in `rows`, B×M, padded with -1.

    Where `is_target` marks events, all items up to the row.
    """
    begins = sessions.offsets[np.searchsorted(sessions.offsets, rows, side="right") - 1]
    longest = int((rows - begins).max()) + 1
    steps_back = np.arange(longest if sessions.is_target is not None else min(RECENT_ITEMS, longest))
    places = rows[:, None] - steps_back
    return torch.from_numpy(np.where(places >= begins[:, None], sessions.items[places], -1))
