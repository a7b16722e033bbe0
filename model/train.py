"""Training: session-parallel batches, sampled loss, sparse Adagrad on the rows touched.

A batch reads and writes only the item vectors of its inputs, targets and negatives, so
its cost hardly depends on the number of items. The hidden state is carried over batches,
the gradient is not (Hidasi et al., ICLR 2016).

Shapes: B lanes, H units, L layers, C candidates, U distinct items of a batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from model.batches import session_parallel
from model.config import ModelConfig
from model.errors import NextclickError
from model.losses import sampled_cross_entropy
from model.networks import build
from model.networks.gru4rec import GRU4Rec
from model.sampling import NegativeSampler
from model.sessions import Sessions
from model.vocabulary import Vocabulary

ADAGRAD_EPSILON = 1e-6
BATCHES_BETWEEN_REPORTS = 50


@dataclass(frozen=True)
class Progress:
    """How far a training is: `events` of `total` in epoch `epoch` (from 1), and its mean loss so far."""

    epoch: int
    epochs: int
    events: int
    total: int
    loss: float


@dataclass
class TrainingResult:
    """The trained network in evaluation mode, the mean loss of each epoch, and its speed."""

    network: GRU4Rec
    losses: list[float] = field(default_factory=list)
    events: int = 0
    seconds: float = 0.0


class SparseAdagrad:
    """Adagrad with momentum on single rows of the item vectors and biases (Duchi et al., JMLR 2011)."""

    def __init__(self, vectors_VH: Tensor, bias_V: Tensor, learning_rate: float, momentum: float) -> None:
        self._vectors, self._bias = vectors_VH, bias_V
        self._learning_rate, self._momentum = learning_rate, momentum
        self._sum_VH, self._sum_V = torch.zeros_like(vectors_VH), torch.zeros_like(bias_V)
        self._velocity_VH = torch.zeros_like(vectors_VH) if momentum else None

    def update(
        self, items_N: Tensor, gradient_NH: Tensor, bias_items_C: Tensor, bias_gradient_C: Tensor
    ) -> None:
        """Add up the gradients of equal items, then step each row once."""
        items_U, inverse_N = torch.unique(items_N, return_inverse=True)
        gradient_UH = torch.zeros(len(items_U), gradient_NH.shape[1]).index_add_(0, inverse_N, gradient_NH)
        sum_UH = self._sum_VH[items_U].addcmul_(gradient_UH, gradient_UH)
        self._sum_VH[items_U] = sum_UH
        step_UH = gradient_UH.mul_(-self._learning_rate).div_(sum_UH.add_(ADAGRAD_EPSILON).sqrt_())
        if self._velocity_VH is not None:
            step_UH = self._velocity_VH[items_U].mul_(self._momentum).add_(step_UH)
            self._velocity_VH[items_U] = step_UH
        self._vectors.index_add_(0, items_U, step_UH)
        # Bias rows belong to the candidates, which stand last in items_N.
        gradient_U = torch.zeros(len(items_U)).index_add_(0, inverse_N[-len(bias_items_C) :], bias_gradient_C)
        sum_U = self._sum_V[items_U].addcmul_(gradient_U, gradient_U)
        self._sum_V[items_U] = sum_U
        self._bias.index_add_(
            0, items_U, gradient_U.mul_(-self._learning_rate).div_(sum_U.add_(ADAGRAD_EPSILON).sqrt_())
        )


def train(
    sessions: Sessions,
    vocabulary: Vocabulary,
    config: ModelConfig,
    *,
    progress: Callable[[Progress], None] = lambda _: None,
) -> TrainingResult:
    """Train a new network on `sessions`, in their order, for `config.epochs` passes.

    Raises NextclickError when no session has two known events, or when the loss is no
    number any more.
    """
    sessions = sessions.known()
    if not sessions.pairs:
        raise NextclickError(
            "no session has two events of known items",
            "There is no next event to learn from.",
            "Use a longer log, or check that its session column is the right one.",
        )
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    network = build(config, vocabulary)
    assert isinstance(network, GRU4Rec)
    result = TrainingResult(network)
    sampler = NegativeSampler(vocabulary.counts, config.alpha, config.negatives, rng)
    trainer = _Trainer(network, vocabulary, config, sampler)
    items = torch.from_numpy(sessions.items)
    started = time.perf_counter()
    for epoch in range(1, config.epochs + 1):
        network.train()
        hidden_BLH = torch.zeros(0, config.layers, config.hidden_size)
        done, loss_sum, reported = 0, 0.0, 0
        for number, batch in enumerate(session_parallel(sessions, config.batch_size)):
            if len(batch.kept) != len(hidden_BLH):
                hidden_BLH = torch.zeros(len(batch.kept), config.layers, config.hidden_size)
            if not batch.kept.all():
                hidden_BLH = hidden_BLH[torch.from_numpy(batch.kept)]
            if batch.resets.any():
                hidden_BLH[torch.from_numpy(batch.resets)] = 0
            rows = torch.from_numpy(batch.rows)
            loss, hidden_BLH = trainer.batch(items[rows], items[rows + 1], hidden_BLH)
            done += len(rows)
            loss_sum += loss * len(rows)
            if not np.isfinite(loss):
                raise NextclickError(
                    f"the loss is {loss} at batch {number} of epoch {epoch}",
                    "The training has diverged; nothing was saved.",
                    "Lower --learning-rate, or look at the data with `nextclick evaluate`.",
                )
            if number - reported >= BATCHES_BETWEEN_REPORTS:
                reported = number
                progress(Progress(epoch, config.epochs, done, sessions.pairs, loss_sum / done))
        result.losses.append(loss_sum / done)
        result.events += done
        progress(Progress(epoch, config.epochs, done, sessions.pairs, loss_sum / done))
    result.seconds = time.perf_counter() - started
    network.eval()
    return result


class _Trainer:
    """One step of learning for a batch."""

    def __init__(
        self, network: GRU4Rec, vocabulary: Vocabulary, config: ModelConfig, sampler: NegativeSampler
    ) -> None:
        self._network = network
        self._sampler = sampler
        self._logq = config.logq
        popularity_V = vocabulary.counts / vocabulary.counts.sum()
        self._popularity_V = torch.from_numpy(popularity_V).float()
        self._expected_negatives_V = torch.from_numpy(sampler.probability_V * config.negatives).float()
        self._rows = SparseAdagrad(
            network.item_VH.data, network.bias_V.data, config.learning_rate, config.momentum
        )
        self._cells = torch.optim.Adagrad(
            network.cells.parameters(), lr=config.learning_rate, eps=ADAGRAD_EPSILON
        )

    def batch(self, input_B: Tensor, target_B: Tensor, hidden_BLH: Tensor) -> tuple[float, Tensor]:
        """Learn from one batch; → its mean loss and the hidden states after it."""
        network = self._network
        candidates_C = torch.cat([target_B, torch.from_numpy(self._sampler.draw())])
        embedded_BH = network.item_VH.data[input_B].requires_grad_()
        vectors_CH = network.item_VH.data[candidates_C].requires_grad_()
        bias_C = network.bias_V.data[candidates_C].requires_grad_()
        output_BH, hidden_BLH = network.run_cells(embedded_BH, hidden_BLH)
        scores_BC = torch.addmm(bias_C, output_BH, vectors_CH.t())
        expected_C = (
            len(target_B) * self._popularity_V[candidates_C] + self._expected_negatives_V[candidates_C]
        )
        loss = sampled_cross_entropy(scores_BC, candidates_C, expected_C.log(), self._logq)
        self._cells.zero_grad()
        torch.autograd.backward(loss)
        self._cells.step()
        assert embedded_BH.grad is not None
        assert vectors_CH.grad is not None
        assert bias_C.grad is not None
        self._rows.update(
            torch.cat([input_B, candidates_C]),
            torch.cat([embedded_BH.grad, vectors_CH.grad]),
            candidates_C,
            bias_C.grad,
        )
        return float(loss.detach()), hidden_BLH.detach()
