"""Training: epochs of session-parallel batches, from the beginning, a checkpoint or an earlier model.

The hidden state is carried over batches, the gradient is not (Hidasi et al., ICLR 2016).
Chance is seeded anew in every epoch.

Shapes: B lanes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from model.allocator import keep_freed_memory
from model.batches import Batch, session_parallel
from model.checkpoint import Checkpoint, CheckpointFile
from model.config import ModelConfig
from model.errors import NextclickError
from model.evaluate import Evaluation, evaluate
from model.gradient_step import GradientStep
from model.network import Counted, Network, SampledNetwork
from model.networks import build
from model.recency import EventClock
from model.replicas import Replicas
from model.sampling import NegativeSampler
from model.sessions import Sessions
from model.vocabulary import Vocabulary
from model.warm_start import WarmStart

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
    """The trained network in evaluation mode, loss and validation of each epoch.

    `events` were learned from in `seconds`, without the validation.
    """

    network: Network
    losses: list[float] = field(default_factory=list)
    optimizer_state: dict[str, Tensor] = field(default_factory=dict)
    validation: list[Evaluation] = field(default_factory=list)
    events: int = 0
    seconds: float = 0.0


def train(
    sessions: Sessions,
    vocabulary: Vocabulary,
    config: ModelConfig,
    *,
    validation: Sessions | None = None,
    start: WarmStart | None = None,
    checkpoint: CheckpointFile | None = None,
    replicas: Replicas | None = None,
    threads: int = 1,
    after_epoch: Callable[[int, Evaluation], None] = lambda epoch, scored: None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> TrainingResult:
    """Train a new network on `sessions`, in their order, for `config.epochs` passes.

    `start` is an earlier model to go on from. `validation` is evaluated after each epoch, for the
    curve only, and `after_epoch` is told (the epoch, from 1, and what it reached). `checkpoint` is
    taken up when it is there, and rewritten as the training goes. With `config.dwell_threshold_s`
    the sessions are boosted. `threads` share each product: more than one is faster on idle cores,
    and many times slower beside another busy process, which they then wait for. Raises
    NextclickError when no session has two known events, or when the loss is no number any
    more: the last checkpoint is then kept.
    """
    replicas = replicas or Replicas()
    if (sessions.items < 0).any():
        sessions = sessions.known()
    if not sessions.pairs:
        raise NextclickError(
            "no session has two events of known items",
            "There is no next event to learn from.",
            "Use a longer log, or check that its session column is the right one.",
        )
    if config.dwell_threshold_s is not None:
        sessions = sessions.boosted(config.dwell_threshold_s)
    keep_freed_memory()
    torch.manual_seed(config.seed)
    network = build(config, vocabulary)
    with _sharing_products(threads):
        if isinstance(network, SampledNetwork):
            training = _Training(
                network, sessions, vocabulary, config, checkpoint, replicas, validation, start, after_epoch
            )
            result = training.run(progress)
        else:
            assert isinstance(network, Counted)
            started = time.perf_counter()
            network.fit(sessions, vocabulary, config)
            result = TrainingResult(network, events=sessions.pairs, seconds=time.perf_counter() - started)
    network.eval()
    return result


@contextmanager
def _sharing_products(threads: int) -> Iterator[None]:
    """Let torch use so many threads for each product, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Training:
    """The epochs of a network, from the beginning or from a checkpoint."""

    def __init__(
        self,
        network: SampledNetwork,
        sessions: Sessions,
        vocabulary: Vocabulary,
        config: ModelConfig,
        checkpoint: CheckpointFile | None,
        replicas: Replicas,
        validation: Sessions | None,
        start: WarmStart | None,
        after_epoch: Callable[[int, Evaluation], None],
    ) -> None:
        self._network, self._config, self._file, self._replicas = network, config, checkpoint, replicas
        self._validation, self._after_epoch = validation, after_epoch
        self._total = sessions.pairs
        self._sessions = replicas.share(sessions)
        self._sampler = NegativeSampler(
            vocabulary.counts, config.alpha, config.negatives, np.random.default_rng(config.seed)
        )
        self._step = GradientStep(network, vocabulary, config, self._sampler, replicas)
        if start is not None:
            neighbours_in = sessions if config.new_item_vectors == "neighbours" else None
            start.put_into(network, self._step.optimizer, vocabulary, neighbours_in)
        self._items = torch.from_numpy(self._sessions.items)
        prior = network.prior
        self._clock = None if prior is None else EventClock(prior, sessions)
        self._started = start is not None
        self._result = TrainingResult(network)
        self._done, self._loss_sum = 0, 0.0
        self._state = network.initial_state(0)

    def run(self, progress: Callable[[Progress], None]) -> TrainingResult:
        """Train to the end."""
        epoch, skipped = self._take_up() if self._file else (1, 0)
        while epoch <= self._config.epochs:
            started = time.perf_counter()
            self._epoch(epoch, skipped, progress)
            self._result.seconds += time.perf_counter() - started
            if self._validation is not None:
                masked = self._config.exclude_session_items
                scored = evaluate(self._network, self._validation, exclude_session_items=masked)
                self._result.validation.append(scored)
                self._after_epoch(epoch, scored)
            epoch, skipped = epoch + 1, 0
            if self._file and epoch <= self._config.epochs:
                self._keep(epoch, 0)
        self._result.optimizer_state = self._step.optimizer.state
        return self._result

    def _epoch(self, epoch: int, skipped: int, progress: Callable[[Progress], None]) -> None:
        config, replicas = self._config, self._replicas
        if not skipped:
            if self._clock:
                self._clock.restart(keep=self._started and epoch == 1)
            self._done, self._loss_sum = 0, 0.0
            sequence = np.random.SeedSequence([config.seed, epoch, replicas.rank])
            self._sampler.restart(np.random.default_rng(sequence))
            torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0]))
        self._network.train()
        batches = islice(session_parallel(self._sessions, config.batch_size), skipped, None)
        for number, (batch, lanes) in enumerate(self._side_by_side(batches), skipped + 1):
            if self._clock and batch:
                # The earliest lane's time: no lane sees a count of what it has yet to predict.
                self._clock.follow(int(self._sessions.times_ms[batch.rows].min()))
            loss = self._learn(batch, lanes) if batch else self._step.stand_by()
            loss = replicas.total(loss)
            if not math.isfinite(loss):
                raise _diverged(f"the loss is {loss}", epoch, number)
            self._done += lanes
            self._result.events += lanes
            self._loss_sum += loss * lanes
            if number % BATCHES_BETWEEN_REPORTS == 0:
                progress(self._progress(epoch))
            if self._file and replicas.count == 1 and number % self._file.every_batches == 0:
                self._keep(epoch, number)
        if self._clock:
            self._clock.to_the_end()
        self._result.losses.append(self._loss_sum / self._done)
        progress(self._progress(epoch))
        self._network.eval()

    def _side_by_side(self, batches: Iterator[Batch]) -> Iterator[tuple[Batch | None, int]]:
        """This process's batches, None once they have run out, until they have for all; with all lanes."""
        while True:
            batch = next(batches, None)
            lanes = int(self._replicas.total(len(batch.rows) if batch else 0))
            if not lanes:
                return
            yield batch, lanes

    def _learn(self, batch: Batch, lanes: int) -> float:
        state = self._network.carry(self._state, batch)
        rows = torch.from_numpy(batch.rows)
        input_B, target_B = self._items[rows].long(), self._items[rows + 1].long()
        loss, self._state = self._step.learn(input_B, target_B, state, lanes)
        return loss

    def _progress(self, epoch: int) -> Progress:
        return Progress(epoch, self._config.epochs, self._done, self._total, self._loss_sum / self._done)

    def _keep(self, epoch: int, batch: int) -> None:
        """Save: `batch` batches of `epoch` are done."""
        if self._replicas.rank:
            return
        assert self._file
        broken = [name for name, t in self._network.state_dict().items() if not t.isfinite().all()]
        if broken:
            raise _diverged(f"weights are no numbers in {', '.join(broken)}", epoch, batch)
        tensors = {f"network.{name}": t for name, t in self._network.state_dict().items()}
        tensors |= {f"optimizer.{name}": t for name, t in self._step.optimizer.state.items()}
        tensors |= {f"state.{name}": t for name, t in self._state.items()}
        tensors["chance"] = torch.get_rng_state()
        values = {
            "epoch": epoch,
            "batch": batch,
            "done": self._done,
            "loss_sum": self._loss_sum,
            "losses": self._result.losses,
            "validation": [scored.as_dict() for scored in self._result.validation],
            "sampler": self._sampler.state(),
        }
        self._file.save(Checkpoint(tensors, values))

    def _take_up(self) -> tuple[int, int]:
        """Go back to the checkpoint, if there is one: → epoch, and its batches that are done."""
        assert self._file
        kept = self._file.load()
        if kept is None:
            return 1, 0
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "optimizer": {}, "state": {}}
        for name, tensor in kept.tensors.items():
            if name != "chance":
                part, _, rest = name.partition(".")
                parts[part][rest] = tensor
        self._network.load_state_dict(parts["network"])
        self._step.optimizer.state = parts["optimizer"]
        self._state = parts["state"]
        torch.set_rng_state(kept.tensors["chance"])
        values = kept.values
        self._done, self._loss_sum = values["done"], values["loss_sum"]
        self._result.losses = values["losses"]
        self._result.validation = [Evaluation(**scored) for scored in values["validation"]]
        self._sampler.resume(values["sampler"])
        return values["epoch"], values["batch"]


def _diverged(what: str, epoch: int, batch: int) -> NextclickError:
    return NextclickError(
        f"{what} at batch {batch} of epoch {epoch}",
        "The training has diverged; no version was saved, the last good checkpoint is kept.",
        "Lower --learning-rate, or look at the data with `nextclick evaluate`.",
    )
