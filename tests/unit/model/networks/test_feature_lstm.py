import numpy as np
import pandas as pd
import pytest
import torch

from model.config import ModelConfig
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.evaluation.rank_targets import rank_targets
from model.networks.by_name import build
from model.networks.feature_lstm import FeatureLSTM
from model.networks.model_version import ModelVersion
from model.optimizers import Adam
from model.stepping.stepper import Stepper
from model.training.train import train
from model.training.warm_start import WarmStart
from tests.harness.markov_shoppers import markov_shoppers

CONFIG = ModelConfig(
    network="feature-lstm", hidden_size=5, layers=3, embedding="separate", embedding_size=4, brand_size=3,
    category_size=2, price_size=3, dropout_hidden=0.2, loss="full-cross-entropy", optimizer="adam",
    learning_rate=0.01, batch_size=16, unroll=4, epochs=1,
)  # fmt: skip


def shop(sessions: int = 120, seed: int = 3) -> pd.DataFrame:
    """A log with brands, categories and prices, each of them missing at times."""
    log = markov_shoppers(sessions=sessions, items=30, seed=seed).frame
    rng = np.random.default_rng(seed)
    for name, share in (("brand", 0.3), ("category", 0.2)):
        values = np.array([f"{name}{n}" for n in range(6)], object)[rng.integers(6, size=len(log))]
        values[rng.random(len(log)) < share] = None
        log[name] = values
    log["price"] = np.where(rng.random(len(log)) < 0.2, np.nan, rng.gamma(2, 50, len(log)))
    return log


LOG = shop()
VOCABULARY = Vocabulary.from_frame(LOG, FeatureLSTM.columns)
SESSIONS = Sessions.from_frame(LOG, VOCABULARY, SessionRule(1800))


@pytest.fixture(scope="module")
def network() -> FeatureLSTM:
    made = train(SESSIONS, VOCABULARY, CONFIG).network
    assert isinstance(made, FeatureLSTM)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "missing" in name:
                parameter.normal_()
    return made


def test_the_input_is_the_concatenated_embeddings_and_the_dense_price_missing_ones_with_their_own(
    network: FeatureLSTM,
) -> None:
    weights = {name: tensor.double().numpy() for name, tensor in network.state_dict().items()}
    events = [(2, "brand1", "category3", 19.9), (7, None, "category0", None), (4, "brand5", "never", -3.0)]
    features = VOCABULARY.features
    inputs = {
        "item": torch.tensor([event[0] for event in events]),
        "brand": torch.from_numpy(features.encode("brand", [event[1] for event in events])),
        "category": torch.from_numpy(features.encode("category", [event[2] for event in events])),
        "price": torch.from_numpy(features.encode("price", [event[3] for event in events])),
    }
    seen: list[torch.Tensor] = []
    handle = network.stack.dropout.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    output, _ = network.advance(inputs, network.initial_state(3))
    handle.remove()
    prices = LOG["price"].dropna()
    mean, deviation = np.log1p(prices).mean(), np.log1p(prices).std(ddof=0)
    for place, (item, brand, category, price) in enumerate(events):
        parts = [weights["input_VE"][item]]
        for name, value in (("brand", brand), ("category", category)):
            known = features.values[name]
            parts.append(
                weights[f"{name}_table"][known.index(str(value))]
                if value in known
                else weights[f"{name}_missing"]
            )
        if price is None:
            parts.append(weights["price_missing"])
        else:
            scaled = (np.log1p(max(price, 0.0)) - mean) / deviation
            parts.append(weights["price_dense.weight"][:, 0] * scaled + weights["price_dense.bias"])
        x = np.concatenate(parts)
        for layer in range(3):
            gates = weights[f"stack.layers.{layer}.weight_ih_l0"] @ x
            gates += weights[f"stack.layers.{layer}.bias_ih_l0"] + weights[f"stack.layers.{layer}.bias_hh_l0"]
            i, _, candidate, o = gates.reshape(4, 5)
            h = np.tanh(np.tanh(candidate) / (1 + np.exp(-i))) / (1 + np.exp(-o))
            norm = {k: weights[f"stack.norms.{layer}.{k}"] for k in ("running_mean", "running_var")}
            x = (h - norm["running_mean"]) / np.sqrt(norm["running_var"] + 1e-5)
            x = x * weights[f"stack.norms.{layer}.weight"] + weights[f"stack.norms.{layer}.bias"]
        np.testing.assert_allclose(output[place].detach().numpy(), x, rtol=1e-4, atol=1e-5)
        scores = weights["output_VH"] @ x + weights["bias_V"]
        np.testing.assert_allclose(
            network.score(output)[place].detach().numpy(), scores, rtol=1e-4, atol=1e-5
        )
    assert len(seen) == 3


