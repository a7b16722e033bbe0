"""How popular each item is right now: decayed counts, and a network's bias from them.

Where items age within hours, popularity now predicts more than weights learned yesterday.
Counts decay by half-lives, so they need no window of events. A network learns the weight of
each half-life beside its own scores.

Shapes: K half-lives, V items, C candidates, N events.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from model.data.sessions import Sessions

FLOOR = 0.1  # added to counts: the logarithm of a count of zero would have no bound
ADVANCE_EVERY_MS = 60_000  # a training batch need not wait for seconds


class PopularityPrior(nn.Module):
    """bias_v = Σ_k w_k log(c_kv + .1), c_kv the count of item v, halved every `half_lives_s[k]`.

    The counts are those at `now_ms`, event time, until `advance`: training advances them, a version
    in service keeps the counts at the end of its training. `moves` says how often they changed.

    >>> prior = PopularityPrior([60.0], items=2)
    >>> prior.advance(np.array([0, 0]), np.array([0, 60_000]), now_ms=60_000)
    >>> prior.counts_KV.tolist()
    [[1.5, 0.0]]
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
        """Counts of all items, V, scaled to another half-life as if events came evenly."""
        nearest = int(np.argmin(np.abs(np.log(np.array(self._half_lives_ms) / (half_life_s * 1000)))))
        scale = half_life_s * 1000 / self._half_lives_ms[nearest]
        counts: npt.NDArray[np.float64] = self.counts_KV[nearest].double().cpu().numpy() * scale
        return counts

    def restart(self, now_ms: int) -> None:
        """Forget all events; the clock stands at `now_ms`."""
        self.counts_KV.zero_()
        self.now_ms.fill_(now_ms)
        self.moves += 1

    def advance(self, items_N: npt.NDArray[np.int64], times_ms_N: npt.NDArray[np.int64], now_ms: int) -> None:
        """Advance to `now_ms` over these events. Raises ValueError when time would run back."""
        passed_ms = now_ms - int(self.now_ms)
        if passed_ms < 0:
            raise ValueError(f"{-passed_ms} ms before the last event counted")
        items = torch.from_numpy(items_N).to(self.counts_KV.device)
        for counts_V, half_life_ms in zip(self.counts_KV, self._half_lives_ms, strict=True):
            counts_V *= 2 ** (-passed_ms / half_life_ms)
            left_N = np.exp2((times_ms_N - now_ms) / half_life_ms).astype(np.float32)
            counts_V.index_add_(0, items, torch.from_numpy(left_N).to(items.device))
        self.now_ms.fill_(now_ms)
        self.moves += 1


class CurrentBias:
    """b_v + prior_v of a network whose weights stand still; summed again only when its prior has moved.

    Once `set_bias` has given another bias, the prior is not read any more. An unlisted item has the
    bias -inf, whatever is summed or set; without one, `now` is the sum itself.

    >>> bias = CurrentBias(torch.tensor([1.0, 2.0]), prior=None)
    >>> bias.set_bias(torch.tensor([3.0, 4.0, 5.0]))
    >>> bias.now()
    tensor([3., 4., 5.])
    """

    def __init__(self, bias_V: Tensor, prior: PopularityPrior | None) -> None:
        self._bias_V = bias_V.detach()
        self._prior = prior
        self._moves = -1
        self._sum_V = self._listed_V = self._bias_V
        self._unlisted_V: Tensor | None = None

    def now(self) -> Tensor:
        """The bias of all items; the same tensor as before when its sum has not changed."""
        if self._prior is not None and self._prior.moves != self._moves:
            self._sum_V = self._bias_V + self._prior.bias().detach()
            self._listed_V = self._without_unlisted()
            self._moves = self._prior.moves
        return self._listed_V

    def of_all(self) -> Tensor:
        """The bias of all items, as if every one might be listed."""
        self.now()
        return self._sum_V

    def set_bias(self, bias_V: Tensor) -> None:
        """Use this bias from now on, which may have more items."""
        self._prior, self._sum_V = None, bias_V
        self._listed_V = self._without_unlisted()

    def set_unlisted(self, unlisted_V: Tensor, changed_C: Tensor) -> None:
        """Give the bias -inf to the items that `unlisted_V` marks; only `changed_C` differ from before.

        `unlisted_V` is kept, not copied; it may have more items than the bias. In place, but for the
        first time: the tensor that `now` returns stays the same one.
        """
        self.now()
        if self._unlisted_V is None:
            self._listed_V = self._sum_V.clone()
        self._unlisted_V = unlisted_V
        changed_C = changed_C[changed_C < len(self._sum_V)]
        bias_C = self._sum_V[changed_C].masked_fill(unlisted_V[changed_C], -torch.inf)
        self._listed_V[changed_C] = bias_C

    def _without_unlisted(self) -> Tensor:
        if self._unlisted_V is None:
            return self._sum_V
        return self._sum_V.masked_fill(self._unlisted_V[: len(self._sum_V)], -torch.inf)


class EventClock:
    """Advances a prior along a log's events, to the time of each batch that a network trains on."""

    def __init__(self, prior: PopularityPrior, sessions: Sessions) -> None:
        order = np.argsort(sessions.times_ms, kind="stable")
        self._prior = prior
        self._items, self._times_ms = sessions.items[order].astype(np.int64), sessions.times_ms[order]
        self._end_ms = int(sessions.times_ms[sessions.offsets[-2]])

    def restart(self, keep: bool) -> None:
        """Go back to the log's first event; with `keep`, keep the counts of the time before it."""
        first_ms = int(self._times_ms[0])
        if keep and int(self._prior.now_ms) <= first_ms:
            self._prior.advance(self._items[:0], self._times_ms[:0], first_ms)
        else:
            self._prior.restart(first_ms)

    def advance_if_due(self, now_ms: int) -> None:
        """Advance to `now_ms` if a minute or more has passed since the last time."""
        if now_ms >= int(self._prior.now_ms) + ADVANCE_EVERY_MS:
            self.advance_to(now_ms)

    def advance_to(self, now_ms: int) -> None:
        """Count the events before `now_ms`; an earlier time than before changes nothing."""
        if now_ms > int(self._prior.now_ms):
            begin, end = np.searchsorted(self._times_ms, [int(self._prior.now_ms), now_ms])
            self._prior.advance(self._items[begin:end], self._times_ms[begin:end], now_ms)

    def advance_to_end(self) -> None:
        """Count the events before the last session began: only the log's late events come after it."""
        self.advance_to(self._end_ms)
