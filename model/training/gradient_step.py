"""One step of learning for a batch: a loss over sampled candidates, updates of the rows touched.

A batch reads and writes only the item vectors of its inputs, targets and negatives, so its cost hardly
depends on the number of items.

Shapes: B lanes, T steps, N positions of a batch (B where it has one step), C candidates,
V items, E columns of the input table, H units, U distinct rows, K known values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from model.config import VECTOR_LOSSES, ModelConfig
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.losses import SAMPLED_LOSSES, full_cross_entropy, repeats_of_targets, without_logq
from model.networks.network import Columns, GradientNetwork, State
from model.optimizers import Rows, build_optimizer, rows_of
from model.training.learned_targets import Targets
from model.training.negative_sampling import NegativeSampler
from model.training.replicas import Replicas


class Learned(NamedTuple):
    """A batch's share of the mean loss, its targets with the highest score, and the states after it.

    `hits` is None where training does not score all items. All stay on the device: to read them is to wait
    for it.
    """

    loss: Tensor
    hits: Tensor | None
    state: State


class _Read(NamedTuple):
    """The reads of a further table.

    `rows` are the row numbers of the known values, `known` their rows. `whole` has a row for every
    position: the mean row where the value is unknown. Where `rows` stand for unknown values too, `is_known_N`
    marks the others.
    """

    rows: Tensor
    known: Tensor
    whole: Tensor
    is_known_N: Tensor | None = None

    def square(self) -> Tensor:
        """Returns the squared norm of the known rows."""
        squares_K = self.known.square()
        return squares_K.sum() if self.is_known_N is None else (squares_K * self.is_known_N[:, None]).sum()


@dataclass
class _Change:
    """A gradient of a whole parameter or of its `rows`, added up over the processes."""

    name: str
    parameter: Tensor
    gradient: Tensor
    rows: Rows | None = None

    def square(self) -> Tensor:
        """Returns the squared norm, after repeated rows are added up."""
        return self.gradient.square().sum() if self.rows is None else self.rows.square(self.gradient)


class GradientStep:
    """Learns from batch after batch; `optimizer` holds the state between batches."""

    def __init__(
        self,
        network: GradientNetwork,
        vocabulary: Vocabulary,
        config: ModelConfig,
        sampler: NegativeSampler,
        replicas: Replicas,
    ) -> None:
        if config.loss in VECTOR_LOSSES and not network.has_own_loss:
            raise NextclickError(
                f"a {config.network} has no {config.loss} loss",
                "It is a loss between vectors, and this network predicts scores; nothing was trained.",
                f"Set loss to {', '.join(SAMPLED_LOSSES)} or full-cross-entropy, or network to text-gru.",
            )
        self._network, self._config, self._sampler, self._replicas = network, config, sampler, replicas
        self._device = network.device
        popularity_V = vocabulary.counts / vocabulary.counts.sum()
        self._popularity_V = torch.from_numpy(popularity_V).float().to(self._device)
        expected_V = torch.from_numpy(sampler.probability_V * config.negatives).float()
        self._expected_negatives_V = expected_V.to(self._device)
        self.optimizer = build_optimizer(config)
        self._tables = {name: network.get_parameter(name).data for name in network.tables}
        # Frozen tables are only read.
        self._learns = {name: network.get_parameter(name).requires_grad for name in network.tables}
        self._dense = network.dense_parameters()
        scratch_V = torch.zeros(network.items, dtype=torch.int64, device=self._device)
        self._scratch = {
            name: torch.zeros(len(self._tables[name]), dtype=torch.int64, device=self._device)
            if name in network.row_tables
            else scratch_V
            for name in network.tables
        }

    def learn(
        self, inputs: Columns, targets: Targets, sizes_T: Tensor, state: State, positions: int
    ) -> Learned:
        """Learn from one batch. `sizes_T` are the lanes of each step; `positions` counts all processes."""
        network, tables, config, target_N = self._network, self._tables, self._config, targets.items
        inputs = network.complete_inputs(inputs, sizes_T, state)
        input_N = inputs["item"]
        rows_NE = self._leaf(network.input_table, tables[network.input_table].index_select(0, input_N))
        further = {name: self._read(name, inputs[column]) for name, column in network.row_tables.items()}
        if further:
            inputs = {**inputs, **{name: row.whole for name, row in further.items()}}
        candidates_C = vectors = bias = hits = None
        if not network.has_own_loss:
            vectors, bias = tables[network.output_table], tables[network.bias_table]
            if config.loss != "full-cross-entropy":
                candidates_C = torch.cat([target_N, torch.from_numpy(self._sampler.draw()).to(self._device)])
                vectors, bias = vectors.index_select(0, candidates_C), bias.index_select(0, candidates_C)
            vectors = self._leaf(network.output_table, vectors)
            bias = self._leaf(network.bias_table, bias)
        output_NH, state = network.run_block(inputs, rows_NE, sizes_T, state)
        output_NH = targets.after(output_NH)
        if vectors is None or bias is None:
            loss = network.own_loss(output_NH, target_N)
        else:
            whole_bias = bias if network.prior is None else bias + network.prior.bias(candidates_C)
            scores = torch.addmm(whole_bias, output_NH, vectors.t())
            loss = self._loss(scores, target_N, candidates_C)
            if candidates_C is None:
                hits = (scores.detach().argmax(1) == target_N).sum()
        loss = loss * (len(target_N) / positions)
        for parameter in self._dense.values():
            parameter.grad = None
        penalty = self._penalty(further, positions)
        torch.autograd.backward(loss if penalty is None else loss + penalty)
        self._apply(
            [
                *self._dense_changes(),
                *(change for name, row in further.items() for change in self._row_changes(name, row)),
                *self._item_changes(
                    input_N,
                    rows_NE.grad,
                    candidates_C,
                    None if vectors is None else vectors.grad,
                    None if bias is None else bias.grad,
                ),
            ]
        )
        return Learned(loss.detach(), hits, {name: tensor.detach() for name, tensor in state.items()})

    def _leaf(self, name: str, rows: Tensor) -> Tensor:
        return rows.detach().requires_grad_(self._learns[name])

    def _read(self, name: str, index_N: Tensor) -> _Read:
        """Read a further table's rows; an unknown value reads the mean row, which does not learn."""
        mean = self._network.get_buffer(f"mean_{name}")
        if index_N.device.type == "cpu":
            places_K = (index_N >= 0).nonzero()[:, 0]
            rows_K = index_N[places_K]
            known = self._leaf(name, self._tables[name].index_select(0, rows_K))
            return _Read(rows_K, known, mean.expand(len(index_N), -1).index_put((places_K,), known))
        # Their number is an answer to wait for. An unknown one reads another's row, and teaches it nothing.
        is_known_N = index_N >= 0
        rows_N = torch.where(is_known_N, index_N, index_N.amax().clamp(min=0))
        known = self._leaf(name, self._tables[name].index_select(0, rows_N))
        return _Read(rows_N, known, torch.where(is_known_N[:, None], known, mean), is_known_N)

    def _penalty(self, further: dict[str, _Read], positions: int) -> Tensor | None:
        """Returns λ |u|², a mean over the positions, of the user vectors that the batch reads."""
        if not self._config.user_l2:
            return None
        users = [further[n] for n, column in self._network.row_tables.items() if column == "user_id"]
        nothing = torch.zeros((), device=self._device)
        return sum((user.square() for user in users), nothing) * (self._config.user_l2 / positions)

    def _loss(self, scores: Tensor, target_N: Tensor, candidates_C: Tensor | None) -> Tensor:
        config = self._config
        if candidates_C is None:
            return full_cross_entropy(scores, target_N)
        if config.loss == "cross-entropy":
            expected_C = self._expected_negatives_V.index_select(0, candidates_C).add_(
                self._popularity_V.index_select(0, candidates_C), alpha=len(target_N)
            )
            scores = without_logq(scores, expected_C.log(), config.logq)
        repeats_NC = repeats_of_targets(candidates_C, len(target_N))
        return SAMPLED_LOSSES[config.loss](scores, repeats_NC, config.regularisation)

    def stand_by(self) -> None:
        """Take part in a batch of the other processes with empty gradients, after this one's last batch."""
        network, tables = self._network, self._tables
        for parameter in self._dense.values():
            parameter.grad = torch.zeros_like(parameter)
        none = torch.zeros(0, dtype=torch.int64, device=self._device)

        def no_rows(name: str) -> Tensor:
            return tables[name].new_zeros((0, *tables[name].shape[1:]))

        changes = self._dense_changes()
        for name in network.row_tables:
            rows = no_rows(name)
            rows.grad = no_rows(name)
            changes += self._row_changes(name, _Read(none, rows, rows))
        output, bias = network.output_table, network.bias_table
        full = self._config.loss == "full-cross-entropy"
        changes += self._item_changes(
            none,
            no_rows(network.input_table),
            None if full or network.has_own_loss else none,
            torch.zeros_like(tables[output]) if full else no_rows(output),
            torch.zeros_like(tables[bias]) if full else no_rows(bias),
        )
        self._apply(changes)

    def _dense_changes(self) -> list[_Change]:
        dense = {name: p.grad for name, p in self._dense.items() if p.grad is not None}
        self._replicas.add_up(list(dense.values()))
        return [_Change(name, self._dense[name].data, gradient) for name, gradient in dense.items()]

    def _row_changes(self, name: str, read: _Read) -> list[_Change]:
        if not self._learns[name]:
            return []
        assert read.known.grad is not None
        return [self._change(name, *self._replicas.collect(read.rows, read.known.grad))]

    def _item_changes(
        self,
        input_N: Tensor,
        input_gradient: Tensor | None,
        candidates_C: Tensor | None,
        output_gradient: Tensor | None,
        bias_gradient: Tensor | None,
    ) -> list[_Change]:
        """Returns the item tables' changes: the inputs' rows, and the candidates' rows.

        Without candidates the output tables change as a whole.
        """
        network, replicas, learns = self._network, self._replicas, self._learns
        names = network.input_table, network.output_table, network.bias_table
        changes: list[_Change] = []
        if names[0] == names[1] and learns[names[0]] and not network.has_own_loss:
            assert input_gradient is not None
            assert output_gradient is not None
            assert bias_gradient is not None
            if candidates_C is None:
                replicas.add_up([output_gradient, bias_gradient])
                rows_N, gradient = replicas.collect(input_N, input_gradient)
                output_gradient.index_add_(0, rows_N, gradient)
            else:
                # The inputs get a bias gradient of 0, so that both tables share the same rows.
                candidates_C = torch.cat([input_N, candidates_C])
                output_gradient = torch.cat([input_gradient, output_gradient])
                bias_gradient = torch.cat([bias_gradient.new_zeros(len(input_N)), bias_gradient])
        else:
            if learns[names[0]]:
                assert input_gradient is not None
                changes.append(self._change(names[0], *replicas.collect(input_N, input_gradient)))
            if network.has_own_loss:
                return changes
            if candidates_C is None:
                replicas.add_up([g for g in (output_gradient, bias_gradient) if g is not None])
        of_outputs = [
            (name, gradient)
            for name, gradient in ((names[1], output_gradient), (names[2], bias_gradient))
            if learns[name] and gradient is not None
        ]
        if candidates_C is None:
            return changes + [_Change(name, self._tables[name], gradient) for name, gradient in of_outputs]
        rows_N, *gradients = replicas.collect(candidates_C, *(gradient for _, gradient in of_outputs))
        rows = rows_of(rows_N, self._scratch[names[1]])
        return changes + [
            _Change(name, self._tables[name], gradient, rows)
            for (name, _), gradient in zip(of_outputs, gradients, strict=True)
        ]

    def _change(self, name: str, rows_N: Tensor, gradient: Tensor) -> _Change:
        return _Change(name, self._tables[name], gradient, rows_of(rows_N, self._scratch[name]))

    def _apply(self, changes: list[_Change]) -> None:
        """Step every parameter and touched row once, by a gradient no longer than `clip_norm`."""
        if self._config.clip_norm is not None:
            if self._device.type == "cpu":
                norm = sum(float(change.square()) for change in changes) ** 0.5
                scale: float | Tensor = self._config.clip_norm / max(norm, self._config.clip_norm)
            else:
                # On the device: the processor does not wait for the norm.
                norms_C = torch.stack([change.square() for change in changes])
                scale = (self._config.clip_norm / norms_C.sum().sqrt()).clamp(max=1.0)
            if not isinstance(scale, float) or scale < 1:
                for change in changes:
                    change.gradient.mul_(scale)
        for change in changes:
            self.optimizer.update(change.name, change.parameter, change.gradient, change.rows)