def test_stepping_uses_the_running_statistics_and_moves_none_of_them(network: FeatureLSTM) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert before["stack.norms.0.num_batches_tracked"] > 10
    stepper = Stepper(ModelVersion("v", CONFIG, VOCABULARY, network), device="cpu", k=5)
    columns = {
        "item": np.array([1, 2, 3]),
        "brand": np.array(["brand0", None, "brand2"], object),
        "category": np.array([None, "category1", "category1"], object),
        "price": np.array([None, 5.0, 500.0], object),
    }
    ids, scores, rows = stepper.step(columns, stepper.initial_rows(3))
    alone = stepper.step({name: c[:1] for name, c in columns.items()}, stepper.initial_rows(1))
    assert ids[0].tolist() == alone[0][0].tolist(), "the others in the wave do not matter"
    np.testing.assert_allclose(scores[0], alone[1][0], rtol=1e-5)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    other = stepper.step({**columns, "price": np.array([9.0, None, 5.0], object)}, stepper.initial_rows(3))
    assert (other[2] != rows).any(axis=1).all(), "each price tells"


def test_a_session_rebuilt_from_raw_columns_is_where_its_steps_led(network: FeatureLSTM) -> None:
    stepper = Stepper(
        ModelVersion("v", CONFIG, VOCABULARY, network), device="cpu", deterministic=True, wave_size=4
    )
    frame = LOG[LOG["session_id"].isin([f"s{n}" for n in range(6)])]
    histories, expected = [], []
    for _, events in frame.groupby("session_id"):
        columns = {name: events[name].to_numpy(object) for name in ("brand", "category", "price")}
        columns["price"] = np.where(pd.isna(columns["price"]), None, columns["price"])
        history = {"item": VOCABULARY.encode(events["item_id"].tolist()), **columns}
        rows = stepper.initial_rows(1)
        for n in range(len(events)):
            rows = stepper.advance({name: column[n : n + 1] for name, column in history.items()}, rows)
        histories.append(history)
        expected.append(rows[0])
    np.testing.assert_array_equal(stepper.rebuild(histories), np.stack(expected))


def test_accuracy_and_loss_of_an_evaluation_are_recall_at_1_and_the_cross_entropy(
    network: FeatureLSTM,
) -> None:
    ranks = rank_targets(network, SESSIONS)
    losses = []
    for session in range(len(SESSIONS)):
        state = network.initial_state(1)
        for row in range(SESSIONS.offsets[session], SESSIONS.offsets[session + 1] - 1):
            inputs = {name: torch.from_numpy(c[row : row + 1]) for name, c in SESSIONS.columns.items()}
            scores, state = network.step({"item": torch.tensor([SESSIONS.items[row]]), **inputs}, state)
            assert isinstance(scores, torch.Tensor)
            losses.append(-float(scores.log_softmax(1)[0, SESSIONS.items[row + 1]].detach()))
    scored = ranks.evaluation()
    assert scored.loss == pytest.approx(np.mean(losses), rel=1e-4)
    assert scored.accuracy == pytest.approx((ranks.ranks == 1).mean())


def test_brands_and_categories_follow_their_value_when_a_training_goes_on(network: FeatureLSTM) -> None:
    newer = shop(40, seed=9)
    newer.loc[:10, "brand"] = "new brand"
    grown, _ = Vocabulary.from_frame(newer, FeatureLSTM.columns).grown_from(VOCABULARY)
    made = build(CONFIG, grown)
    assert isinstance(made, FeatureLSTM)
    fresh = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    state = {"brand_table.first": torch.randn(6, 3), "input_VE.first": torch.randn(len(VOCABULARY), 4)}
    optimizer = Adam(0.1)
    WarmStart(network.state_dict(), state, VOCABULARY).apply_to(made, optimizer, grown)
    after, before = made.state_dict(), network.state_dict()
    place = grown.features.values["brand"].index("new brand")
    assert torch.equal(after["brand_table"][:6], before["brand_table"]) and place == 6
    assert torch.equal(after["brand_table"][place], fresh["brand_table"][place])
    assert torch.equal(optimizer.state["brand_table.first"][:6], state["brand_table.first"])
    assert torch.equal(after["price_scale"], before["price_scale"])
    assert torch.equal(after["stack.norms.2.running_var"], before["stack.norms.2.running_var"])


def test_a_one_hot_input_is_refused() -> None:
    with pytest.raises(NextclickError, match="no one-hot input"):
        build(CONFIG.model_copy(update={"embedding": "one-hot"}), VOCABULARY)
