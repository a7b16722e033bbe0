import pytest
import torch

from model.config import ModelConfig
from model.optimizers import Optimizer, RepeatedRows, Rows, build_optimizer


def by_torch(config: ModelConfig, parameter: torch.nn.Parameter) -> torch.optim.Optimizer:
    rate = config.learning_rate
    if config.optimizer == "adagrad":
        # torch adds its epsilon outside the root; at 1e-10 both are the same to single precision.
        return torch.optim.Adagrad([parameter], lr=rate, eps=1e-10)
    if config.optimizer == "adam":
        return torch.optim.Adam([parameter], lr=rate)
    return torch.optim.SGD([parameter], lr=rate, momentum=config.momentum)


CONFIGS = [
    ModelConfig(optimizer="adagrad", learning_rate=0.1),
    ModelConfig(optimizer="adam", learning_rate=0.01),
    ModelConfig(optimizer="momentum", learning_rate=0.1, momentum=0.9),
    ModelConfig(optimizer="momentum", learning_rate=0.1),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.optimizer}-{c.momentum}")
@pytest.mark.parametrize("by_rows", [None, Rows, RepeatedRows])
def test_steps_are_those_of_torch(config: ModelConfig, by_rows: type[Rows] | None) -> None:
    torch.manual_seed(0)
    ours = torch.randn(5, 3)
    theirs = torch.nn.Parameter(ours.clone())
    reference, optimizer = by_torch(config, theirs), build_optimizer(config)
    for _ in range(4):
        gradient = torch.randn(5, 3)
        theirs.grad = gradient
        reference.step()
        if by_rows:
            # Each row comes twice, with half of its gradient, in an order of its own.
            order = torch.randperm(10) % 5
            optimizer.update(
                "p", ours, gradient[order] / 2, by_rows(order, torch.zeros(5, dtype=torch.int64))
            )
        else:
            optimizer.update("p", ours, gradient)
    torch.testing.assert_close(ours, theirs.detach(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.optimizer}-{c.momentum}")
def test_rows_without_a_gradient_stay_as_they_are(config: ModelConfig) -> None:
    optimizer = build_optimizer(config)
    table = torch.ones(4, 2)
    for _ in range(3):
        optimizer.update(
            "p", table, torch.ones(1, 2), Rows(torch.tensor([2]), torch.zeros(4, dtype=torch.int64))
        )
    assert (table[[0, 1, 3]] == 1).all()
    assert (table[2] < 1).all()


def test_momentum_carries_adagrad_further() -> None:
    def after(optimizer: Optimizer) -> float:
        parameter = torch.zeros(1)
        for _ in range(5):
            optimizer.update("p", parameter, torch.ones(1))
        return float(parameter)

    plain = after(build_optimizer(ModelConfig(learning_rate=0.1)))
    carried = after(build_optimizer(ModelConfig(learning_rate=0.1, momentum=0.5)))
    assert carried < plain < 0


@pytest.mark.parametrize("columns", [(), (3,)])
def test_rows_that_keep_their_repeats_have_the_norm_of_the_distinct_ones(columns: tuple[int, ...]) -> None:
    rows_N, gradient = torch.tensor([4, 2, 4, 4, 0]), torch.randn(5, *columns)
    scratch = torch.zeros(6, dtype=torch.int64)
    found, expected = RepeatedRows(rows_N, scratch), Rows(rows_N, scratch)
    assert torch.allclose(found.square(gradient), expected.square(gradient))
    # A row that no batch touches stays as it is; one that comes three times moves once.
    ours, theirs = torch.ones(6, *columns), torch.ones(6, *columns)
    found.add_to(ours, found.add_up(gradient))
    expected.add_to(theirs, expected.add_up(gradient))
    assert torch.allclose(ours, theirs)
    assert (ours[[1, 3, 5]] == 1).all()
