import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from model.config import ModelConfig
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.evaluation.rank_targets import rank_targets
from model.networks.text_gru import TextGRU
from model.registry.registry import Registry
from model.stepping.state_layout import StateLayout
from model.stepping.stepper import Stepper
from model.training.train import train
from model.training.trained_model import TrainedModel
from tests.conftest import ROOT
from tests.harness.titled import titled_log

WORDS = ("red", "green", "blue"), ("cup", "plate", "bowl")
TITLES = {f"{colour} {thing}": f"{colour} {thing}" for colour in WORDS[0] for thing in WORDS[1]}
UNTITLED = "no-title"
VOCABULARY = Vocabulary([*TITLES, UNTITLED], np.arange(10), TITLES)
UNITS = 5


def network_of(vocabulary: Vocabulary = VOCABULARY, **settings: object) -> TextGRU:
    torch.manual_seed(2)
    config = ModelConfig.model_validate(
        {"network": "text-gru", "hidden_size": UNITS, "title_size": 6, "loss": "mse", **settings}
    )
    network = TextGRU(config, vocabulary)
    network.prepare_items(vocabulary)
    return network.eval()


Array = npt.NDArray[np.float64]


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


class Literal:
    """The stack in numpy, one session, by the equations of Cho et al. 2014 and Hochreiter et al. 1997."""

    def __init__(self, network: TextGRU) -> None:
        self.weights = {name: p.detach().double().numpy() for name, p in network.named_parameters()}
        self.first = self.second = self.cell = self.third = np.zeros(UNITS)

    def parts(self, layer: int, kind: str, gates: int) -> list[tuple[Array, Array]]:
        """(matrix, bias) of each gate."""
        matrix, bias = (self.weights[f"stack.layers.{layer}.{part}_{kind}_l0"] for part in ("weight", "bias"))
        return list(zip(np.split(matrix, gates), np.split(bias, gates), strict=True))

    def gru(self, layer: int, x: Array, h: Array) -> Array:
        (wr, br), (wz, bz), (wn, bn) = self.parts(layer, "ih", 3)
        (ur, cr), (uz, cz), (un, cn) = self.parts(layer, "hh", 3)
        reset = sigmoid(wr @ x + br + ur @ h + cr)
        update = sigmoid(wz @ x + bz + uz @ h + cz)
        new = np.tanh(wn @ x + bn + reset * (un @ h + cn))
        return np.asarray((1 - update) * new + update * h)

    def lstm(self, layer: int, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
        into = [w @ x + b for w, b in self.parts(layer, "ih", 4)]
        back = [u @ h + b for u, b in self.parts(layer, "hh", 4)]
        write, forget, new, read = (a + b for a, b in zip(into, back, strict=True))
        c = sigmoid(forget) * c + sigmoid(write) * np.tanh(new)
        return np.asarray(sigmoid(read) * np.tanh(c)), np.asarray(c)

    def step(self, item: int) -> Array:
        """y of the next event."""
        self.first = self.gru(0, self.weights["title_VD"][item], self.first)
        self.second, self.cell = self.lstm(1, self.first, self.second, self.cell)
        self.third = self.gru(2, self.second, self.third)
        return np.asarray(self.weights["linear.weight"] @ self.third + self.weights["linear.bias"])


def test_a_step_is_that_of_the_equations_and_its_scores_are_cosines() -> None:
    network, session = network_of(), [3, 0, 9, 4]
    for parameter in network.dense_parameters().values():
        torch.nn.init.normal_(parameter, std=0.5)
    literal, state = Literal(network), network.initial_state(1)
    for item in session:
        scores, state = network.step({"item": torch.tensor([item])}, state)
        y = literal.step(item)
        mine = {
            "hidden0": literal.first,
            "hidden1": literal.second,
            "cell1": literal.cell,
            "hidden2": literal.third,
        }
        assert state.keys() == mine.keys()
        for name, expected in mine.items():
            np.testing.assert_allclose(state[name][0].detach(), expected, atol=1e-6)
        cosines = literal.weights["title_VD"] @ y / np.linalg.norm(y)
        assert isinstance(scores, torch.Tensor)
        np.testing.assert_allclose(scores[0].detach(), [*cosines[:9], -2], atol=1e-6)


def test_the_largest_cosine_is_the_smallest_distance() -> None:
    network = network_of()
    output_BD, _ = network.advance({"item": torch.arange(9)}, network.initial_state(9))
    distances = torch.cdist(output_BD, network.title_VD[:9])
    nearest = network.score(output_BD)[:, :9].argsort(1, descending=True)
    torch.testing.assert_close(nearest, distances.argsort(1))


def test_a_block_is_its_steps() -> None:
    network = network_of(dropout_hidden=0.3)
    sizes_T = torch.tensor([4, 3, 3, 1])
    item_N = torch.randint(10, (11,), generator=torch.Generator().manual_seed(3))
    state = {n: torch.randn(4, UNITS) for n in network.initial_state(4)}
    rows_NE = network.title_VD[item_N]
    output_NH, after = network.run_block({"item": item_N}, rows_NE, sizes_T, dict(state))
    expected_NH, expected = super(TextGRU, network).run_block({"item": item_N}, rows_NE, sizes_T, dict(state))
    torch.testing.assert_close(output_NH, expected_NH)
    for name, tensor in expected.items():
        torch.testing.assert_close(after[name], tensor)


def test_dropout_stands_behind_each_layer_and_acts_in_training_only() -> None:
    network = network_of(dropout_hidden=0.5)
    item_N, sizes_T = torch.arange(8), torch.tensor([4, 4])
    rows, state = network.title_VD[item_N], network.initial_state(4)
    calm = [network.run_block({}, rows, sizes_T, state)[0] for _ in range(2)]
    torch.testing.assert_close(calm[0], calm[1])
    network.train()
    dropped: list[int] = []
    network.stack.dropout.register_forward_hook(
        lambda module, given, made: dropped.append(int((made == 0).sum()))
    )
    network.run(rows[:4], state)
    assert len(dropped) == 3
    assert all(dropped)
    network.run_block({}, rows, sizes_T, state)
    assert len(dropped) == 6
    assert all(dropped)


@pytest.mark.parametrize("loss", ["mse", "cosine"])
def test_the_loss_is_a_mean_over_the_targets_that_have_a_title(loss: str) -> None:
    network = network_of(loss=loss)
    output_ND = torch.randn(4, 6, requires_grad=True)
    target_N = torch.tensor([1, 9, 1, 5])
    value = network.own_loss(output_ND, target_N)
    y, e = output_ND.detach().numpy(), network.title_VD.detach().numpy()
    expected = []
    for row, target in ((0, 1), (2, 1), (3, 5)):
        if loss == "mse":
            expected.append(((y[row] - e[target]) ** 2).mean())
        else:
            expected.append(1 - y[row] @ e[target] / np.linalg.norm(y[row]) / np.linalg.norm(e[target]))
    np.testing.assert_allclose(float(value.detach()), np.mean(expected), rtol=1e-5)
    torch.autograd.backward(value)
    assert output_ND.grad is not None
    assert not output_ND.grad[1].any(), "a target without a title teaches nothing"
    assert network.own_loss(output_ND, torch.tensor([9, 9, 9, 9])) == 0


@pytest.mark.parametrize("loss", ["mse", "cosine"])
def test_an_evaluation_has_the_squared_and_absolute_error_of_the_vectors_before_they_get_length_one(
    loss: str,
) -> None:
    network = network_of(loss=loss)
    # The first session ends in an item without a title.
    sessions = Sessions(
        np.array([0, 2, 5]), np.array([1, 9, 2, 3, 0]), np.arange(5), np.array(["s", "t"], object)
    )
    ranked = rank_targets(network, sessions)
    scored = ranked.evaluation()
    literal, e = Literal(network), network.title_VD.detach().double().numpy()
    losses, squares, absolutes = [], [], []
    for item, target in ((2, 3), (3, 0)):
        y = literal.step(item)
        squares.append(((y - e[target]) ** 2).mean())
        absolutes.append(np.abs(y - e[target]).mean())
        losses.append(1 - y @ e[target] / np.linalg.norm(y) / np.linalg.norm(e[target]))
    assert ranked.losses is None
    assert scored.mse == pytest.approx(np.mean(squares), rel=1e-4)
    assert scored.mae == pytest.approx(np.mean(absolutes), rel=1e-4)
    assert scored.loss == pytest.approx(np.mean(squares if loss == "mse" else losses), rel=1e-4)
    assert scored.badness == scored.loss, "early stopping watches the loss"
    whole, _ = network.step({"item": torch.tensor([2])}, network.initial_state(1))
    assert isinstance(whole, torch.Tensor)
    assert ranked.ranks.tolist()[1] == int((whole[0] >= whole[0, 3]).sum()), "ranked by the cosine as before"


def test_an_item_without_a_title_is_listed_last_and_steps_as_an_empty_vector() -> None:
    network = network_of()
    assert not network.title_VD[9].any()
    before = {name: torch.randn(2, UNITS) for name in network.initial_state(0)}
    scores, state = network.step({"item": torch.tensor([9, 2])}, before)
    assert isinstance(scores, torch.Tensor)
    assert (scores[:, 9] == -2).all()
    assert (scores[:, :9] >= -1.0001).all()
    assert not torch.equal(state["hidden0"][0], before["hidden0"][0]), "it is stepped all the same"


def test_only_the_layers_learn() -> None:
    log = titled_log(makes=4)
    config = log.config(epochs=1, loss="mse")
    result = train(log.training, log.vocabulary, config)
    fresh = TextGRU(config, log.vocabulary)
    fresh.prepare_items(log.vocabulary)
    trained = result.network
    assert isinstance(trained, TextGRU)
    torch.testing.assert_close(trained.title_VD, fresh.title_VD, rtol=0, atol=0)
    assert not trained.bias_V.any()
    learned = {name.partition(".")[0] for name in result.optimizer_state}
    assert learned == {"stack", "linear"}


@pytest.mark.parametrize("unroll", [1, 4])
def test_the_same_seed_trains_the_same_weights(unroll: int) -> None:
    log = titled_log(makes=4)
    config = log.config(epochs=1, unroll=unroll, dropout_hidden=0.3)
    first, second = (train(log.training, log.vocabulary, config).network.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_loaded_version_lists_the_same_without_reading_a_title_again(tmp_path: Path) -> None:
    log = titled_log(makes=4)
    config = log.config(epochs=1)
    result = train(log.training, log.vocabulary, config)
    registry = Registry(tmp_path)
    saved = registry.save(TrainedModel(result.network, config, log.vocabulary), scores={}, data={})
    loaded = registry.load(saved.version)
    for name, tensor in saved.network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], tensor), name
    columns = {"item": np.arange(6)}
    lists = [Stepper(model, device="cpu", k=9) for model in (saved, loaded)]
    made = [stepper.step(columns, stepper.initial_rows(6)) for stepper in lists]
    for ours, theirs in zip(*made, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    code = (
        "import sys, numpy as np; from pathlib import Path; from model.registry.registry import Registry;"
        "from model.stepping.stepper import Stepper;"
        f"s = Stepper(Registry(Path({str(tmp_path)!r})).load({saved.version!r}), device='cpu');"
        "print(s.step({'item': np.arange(3)}, s.initial_rows(3))[0].shape, 'sklearn' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["(3,", "20)", "False"]


def test_a_packed_state_is_the_four_vectors() -> None:
    network = network_of()
    layout = StateLayout(network)
    assert layout.row_bytes == 4 * UNITS * 4
    state = {name: torch.randn(3, UNITS) for name in network.initial_state(0)}
    back = layout.unpack(layout.pack(state, 3))
    assert all(torch.equal(back[name], tensor) for name, tensor in state.items())


def test_a_training_that_goes_on_reads_new_titles_into_the_earlier_space(tmp_path: Path) -> None:
    log = titled_log(makes=4)
    config = log.config(epochs=1)
    registry = Registry(tmp_path)
    first = train(log.training, log.vocabulary, config)
    saved = registry.save(first, scores={}, data={})
    more = titled_log(makes=5)
    vocabulary, renamed = more.vocabulary.grown_from(saved.vocabulary)
    again = train(more.training.renamed(renamed), vocabulary, config, start=registry.warm_start(saved))
    before, after = saved.network, again.network
    assert isinstance(before, TextGRU) and isinstance(after, TextGRU)
    known = len(log.vocabulary)
    torch.testing.assert_close(after.title_VD[:known], before.title_VD, rtol=0, atol=0)
    titles = [vocabulary.titles[item] for item in vocabulary.decode(np.arange(known, len(vocabulary)))]
    np.testing.assert_array_equal(after.title_VD[known:].numpy(), before.space.encode(titles))
    assert after.title_VD[known:].any()
