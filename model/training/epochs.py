"""The epochs of a network that learns by gradients, from the beginning or from a checkpoint.

The hidden state is carried from batch to batch, the gradient is not (Hidasi et al., ICLR 2016). Every
epoch seeds the random generators anew.

Tested by tests/unit/model/training/test_checkpoint.py and test_early_stopping.py.

Shapes: B lanes, N positions of a batch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from model.config import ModelConfig
from model.data.batches import Batch, session_parallel
from model.errors import NextclickError
from model.evaluation.rank_targets import Evaluation, evaluate
from model.networks.input_columns import InputColumns
from model.networks.network import GradientNetwork
from model.networks.popularity_prior import EventClock
from model.training.checkpoint import Checkpoint
from model.training.gradient_step import GradientStep
from model.training.learned_targets import LearnedTargets, Targets, pass_over
from model.training.negative_sampling import NegativeSampler
from model.training.run_options import Progress, RunOptions
from model.training.trained_model import TrainedModel
from model.training.training_data import TrainingData
from model.training.warm_start import WarmStart

BATCHES_BETWEEN_REPORTS = 50
CHANCE_OF_GPU = "chance.gpu"


class Epochs:
    """Trains `network` on the sessions, epoch by epoch."""

    def __init__(
        self,
        network: GradientNetwork,
        data: TrainingData,
        config: ModelConfig,
        start: WarmStart | None,
        run: RunOptions,
    ) -> None:
        sessions, vocabulary, self._validation = data
        if config.targets == "last" and self._validation is not None:
            self._validation = self._validation.only_last()
        self._network, self._config, self._run = network, config, run
        self._file, self._replicas = run.checkpoint, run.replicas
        self._total = LearnedTargets(sessions, config).total
        self._sessions = self._replicas.share(sessions)
        self._learned = LearnedTargets(self._sessions, config)
        network.to(run.device)
        self._sampler = NegativeSampler(
            vocabulary.counts, config.alpha, config.negatives, np.random.default_rng(config.seed)
        )
        self._step = GradientStep(network, vocabulary, config, self._sampler, self._replicas)
        if start is not None:
            neighbours_in = sessions if config.new_item_vectors == "neighbours" else None
            start.apply_to(network, self._step.optimizer, vocabulary, neighbours_in)
        network.prepare_items(vocabulary)
        self._columns = InputColumns(network, self._sessions)
        prior = network.prior
        self._clock = None if prior is None else EventClock(prior, sessions)
        self._started = start is not None
        self._result = TrainedModel(network, config, vocabulary)
        self._done, self._loss_sum, self._hits = 0, 0.0, 0
        # Of each batch whose loss is still on the device: loss, hits and positions.
        self._unread: list[tuple[Tensor, Tensor | None, int]] = []
        self._nothing = torch.zeros((), device=run.device)
        self._state = network.initial_state(0, network.device)
        self._best: dict[str, Tensor] = {}

    def run(self) -> TrainedModel:
        """Train all epochs, or until early stopping. Returns the trained model, on the CPU."""
        epoch, skipped = self._resume() if self._file else (1, 0)
        while epoch <= self._config.epochs:
            started = time.perf_counter()
            self._train_epoch(epoch, skipped)
            self._result.seconds += time.perf_counter() - started
            if self._validation is not None:
                masked = self._config.exclude_session_items
                scored = evaluate(self._network, self._validation, exclude_session_items=masked)
                self._result.validation.append(scored)
                self._run.after_epoch(epoch, scored)
                if self._should_stop(scored):
                    break
            epoch, skipped = epoch + 1, 0
            if self._file and epoch <= self._config.epochs:
                self._save_checkpoint(epoch, 0)
        if self._best:
            self._restore(self._best)
        self._network.to("cpu")
        self._result.optimizer_state = {n: t.cpu() for n, t in self._step.optimizer.state.items()}
        return self._result

    def _should_stop(self, scored: Evaluation) -> bool:
        """Whether the last `patience` validations brought no improvement; stores the best epoch's weights."""
        patience = self._config.patience
        if patience is None:
            return False
        badness = [v.badness for v in self._result.validation]
        best = badness.index(min(badness))
        if best == len(badness) - 1:
            self._best = {name: tensor.clone() for name, tensor in self._learned_tensors().items()}
        return len(badness) - 1 - best >= patience

    def _learned_tensors(self) -> dict[str, Tensor]:
        """Returns the tensors that training changes, by name: weights and optimizer state."""
        return {
            **{f"network.{name}": t for name, t in self._network.state_dict().items()},
            **{f"optimizer.{name}": t for name, t in self._step.optimizer.state.items()},
        }

    def _restore(self, learned: dict[str, Tensor]) -> None:
        """Load the tensors that `_learned_tensors` returned."""
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "optimizer": {}}
        for name, tensor in learned.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        self._network.load_state_dict(parts["network"])
        self._step.optimizer.state = self._on_device(parts["optimizer"])

    def _on_device(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Loaded tensors where the network is; a single number is read by the processor."""
        return {name: t.to(self._network.device) if t.ndim else t for name, t in tensors.items()}

    def _train_epoch(self, epoch: int, skipped: int) -> None:
        config, replicas = self._config, self._replicas
        if not skipped:
            if self._clock:
                self._clock.restart(keep=self._started and epoch == 1)
            self._done, self._loss_sum, self._hits = 0, 0.0, 0
            sequence = np.random.SeedSequence([config.seed, epoch, replicas.rank])
            self._sampler.restart(np.random.default_rng(sequence))
            torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0]))
        self._network.train()
        order = None
        if config.shuffle:
            order = np.random.default_rng([config.seed, epoch, replicas.rank]).permutation(
                len(self._sessions)
            )
        batches = session_parallel(self._sessions, config.batch_size, config.unroll, order)
        batches = islice(batches, skipped, None)
        number = skipped
        for number, (batch, positions) in enumerate(self._in_lockstep(batches), skipped + 1):
            if self._clock and batch:
                # The earliest lane's time: no lane sees counts of events that it has yet to predict.
                self._clock.advance_if_due(int(self._sessions.times_ms[batch.rows].min()))
            if batch:
                self._learn_batch(batch, positions)
            elif positions:
                self._stand_by(positions)
            is_saved = self._file and replicas.count == 1 and number % self._file.every_batches == 0
            if is_saved or number % BATCHES_BETWEEN_REPORTS == 0:
                self._read_losses(epoch, number)
            if number % BATCHES_BETWEEN_REPORTS == 0:
                self._run.progress(self._progress(epoch))
            if is_saved:
                self._save_checkpoint(epoch, number)
        self._read_losses(epoch, number)
        if self._clock:
            self._clock.advance_to_end()
        self._result.losses.append(self._loss_sum / self._done)
        if self._config.loss == "full-cross-entropy" and not self._network.has_own_loss:
            self._result.accuracies.append(replicas.total(self._hits) / self._done)
        self._run.progress(self._progress(epoch))
        self._network.eval()
        self._network.finalize()

    def _in_lockstep(self, batches: Iterator[Batch]) -> Iterator[tuple[Batch | None, int]]:
        """Yields this process's batches, with the positions of all processes in the same step.

        Yields None for the batch after this process's last, until every process has ended.
        """
        while True:
            batch = next(batches, None)
            if not self._replicas.total(batch is not None):
                return
            yield batch, int(self._replicas.total(self._learned.count(batch) if batch else 0))

    def _stand_by(self, positions: int) -> None:
        self._step.stand_by()
        self._unread.append((self._nothing, None, positions))

    def _read_losses(self, epoch: int, number: int) -> None:
        """Add up the losses of the batches up to `number` since the last reading: one wait for the device."""
        unread, self._unread = self._unread, []
        if not unread:
            return
        losses = torch.stack([loss for loss, _, _ in unread]).cpu().tolist()
        for at, (loss, (_, _, positions)) in enumerate(zip(losses, unread, strict=True), 1 - len(unread)):
            total = self._replicas.total(loss)
            if not math.isfinite(total):
                raise _diverged(f"the loss is {total}", epoch, number + at)
            self._done += positions
            self._result.events += positions
            self._loss_sum += total * positions
        if hits := [hit for _, hit, _ in unread if hit is not None]:
            self._hits += int(torch.stack(hits).sum().cpu())

    def _learn_batch(self, batch: Batch, positions: int) -> None:
        state = self._network.carry(self._state, batch)
        inputs, sizes_T = self._columns.at(batch.rows), torch.from_numpy(batch.sizes)
        places_K = self._learned.places(batch)
        if places_K is not None and not len(places_K):
            self._state = pass_over(self._network, inputs, sizes_T, state)
            if positions:
                self._stand_by(positions)
            return
        target_N = self._columns.targets(batch.rows)
        if places_K is not None:
            places_K = places_K.to(self._network.device)
            target_N = target_N[places_K]
        learned = self._step.learn(inputs, Targets(target_N, places_K), sizes_T, state, positions)
        self._state = learned.state
        self._unread.append((learned.loss, learned.hits, positions))

    def _progress(self, epoch: int) -> Progress:
        mean_loss = self._loss_sum / max(1, self._done)
        return Progress(epoch, self._config.epochs, self._done, self._total, mean_loss)

    def _save_checkpoint(self, epoch: int, batch: int) -> None:
        """Save the training after `batch` batches of `epoch`."""
        if self._replicas.rank:
            return
        assert self._file
        broken = [name for name, t in self._network.state_dict().items() if not t.isfinite().all()]
        if broken:
            raise _diverged(f"weights are no numbers in {', '.join(broken)}", epoch, batch)
        tensors = self._learned_tensors()
        tensors |= {f"best.{name}": t for name, t in self._best.items()}
        tensors |= {f"state.{name}": t for name, t in self._state.items()}
        tensors["chance"] = torch.get_rng_state()
        if self._network.device.type == "cuda":
            # Resumed on another kind of device, a training is not the same to the bit.
            tensors[CHANCE_OF_GPU] = torch.cuda.get_rng_state(self._network.device)
        values = {
            "epoch": epoch,
            "batch": batch,
            "done": self._done,
            "loss_sum": self._loss_sum,
            "hits": self._hits,
            "losses": self._result.losses,
            "accuracies": self._result.accuracies,
            "validation": [scored.as_dict() for scored in self._result.validation],
            "sampler": self._sampler.state(),
        }
        self._file.save(Checkpoint(tensors, values))

    def _resume(self) -> tuple[int, int]:
        """Load the checkpoint, if the file exists. Returns the epoch, and its batches already done."""
        assert self._file
        checkpoint = self._file.load()
        if checkpoint is None:
            return 1, 0
        parts: dict[str, dict[str, Tensor]] = {"learned": {}, "state": {}, "best": {}}
        for name, tensor in checkpoint.tensors.items():
            part, _, rest = name.partition(".")
            if part in ("state", "best"):
                parts[part][rest] = tensor
            elif part != "chance":
                parts["learned"][name] = tensor
        self._restore(parts["learned"])
        self._state, self._best = self._on_device(parts["state"]), parts["best"]
        torch.set_rng_state(checkpoint.tensors["chance"])
        if CHANCE_OF_GPU in checkpoint.tensors and self._network.device.type == "cuda":
            torch.cuda.set_rng_state(checkpoint.tensors[CHANCE_OF_GPU], self._network.device)
        values = checkpoint.values
        self._done, self._loss_sum, self._hits = values["done"], values["loss_sum"], values["hits"]
        self._result.losses, self._result.accuracies = values["losses"], values["accuracies"]
        self._result.validation = [Evaluation(**scored) for scored in values["validation"]]
        self._sampler.resume(values["sampler"])
        return values["epoch"], values["batch"]


def _diverged(what: str, epoch: int, batch: int) -> NextclickError:
    return NextclickError(
        f"{what} at batch {batch} of epoch {epoch}",
        "The training has diverged; no version was saved, the last good checkpoint is kept.",
        "Lower --learning-rate, or look at the data with `nextclick evaluate`.",
    )
