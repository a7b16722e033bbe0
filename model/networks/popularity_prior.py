"""How popular each item is right now: decayed counts, and the bias that a network makes of them.

Where items age in hours, what is popular now says more than any weight learned yesterday.
Counts decay by half-lives, so they need no window of events; a network learns how much
each half-life tells, and learns its own scores beside them.

Shapes: K half-lives, V items, C candidates, N events.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from model.data.sessions import Sessions

# Stands for "not seen lately": the log of no count at all would be without bound.
FLOOR = 0.1
FOLLOW_EVERY_MS = 60_000


class PopularityPrior(nn.Module):
    """bias_v = Σ_k w_k log(c_kv + .1), c_kv the count of item v, halved every `half_lives_s[k]`.

    The counts are those at `now_ms`, event time, and stand still until `advance`: training
    walks them along, a version that serves has those of the end of its training. `moves` is how
    often they were changed.
    """

    counts_KV: Tensor
    now_ms: Tensor

    def __init__(self, half_lives_s: Sequence[float], items: int) -> None:
        super().__init__()
        self._half_lives_ms = [half_life * 1000 for half_life in half_lives_s]
        count = len(self._half_lives_ms)
        self.weight_K = nn.Parameter(torch.full((count,), 1 / count))
        self.register_buffer("counts_KV", torch.zeros(count, items))
        self.register_buffer("now_ms", torch.tensor(0))
        self.moves = 0

    def bias(self, candidates_C: Tensor | None = None) -> Tensor:
        """The bias of the candidates, or of all items."""
        counts = self.counts_KV if candidates_C is None else self.counts_KV.index_select(1, candidates_C)
        return self.weight_K @ (counts + FLOOR).log_()

    def counts_by(self, half_life_s: float) -> npt.NDArray[np.float64]:
        """Counts of all items, V, as another half-life would have them of events that came evenly."""
        nearest = int(np.argmin(np.abs(np.log(np.array(self._half_lives_ms) / (half_life_s * 1000)))))
        scale = half_life_s * 1000 / self._half_lives_ms[nearest]
        counts: npt.NDArray[np.float64] = self.counts_KV[nearest].double().numpy() * scale
        return counts

    def restart(self, now_ms: int) -> None:
        """Forget all events; the clock stands at `now_ms`."""
        self.counts_KV.zero_()
        self.now_ms.fill_(now_ms)
        self.moves += 1

    def advance(self, items_N: npt.NDArray[np.int64], times_ms_N: npt.NDArray[np.int64], now_ms: int) -> None:
        """Let time pass until `now_ms`, with these events in between. Time does not run back."""
        passed_ms = now_ms - int(self.now_ms)
        if passed_ms < 0:
            raise ValueError(f"{-passed_ms} ms before the last event counted")
        items = torch.from_numpy(items_N)
        for counts_V, half_life_ms in zip(self.counts_KV, self._half_lives_ms, strict=True):
            counts_V *= 2 ** (-passed_ms / half_life_ms)
            left_N = np.exp2((times_ms_N - now_ms) / half_life_ms).astype(np.float32)
            counts_V.index_add_(0, items, torch.from_numpy(left_N))
        self.now_ms.fill_(now_ms)
        self.moves += 1


class CurrentBias:
    """b_v + prior_v of a network whose weights stand still; summed again only when its prior has moved.

    Once `set_bias` has given another bias, the prior is not read any more.

    >>> bias = CurrentBias(torch.tensor([1.0, 2.0]), prior=None)
    >>> bias.set_bias(torch.tensor([3.0, 4.0, 5.0]))
    >>> bias.now()
    tensor([3., 4., 5.])
    """

    def __init__(self, bias_V: Tensor, prior: PopularityPrior | None) -> None:
        self._bias_V = bias_V.detach()
        self._prior = prior
        self._moves = -1
        self._sum_V = self._bias_V

    def now(self) -> Tensor:
        """The bias of all items; the same tensor as before when it has not changed."""
        if self._prior is not None and self._prior.moves != self._moves:
            self._sum_V = self._bias_V + self._prior.bias().detach()
            self._moves = self._prior.moves
        return self._sum_V

    def set_bias(self, bias_V: Tensor) -> None:
        """Use this bias from now on, which may have more items."""
        self._prior, self._sum_V = None, bias_V


class EventClock:
    """Walks a prior along a log's events while a network trains on them, to the batch's time."""

    def __init__(self, prior: PopularityPrior, sessions: Sessions) -> None:
        order = np.argsort(sessions.times_ms, kind="stable")
        self._prior = prior
        self._items, self._times_ms = sessions.items[order].astype(np.int64), sessions.times_ms[order]
        self._end_ms = int(sessions.times_ms[sessions.offsets[-2]])

    def restart(self, keep: bool) -> None:
        """Begin at the log's first event; `keep` the counts of the time before it."""
        first_ms = int(self._times_ms[0])
        if keep and int(self._prior.now_ms) <= first_ms:
            self._prior.advance(self._items[:0], self._times_ms[:0], first_ms)
        else:
            self._prior.restart(first_ms)

    def follow(self, now_ms: int) -> None:
        """`to`, once that is a minute or more: a batch need not wait for seconds."""
        if now_ms >= int(self._prior.now_ms) + FOLLOW_EVERY_MS:
            self.to(now_ms)

    def to(self, now_ms: int) -> None:
        """Count the events before `now_ms`; nothing, when that is not later than before."""
        if now_ms > int(self._prior.now_ms):
            begin, end = np.searchsorted(self._times_ms, [int(self._prior.now_ms), now_ms])
            self._prior.advance(self._items[begin:end], self._times_ms[begin:end], now_ms)

    def to_the_end(self) -> None:
        """Count what came before the last session began: later, only stragglers of the log are left."""
        self.to(self._end_ms)
