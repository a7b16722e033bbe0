"""Matrix factorisation learned by BPR, for sessions and for a window of newest items.

Rendle, Freudenthaler, Gantner, Schmidt-Thieme: BPR, UAI 2009. A pair (u, i) and an item j
drawn from all: L = -log σ(x_ui - x_uj) + λ |Θ|², with x_ui = p_u · q_i + b_i.

Shapes: B pairs or sessions, V items, F factors, S sessions, W items of the window.
Tested by tests/unit/model/networks/baselines/test_baselines.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from model.config import ModelConfig
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.networks.baselines.recent_items import NAME, recent_field, with_newest
from model.networks.network import Columns, CountingNetwork, State, StateField
from model.optimizers import Optimizer, Rows, build_optimizer

PAIRS_PER_BATCH = 512


class BPRMF(CountingNetwork):
    """Learns a vector for each session; a new session gets the mean of its items' vectors.

    Hidasi et al., ICLR 2016, section 4: the factors of a session that has not ended cannot be
    learned, so the mean of its items' factors replaces them.
    """

    item_VF: Tensor
    bias_V: Tensor

    def __init__(self, config: ModelConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.items = len(vocabulary)
        self.factors = config.hidden_size
        self.register_buffer("item_VF", torch.zeros(self.items, self.factors))
        self.register_buffer("bias_V", torch.zeros(self.items))
        self._scratch_V = torch.zeros(self.items, dtype=torch.int64)

    def fit(self, sessions: Sessions, vocabulary: Vocabulary, config: ModelConfig) -> None:
        """Learn from every (session, item) pair, in random order, `config.epochs` times."""
        generator = torch.Generator().manual_seed(config.seed)
        self.item_VF.normal_(0, 0.1, generator=generator)
        session_SF = torch.empty(len(sessions), self.factors).normal_(0, 0.1, generator=generator)
        session_P = torch.from_numpy(np.repeat(np.arange(len(sessions)), sessions.lengths))
        item_P = torch.from_numpy(sessions.items.astype(np.int64))
        optimizer = build_optimizer(config)
        scratch_S = torch.zeros(len(sessions), dtype=torch.int64)
        for chosen_B in shuffled(len(item_P), config.epochs, generator):
            rows_B = session_P[chosen_B]
            user_BF = session_SF[rows_B].requires_grad_()
            self._learn(user_BF, item_P[chosen_B], config.regularisation, generator, optimizer)
            assert user_BF.grad is not None
            optimizer.update("session", session_SF, user_BF.grad, Rows(rows_B, scratch_S))

    def _learn(
        self,
        user_BF: Tensor,
        item_B: Tensor,
        regularisation: float,
        generator: torch.Generator,
        optimizer: Optimizer,
    ) -> None:
        """One BPR step of the item factors; leaves the users' gradient in `user_BF.grad`."""
        item_2B = torch.cat([item_B, torch.randint(self.items, item_B.shape, generator=generator)])
        vectors_2BF = self.item_VF[item_2B].requires_grad_()
        bias_2B = self.bias_V[item_2B].requires_grad_()
        score_2B = (user_BF.repeat(2, 1) * vectors_2BF).sum(1) + bias_2B
        positive_B, negative_B = score_2B.chunk(2)
        loss = -logsigmoid(positive_B - negative_B).sum()
        if regularisation:
            squares = user_BF.square().sum() + vectors_2BF.square().sum() + bias_2B.square().sum()
            loss = loss + regularisation * squares
        torch.autograd.backward(loss)
        assert vectors_2BF.grad is not None
        assert bias_2B.grad is not None
        rows = Rows(item_2B, self._scratch_V)
        optimizer.update("item", self.item_VF, vectors_2BF.grad, rows)
        optimizer.update("bias", self.bias_V, bias_2B.grad, rows)

    def state_fields(self) -> tuple[StateField, ...]:
        """The sum of the items' vectors, and their number."""
        return (StateField("sum", (self.factors,)), StateField("count", (1,)))

    def advance(self, inputs: Columns, state: State) -> tuple[Tensor, State]:
        """The output is the mean of the session's item vectors, B×F."""
        after = {"sum": state["sum"] + self.item_VF[inputs["item"]], "count": state["count"] + 1}
        return after["sum"] / after["count"], after

    def score(self, output_BH: Tensor) -> Tensor:
        """x_v = p · q_v + b_v, B×V."""
        return torch.addmm(self.bias_V, output_BH, self.item_VF.t())


