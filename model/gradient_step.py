"""One step of learning for a batch: a loss over sampled candidates, updates of the rows touched.

A batch reads and writes only the item vectors of its inputs, targets and negatives, so
its cost hardly depends on the number of items.

Shapes: B lanes, C candidates, N rows, V items, E columns of the input table, H units.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.config import ModelConfig
from model.losses import SAMPLED_LOSSES, full_cross_entropy, repeats_of_targets, without_logq
from model.network import SampledNetwork, State
from model.optimizers import Rows, build_optimizer
from model.replicas import Replicas
from model.sampling import NegativeSampler
from model.vocabulary import Vocabulary


class GradientStep:
    """Learns from batch after batch; `optimizer` holds what it remembers of them."""

    def __init__(
        self,
        network: SampledNetwork,
        vocabulary: Vocabulary,
        config: ModelConfig,
        sampler: NegativeSampler,
        replicas: Replicas,
    ) -> None:
        self._network, self._config, self._sampler, self._replicas = network, config, sampler, replicas
        popularity_V = vocabulary.counts / vocabulary.counts.sum()
        self._popularity_V = torch.from_numpy(popularity_V).float()
        self._expected_negatives_V = torch.from_numpy(sampler.probability_V * config.negatives).float()
        self.optimizer = build_optimizer(config)
        self._tables = {
            name: network.get_parameter(name).data
            for name in (network.input_table, network.output_table, network.bias_table)
        }
        self._dense = network.dense_parameters()
        self._scratch_V = torch.zeros(network.items, dtype=torch.int64)

    def learn(self, input_B: Tensor, target_B: Tensor, state: State, lanes: int) -> tuple[float, State]:
        """Learn from one batch; → its share of the mean loss over all `lanes`, and the states after it."""
        network, tables = self._network, self._tables
        rows_BE = tables[network.input_table].index_select(0, input_B).requires_grad_()
        candidates_C = None
        vectors, bias = tables[network.output_table], tables[network.bias_table]
        if self._config.loss != "full-cross-entropy":
            candidates_C = torch.cat([target_B, torch.from_numpy(self._sampler.draw())])
            vectors, bias = vectors.index_select(0, candidates_C), bias.index_select(0, candidates_C)
        vectors, bias = vectors.detach().requires_grad_(), bias.detach().requires_grad_()
        output_BH, state = network.run(rows_BE, state)
        whole_bias = bias if network.prior is None else bias + network.prior.bias(candidates_C)
        scores = torch.addmm(whole_bias, output_BH, vectors.t())
        loss = self._loss(scores, target_B, candidates_C) * (len(target_B) / lanes)
        for parameter in self._dense.values():
            parameter.grad = None
        torch.autograd.backward(loss)
        self._update(input_B, rows_BE.grad, candidates_C, vectors.grad, bias.grad)
        return float(loss.detach()), {name: tensor.detach() for name, tensor in state.items()}

    def _loss(self, scores: Tensor, target_B: Tensor, candidates_C: Tensor | None) -> Tensor:
        config = self._config
        if candidates_C is None:
            return full_cross_entropy(scores, target_B)
        if config.loss == "cross-entropy":
            lanes = len(target_B)
            expected_C = self._expected_negatives_V.index_select(0, candidates_C).add_(
                self._popularity_V.index_select(0, candidates_C), alpha=lanes
            )
            scores = without_logq(scores, expected_C.log(), config.logq)
        repeats_BC = repeats_of_targets(candidates_C, len(target_B))
        return SAMPLED_LOSSES[config.loss](scores, repeats_BC, config.regularisation)

    def stand_by(self) -> float:
        """Take part in the others' batch, with nothing to add."""
        network = self._network
        for parameter in self._dense.values():
            parameter.grad = torch.zeros_like(parameter)
        none = torch.zeros(0, dtype=torch.int64)
        tables = [self._tables[n] for n in (network.input_table, network.output_table, network.bias_table)]
        rows = none, tables[0].new_zeros((0, *tables[0].shape[1:]))
        if self._config.loss == "full-cross-entropy":
            self._update(*rows, None, torch.zeros_like(tables[1]), torch.zeros_like(tables[2]))
        else:
            self._update(*rows, none, tables[1].new_zeros((0, *tables[1].shape[1:])), tables[2].new_zeros(0))
        return 0.0

    def _update(
        self,
        input_B: Tensor,
        input_gradient: Tensor | None,
        candidates_C: Tensor | None,
        output_gradient: Tensor | None,
        bias_gradient: Tensor | None,
    ) -> None:
        """Add up the gradients of all processes, then step every parameter and touched row once."""
        assert input_gradient is not None
        assert output_gradient is not None
        assert bias_gradient is not None
        network, replicas = self._network, self._replicas
        dense = {name: p.grad for name, p in self._dense.items() if p.grad is not None}
        replicas.add_up(list(dense.values()))
        for name, gradient in dense.items():
            self.optimizer.update(name, self._dense[name].data, gradient)
        tied = network.input_table == network.output_table
        if candidates_C is None:
            replicas.add_up([output_gradient, bias_gradient])
            rows_N, gradient = replicas.collect(input_B, input_gradient)
            if tied:
                output_gradient.index_add_(0, rows_N, gradient)
            else:
                self._update_table(network.input_table, gradient, self._rows(rows_N))
            self._update_table(network.output_table, output_gradient, None)
            self._update_table(network.bias_table, bias_gradient, None)
            return
        if tied:
            # The inputs have no gradient of their bias: 0, so that both tables share their rows.
            candidates_C = torch.cat([input_B, candidates_C])
            output_gradient = torch.cat([input_gradient, output_gradient])
            bias_gradient = torch.cat([bias_gradient.new_zeros(len(input_B)), bias_gradient])
        else:
            rows_N, gradient = replicas.collect(input_B, input_gradient)
            self._update_table(network.input_table, gradient, self._rows(rows_N))
        rows_N, output_gradient, bias_gradient = replicas.collect(
            candidates_C, output_gradient, bias_gradient
        )
        rows = self._rows(rows_N)
        self._update_table(network.output_table, output_gradient, rows)
        self._update_table(network.bias_table, bias_gradient, rows)

    def _rows(self, rows_N: Tensor) -> Rows:
        return Rows(rows_N, self._scratch_V)

    def _update_table(self, name: str, gradient: Tensor, rows: Rows | None) -> None:
        self.optimizer.update(name, self._tables[name], gradient, rows)
