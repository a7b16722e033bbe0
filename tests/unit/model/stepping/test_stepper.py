import numpy as np
import pytest
import torch

from model.config import ModelConfig
from model.data.vocabulary import Vocabulary
from model.networks.by_name import build
from model.networks.model_version import ModelVersion
from model.stepping.stepper import Stepper

ITEMS = 3000


@pytest.fixture(scope="module", params=[1, 2])
def model(request: pytest.FixtureRequest) -> ModelVersion:
    torch.manual_seed(1)
    vocabulary = Vocabulary([f"i{n}" for n in range(ITEMS)], np.ones(ITEMS, np.int64))
    config = ModelConfig(hidden_size=24, layers=request.param)
    network = build(config, vocabulary)
    torch.nn.init.normal_(network.get_parameter("item_VH"))
    return ModelVersion("v", config, vocabulary, network.eval())


def random_rows(
    stepper: Stepper, sessions: int, seed: int = 0
) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    values = np.random.default_rng(seed).normal(size=(sessions, stepper.layout.row_bytes // 4))
    return values.astype(np.float32).view(np.uint8)


def test_a_packed_state_comes_back_as_it_was(model: ModelVersion) -> None:
    layout = Stepper(model, device="cpu").layout
    state = {"hidden": torch.randn(5, model.config.layers, 24)}
    rows = layout.pack(state, 5)
    assert rows.shape == (5, layout.row_bytes)
    assert torch.equal(layout.unpack(rows)["hidden"], state["hidden"])
    with pytest.raises(ValueError, match="bytes"):
        layout.unpack(rows[:, 4:])


def test_a_deterministic_step_does_not_depend_on_its_neighbours(model: ModelVersion) -> None:
    stepper = Stepper(model, device="cpu", wave_size=16, deterministic=True)
    rng = np.random.default_rng(3)
    items, rows = rng.integers(0, ITEMS, 40), random_rows(stepper, 40)
    whole = stepper.step({"item": items}, rows)
    subsets: list[list[int]] = [[0], list(range(7)), rng.permutation(40).tolist()]
    for chosen in [*subsets, subsets[2][:16]]:
        some = stepper.step({"item": items[chosen]}, rows[chosen])
        for part in range(3):
            np.testing.assert_array_equal(some[part], whole[part][chosen])


def test_a_rebuilt_state_is_the_stepped_one(model: ModelVersion) -> None:
    stepper = Stepper(model, device="cpu", wave_size=4, deterministic=True)
    rng = np.random.default_rng(5)
    histories = [{"item": rng.integers(0, ITEMS, length)} for length in (3, 0, 7, 1, 7, 2)]
    rebuilt = stepper.rebuild(histories)
    for history, row in zip(histories, rebuilt, strict=True):
        expected = stepper.initial_rows(1)
        for item in history["item"]:
            _, _, expected = stepper.step({"item": np.array([item])}, expected)
        np.testing.assert_array_equal(row, expected[0])


def test_stepping_is_the_forward_pass_of_torch(model: ModelVersion) -> None:
    stepper = Stepper(model, device="cpu")
    network = model.network
    layers = model.config.layers
    gru = torch.nn.GRU(24, 24, layers, batch_first=True)
    with torch.no_grad():
        for layer in range(layers):
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                gru.get_parameter(f"{name}_l{layer}").copy_(network.get_parameter(f"cells.{layer}.{name}"))
    items = torch.randint(0, ITEMS, (3, 6))
    with torch.inference_mode():
        output, _ = gru(network.get_parameter("item_VH")[items])
        scores = output @ network.get_parameter("item_VH").T + network.get_parameter("bias_V")
    rows = stepper.initial_rows(3)
    for step in range(6):
        ids, best, rows = stepper.step({"item": items[:, step].numpy()}, rows)
        expected = scores[:, step].topk(20)
        np.testing.assert_allclose(best, expected.values, rtol=1e-4, atol=1e-5)
        assert (ids == expected.indices.numpy()).mean() > 0.99


def test_excluded_items_are_not_in_the_list(model: ModelVersion) -> None:
    stepper = Stepper(model, device="cpu")
    items, rows = np.array([1, 2]), random_rows(stepper, 2)
    ids, _, _ = stepper.step({"item": items}, rows)
    exclude = np.array([ids[0, :3], [-1, -1, -1]])
    masked, _, _ = stepper.step({"item": items}, rows, exclude)
    assert masked[0, :17].tolist() == ids[0, 3:].tolist()
    assert masked[1].tolist() == ids[1].tolist()