class SequentialMF(BPRMF):
    """The window of newest items replaces the user: p = mean of their input vectors.

    Donkers, Loepp, Ziegler, RecSys 2017, section 2.1 and table 1 (window 2): temporal order
    by a window of the feature vectors of items consumed before. Learned by BPR on the next item.
    """

    input_VF: Tensor

    def __init__(self, config: ModelConfig, vocabulary: Vocabulary) -> None:
        super().__init__(config, vocabulary)
        self.window_events = config.window_events
        self.register_buffer("input_VF", torch.zeros(self.items, self.factors))

    def fit(self, sessions: Sessions, vocabulary: Vocabulary, config: ModelConfig) -> None:
        """Learn from every event and the window before it, in random order, `config.epochs` times."""
        generator = torch.Generator().manual_seed(config.seed)
        self.item_VF.normal_(0, 0.1, generator=generator)
        self.input_VF.normal_(0, 0.1, generator=generator)
        target_P, window_PW = self.windows(sessions)
        target_items_P = torch.from_numpy(sessions.items.astype(np.int64))[target_P]
        optimizer = build_optimizer(config)
        for chosen_B in shuffled(len(target_P), config.epochs, generator):
            window_BW = window_PW[chosen_B]
            user_BF = self.mean(window_BW).requires_grad_()
            self._learn(user_BF, target_items_P[chosen_B], config.regularisation, generator, optimizer)
            assert user_BF.grad is not None
            self.learn_window(window_BW, user_BF.grad, optimizer)

    def windows(self, sessions: Sessions) -> tuple[Tensor, Tensor]:
        """Every event after a session's first, P, and the items before it, P×W, padded with -1."""
        target_P = np.delete(np.arange(len(sessions.items)), sessions.offsets[:-1])
        begin_P = np.repeat(sessions.offsets[:-1], np.maximum(sessions.lengths - 1, 0))
        places = target_P[:, None] - 1 - np.arange(self.window_events)
        items = sessions.items.astype(np.int64)
        window_PW = torch.from_numpy(np.where(places >= begin_P[:, None], items[places], -1))
        return torch.from_numpy(target_P), window_PW

    def learn_window(self, window_BW: Tensor, gradient_BF: Tensor, optimizer: Optimizer) -> None:
        """Move the input vectors of the windows by the gradient of their mean."""
        inside = window_BW >= 0
        share_BW1 = (inside / inside.sum(1, keepdim=True))[:, :, None]
        gradient = (gradient_BF[:, None, :] * share_BW1)[inside]
        optimizer.update("input", self.input_VF, gradient, Rows(window_BW[inside], self._scratch_V))

    def mean(self, window_BW: Tensor) -> Tensor:
        """The mean of the windows' input vectors, B×F."""
        inside = (window_BW >= 0)[:, :, None]
        return (self.input_VF[window_BW.clamp(min=0).long()] * inside).sum(1) / inside.sum(1)

    def state_fields(self) -> tuple[StateField, ...]:
        """The newest items."""
        return (recent_field(self.window_events),)

    def advance(self, inputs: Columns, state: State) -> tuple[Tensor, State]:
        """The output is the mean of the window's input vectors, B×F."""
        _, state = with_newest(inputs, state)
        return self.mean(state[NAME]), state


def shuffled(pairs: int, epochs: int, generator: torch.Generator) -> Iterator[Tensor]:
    """The indices of all pairs in a new random order for each epoch, in batches."""
    for _ in range(epochs):
        yield from torch.split(torch.randperm(pairs, generator=generator), PAIRS_PER_BATCH)
