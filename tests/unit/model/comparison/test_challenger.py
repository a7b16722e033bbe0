import numpy as np
import pandas as pd
import pytest
import torch

from model.comparison.challenger import challenge, contenders, finished, recalls_of, split_newest
from model.comparison.gate import GateRule, decide
from model.config import ModelConfig
from model.data.session_rule import SessionRule
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.training.warm_start import WarmStart
from tests.harness.markov_shoppers import markov_shoppers

CONFIG = ModelConfig(hidden_size=16, epochs=1, negatives=64, learning_rate=0.1, prior_half_lives_s=(600.0,))


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return markov_shoppers(sessions=800, items=60, seed=5).frame


def test_the_split_holds_out_the_newest_events_and_whole_sessions_of_them(frame: pd.DataFrame) -> None:
    split = split_newest(frame, 0.2, None)
    assert len(split.rest) / len(frame) == pytest.approx(0.2, abs=0.01)
    assert split.earlier["event_time_ms"].max() < split.split_ms <= split.rest["event_time_ms"].min()
    sessions = split.evaluated(Vocabulary.from_frame(split.earlier), SessionRule(1800))
    whole = frame.groupby("session_id")["event_time_ms"].agg(["min", "size"])
    begun = whole[whole["min"] >= split.split_ms]
    assert sorted(sessions.session_ids) == sorted(begun.index)
    assert sessions.lengths.sum() == begun["size"].sum()
    # Sessions that straddle the cut are there, and are not evaluated.
    straddling = set(split.earlier["session_id"]) & set(split.rest["session_id"])
    assert straddling
    assert not straddling & set(sessions.session_ids)


def test_nothing_is_held_out_that_the_champion_has_seen(frame: pd.DataFrame) -> None:
    after_ms = int(frame["event_time_ms"].quantile(0.95))
    assert split_newest(frame, 0.2, after_ms).split_ms == after_ms + 1
    assert split_newest(frame, 0.2, int(frame["event_time_ms"].min())) == split_newest(frame, 0.2, None)
    with pytest.raises(NextclickError, match="held out"):
        split_newest(frame, 0.2, int(frame["event_time_ms"].max()))
    with pytest.raises(NextclickError, match="held out"):
        split_newest(frame[:1], 0.2, None)


def test_the_challenger_does_not_depend_on_what_is_held_out(frame: pd.DataFrame) -> None:
    split = split_newest(frame, 0.2, None)
    other = frame.copy()
    later = other["event_time_ms"] >= split.split_ms
    other.loc[later, "item_id"] = np.random.default_rng(0).permutation(other.loc[later, "item_id"])
    one = challenge(split, CONFIG)
    two = challenge(type(split)(other, split.split_ms), CONFIG)
    weights = two.network.state_dict()
    for name, tensor in one.network.state_dict().items():
        assert torch.equal(tensor, weights[name]), name
    assert one.vocabulary.counts.sum() == len(split.earlier)


def test_finishing_learns_what_was_held_out(frame: pd.DataFrame) -> None:
    split = split_newest(frame, 0.2, None)
    renamed = frame.copy()
    renamed.loc[renamed["event_time_ms"] >= split.split_ms, "item_id"] = (
        "late-" + renamed["item_id"][renamed["event_time_ms"] >= split.split_ms]
    )
    split = type(split)(renamed, split.split_ms)
    challenger = challenge(split, CONFIG)
    whole = finished(challenger, split)
    new = len(whole.vocabulary) - len(challenger.vocabulary)
    assert new == split.rest["item_id"].nunique()
    assert whole.vocabulary.item_ids[: len(challenger.vocabulary)].tolist() == (
        challenger.vocabulary.item_ids.tolist()
    )
    before, after = recalls_of([challenger, whole], split)
    assert before == 0
    assert after > 0.2
    assert int(whole.network.get_buffer("prior.now_ms")) > int(challenger.network.get_buffer("prior.now_ms"))


def test_a_network_that_counts_is_a_challenger_too(frame: pd.DataFrame) -> None:
    split = split_newest(frame, 0.2, None)
    challenger = challenge(split, CONFIG.model_copy(update={"network": "transitions"}))
    own, champion, baselines = contenders(challenger, None, split)
    assert champion is None
    # It is the baseline of that name.
    assert own.ranks.ranks.tolist() == baselines[1].ranks.ranks.tolist()
    whole = finished(challenger, split)
    assert whole.vocabulary.counts.sum() == len(frame)


def test_a_fused_challenger_stands_beside_each_of_its_sources(frame: pd.DataFrame) -> None:
    split = split_newest(frame, 0.2, None)
    challenger = challenge(split, CONFIG.model_copy(update={"network": "fused"}))
    own, champion, baselines = contenders(challenger, None, split)
    names = ["network", "next items", "near items", "neighbours", "own items"]
    assert [one.name for one in baselines] == ["POP", "transitions", *(f"{name} alone" for name in names)]
    assert [one.is_source for one in baselines] == [False, False, *[True] * len(names)]
    decision = decide(own, champion, baselines, GateRule(min_sessions=10))
    figures = {row.name: row.recall.mean for row in decision.standings}
    # The source of next items is what the baseline is, cut to 20 places.
    assert figures["next items alone"] == pytest.approx(figures["transitions"], abs=0.03)
    assert figures["challenger"] > max(figures[f"{name} alone"] for name in names) - 0.05


def test_a_warm_start_that_diverged_is_refused(frame: pd.DataFrame) -> None:
    split = split_newest(frame, 0.2, None)
    challenger = challenge(split, CONFIG)
    name = next(name for name, p in challenger.network.named_parameters() if p.ndim == 2)
    weights = {n: t.clone() for n, t in challenger.network.state_dict().items()}
    weights[name][0, 0] = float("nan")
    challenger.network.load_state_dict(weights)
    assert challenger.not_finite == [name]
    own, champion, baselines = contenders(challenger, None, split)
    decision = decide(own, champion, baselines, GateRule())
    assert f"weights that are no numbers: {name}" in decision.reasons
    with pytest.raises(NextclickError):
        challenge(split, CONFIG, start=WarmStart(weights, {}, challenger.vocabulary))
